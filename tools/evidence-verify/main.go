// Command evidence-verify checks the evidence file of a certificate without the
// product that wrote it: it knows the format (docs/formats/evidence.md), the
// standard library and SM2 and SM3, and shares no code with the rest. (证据核验程序)
package main

import (
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/emmansun/gmsm/smx509"
)

const (
	exitBroken = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// anchors are what the person checking got from elsewhere; a nil one is taken
// from the file itself, which then only shows that it is consistent.
type anchors struct {
	root   *smx509.Certificate
	ledger *ecdsa.PublicKey
	audit  *ecdsa.PublicKey
	sealed []byte
}

// broken is the first thing that is not as it should be.
type broken struct{ where, why string }

func (b *broken) Error() string { return b.where + "：" + b.why }

func bad(where, format string, args ...any) error {
	return &broken{where, fmt.Sprintf(format, args...)}
}

func run(args []string, out, errs io.Writer) int {
	f := flag.NewFlagSet("evidence-verify", flag.ContinueOnError)
	f.SetOutput(errs)
	root := f.String("root", "", "根证书（PEM），从机构公布处或监管部门取得")
	ledgerKey := f.String("ledger-key", "", "公开账本检查点公钥（PEM）")
	auditKey := f.String("audit-key", "", "注册系统审计检查点公钥（PEM）")
	sealed := f.String("sealed", "", "下载包中的 sealed-key.der；给出时核对托管摘要")
	self := f.Bool("self", false, "没有信任锚，只核对文件自身前后一致")
	f.Usage = func() {
		_, _ = fmt.Fprintln(errs, "用法：evidence-verify --root 根.pem --ledger-key ledger.pem --audit-key audit-ra.pem evidence-序列号.zip")
		f.PrintDefaults()
	}
	if f.Parse(args) != nil {
		return exitUsage
	}
	if f.NArg() != 1 || !*self && (*root == "" || *ledgerKey == "" || *auditKey == "") {
		f.Usage()
		return exitUsage
	}
	a, err := readAnchors(*root, *ledgerKey, *auditKey, *sealed)
	if err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return exitUsage
	}
	r := &report{out: out}
	if err := check(f.Arg(0), a, r); err != nil {
		var b *broken
		if !errors.As(err, &b) {
			b = &broken{f.Arg(0), err.Error()}
		}
		r.say("")
		r.say("结论：不可信。第一处不符：%s", b)
		_, _ = fmt.Fprintln(errs, b)
		return exitBroken
	}
	r.say("")
	if *self {
		r.say("结论：文件自身前后一致。没有使用外部信任锚，不能证明它出自该机构；请取得三个信任锚后再核对。")
	} else {
		r.say("结论：全部相符。")
	}
	return 0
}

func readAnchors(root, ledgerKey, auditKey, sealed string) (a anchors, err error) {
	if root != "" {
		data, err := os.ReadFile(root)
		if err != nil {
			return a, err
		}
		list, err := certificates(data)
		if err != nil || len(list) != 1 {
			return a, fmt.Errorf("%s 应是一张根证书", root)
		}
		a.root = list[0]
	}
	for name, to := range map[string]**ecdsa.PublicKey{ledgerKey: &a.ledger, auditKey: &a.audit} {
		if name == "" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return a, err
		}
		if *to, err = publicKey(data); err != nil {
			return a, fmt.Errorf("%s：%w", name, err)
		}
	}
	if sealed != "" {
		a.sealed, err = os.ReadFile(sealed)
	}
	return a, err
}

// certificates reads PEM, one or more.
func certificates(data []byte) (list []*smx509.Certificate, err error) {
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		c, err := smx509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errors.New("不是证书")
	}
	return list, nil
}

func publicKey(data []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("不是 PEM 公钥")
	}
	k, err := smx509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	pub, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("不是 SM2 公钥")
	}
	return pub, nil
}

// report prints as it goes.
type report struct{ out io.Writer }

func (r *report) say(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

// check goes through the file from the outside in.
func check(name string, a anchors, r *report) error {
	c, err := open(name)
	if err != nil {
		return err
	}
	for _, step := range []func(anchors, *report) error{c.manifestSigned, c.chained, c.decided, c.audited, c.published, c.listed} {
		if err := step(a, r); err != nil {
			return err
		}
	}
	return nil
}

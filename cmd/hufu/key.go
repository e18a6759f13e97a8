package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/term"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/pfx"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/zone/desk"
)

type keyCmd struct {
	Out      string `required:"" help:"私钥文件（PEM，0600）。"`
	CSR      string `required:"" name:"csr" help:"证书请求文件（PEM）。"`
	Subject  string `help:"主体，如 /C=CN/O=某某局/CN=张三；可省略各项。" default:""`
	PassFile string `name:"pass-file" help:"私钥口令文件；省略则不加密。"`
}

func (c *keyCmd) Run() error {
	n, err := subject(c.Subject)
	if err != nil {
		return &desk.Usage{Text: err.Error()}
	}
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	text := keyfile.Plain(key)
	if c.PassFile != "" {
		pass, err := passFrom(c.PassFile)
		if err != nil {
			return err
		}
		if text, err = keyfile.Encrypt(key, pass); err != nil {
			return err
		}
	}
	der, err := csr.New(n.Bytes(), key)
	if err != nil {
		return err
	}
	if err := writeNew(c.Out, text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(c.CSR, csr.PEM(der), 0o644)
}

// writeNew never overwrites: a private key lost is lost.
func writeNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return &desk.Usage{Text: name + " 已存在，不覆盖"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// subject reads /C=CN/O=…/CN=… ; a comma separates as well.
func subject(text string) (n dn.Name, err error) {
	sep := ","
	if strings.HasPrefix(text, "/") {
		sep = "/"
	}
	for part := range strings.SplitSeq(text, sep) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		to := map[string]*string{"C": &n.C, "ST": &n.ST, "L": &n.L, "O": &n.O, "E": &n.E, "CN": &n.CN}[strings.ToUpper(k)]
		switch {
		case !ok || v == "":
			return n, fmt.Errorf("主体 %q 应为 名=值", part)
		case strings.EqualFold(k, "OU"):
			n.OU = append(n.OU, v)
		case to == nil:
			return n, fmt.Errorf("主体不能有 %q；可用 C ST L O OU E CN", k)
		default:
			*to = v
		}
	}
	return n, nil
}

type openCmd struct {
	Package     string `arg:"" help:"下载包目录（sign.pem enc.pem chain.pem sealed-key.der）。"`
	Key         string `required:"" help:"自己的签名私钥。"`
	PassFile    string `name:"pass-file" help:"签名私钥的口令文件。"`
	Out         string `required:"" help:"输出：.p12/.pfx 为 PKCS#12，其他为 PKCS#8 PEM。"`
	OutPassFile string `name:"out-pass-file" help:"输出文件的口令文件。"`
}

func (c *openCmd) Run(context.Context) error {
	var pass []byte
	var err error
	if c.PassFile != "" {
		if pass, err = passFrom(c.PassFile); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(c.Key)
	if err != nil {
		return &desk.Usage{Text: err.Error()}
	}
	sign, err := keyfile.Read(text, pass)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errExit1, c.Key, err)
	}
	signCert, err := readCert(filepath.Join(c.Package, "sign.pem"))
	if err != nil {
		return err
	}
	if !bytes.Equal(cert.KeyID(signCert.Point), cert.KeyID(pointOf(sign))) {
		return fmt.Errorf("%w: 签名私钥与 sign.pem 不符", errExit1)
	}
	sealed, err := os.ReadFile(filepath.Join(c.Package, "sealed-key.der"))
	if errors.Is(err, fs.ErrNotExist) {
		if ext := strings.ToLower(filepath.Ext(c.Out)); ext != ".p12" && ext != ".pfx" {
			return fmt.Errorf("%w: 这是单证书的下载包，没有加密私钥可打开；需要 PKCS#12 请用 .p12 或 .pfx 文件名", errExit1)
		}
		return c.write([]pfx.Entry{{Name: "sign", Key: sign, Cert: signCert.Raw}}, sign)
	}
	if err != nil {
		return err
	}
	env, err := sealedkey.Parse(sealed)
	if err != nil {
		return fmt.Errorf("%w: sealed-key.der: %w", errExit1, err)
	}
	enc, err := env.Open(sign)
	if err != nil {
		return fmt.Errorf("%w: sealed-key.der: %w", errExit1, err)
	}
	encCert, err := readCert(filepath.Join(c.Package, "enc.pem"))
	if err != nil {
		return err
	}
	if !bytes.Equal(encCert.Point, pointOf(enc)) {
		return fmt.Errorf("%w: 加密私钥与 enc.pem 不符", errExit1)
	}
	return c.write([]pfx.Entry{{Name: "sign", Key: sign, Cert: signCert.Raw}, {Name: "enc", Key: enc, Cert: encCert.Raw}}, enc)
}

func (c *openCmd) write(entries []pfx.Entry, key *sm2.PrivateKey) error {
	ext := strings.ToLower(filepath.Ext(c.Out))
	if ext != ".p12" && ext != ".pfx" {
		text := keyfile.Plain(key)
		if c.OutPassFile != "" {
			pass, err := passFrom(c.OutPassFile)
			if err != nil {
				return err
			}
			if text, err = keyfile.Encrypt(key, pass); err != nil {
				return err
			}
		}
		return os.WriteFile(c.Out, text, 0o600)
	}
	pass, err := c.outPass()
	if err != nil {
		return err
	}
	chain, err := readChain(filepath.Join(c.Package, "chain.pem"))
	if err != nil {
		return err
	}
	data, err := pfx.Encode(entries, chain, string(pass))
	if err != nil {
		return err
	}
	return os.WriteFile(c.Out, data, 0o600)
}

func (c *openCmd) outPass() ([]byte, error) {
	if c.OutPassFile != "" {
		return passFrom(c.OutPassFile)
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, &desk.Usage{Text: "需要 --out-pass-file"}
	}
	fmt.Fprint(os.Stderr, "输出文件的口令：")
	pass, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	return pass, err
}

// passMax bounds a passphrase file.
const passMax = 4096

func passFrom(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, &desk.Usage{Text: err.Error()}
	}
	if len(data) > passMax {
		return nil, &desk.Usage{Text: name + "：口令文件过大"}
	}
	return bytes.TrimRight(data, "\r\n"), nil
}

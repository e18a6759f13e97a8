package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/term"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/pfx"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/zone/desk"
)

type openCmd struct {
	Package     string `arg:"" help:"下载包目录（sign.pem enc.pem chain.pem，以及 sealed-key.der、key.skf 或 key.p7）。"`
	Key         string `required:"" help:"自己的签名私钥。"`
	PassFile    string `name:"pass-file" help:"签名私钥的口令文件。"`
	Out         string `required:"" help:"输出：.p12/.pfx 为 PKCS#12，其他为 PKCS#8 PEM。"`
	OutPassFile string `name:"out-pass-file" help:"输出文件的口令文件。"`
}

func (c *openCmd) Run(context.Context) error {
	sign, err := readKey(c.Key, c.PassFile)
	if err != nil {
		return err
	}
	signCert, err := readCert(filepath.Join(c.Package, "sign.pem"))
	if err != nil {
		return err
	}
	if !bytes.Equal(cert.KeyID(signCert.Point), cert.KeyID(pointOf(sign))) {
		return fmt.Errorf("%w：签名私钥与 sign.pem 不符", errExit1)
	}
	name, sealed, err := c.sealed()
	if err != nil {
		return err
	}
	if name == "" {
		if _, err := os.Stat(filepath.Join(c.Package, "enc.pem")); err == nil {
			return fmt.Errorf("%w：下载包里有 enc.pem，却没有 sealed-key.der（也没有 key.skf、key.p7）；请把 sealed-key.der 放回同一目录，或请制证员重新取得下载包", errExit1)
		}
		if ext := strings.ToLower(filepath.Ext(c.Out)); ext != ".p12" && ext != ".pfx" {
			return fmt.Errorf("%w：这是单证书的下载包，没有加密私钥可打开；需要 PKCS#12 请用 .p12 或 .pfx 文件名", errExit1)
		}
		return c.write([]pfx.Entry{{Name: "sign", Key: sign, Cert: signCert.Raw}}, sign)
	}
	encCert, err := readCert(filepath.Join(c.Package, "enc.pem"))
	if err != nil {
		return err
	}
	env, _, err := sealedkey.Of(sealed, encCert.Point)
	if err != nil {
		return inChinese(name, err)
	}
	enc, err := env.Open(sign)
	if err != nil {
		return inChinese(name, err)
	}
	if !bytes.Equal(encCert.Point, pointOf(enc)) {
		return fmt.Errorf("%w：加密私钥与 enc.pem 不符", errExit1)
	}
	return c.write([]pfx.Entry{{Name: "sign", Key: sign, Cert: signCert.Raw}, {Name: "enc", Key: enc, Cert: encCert.Raw}}, enc)
}

// sealed finds the sealed key of a package, in whichever form it has; a package
// of one certificate has none.
func (c *openCmd) sealed() (name string, data []byte, err error) {
	for _, name := range []string{"sealed-key.der", "key.skf", "key.p7"} {
		data, err := os.ReadFile(filepath.Join(c.Package, name))
		if err == nil {
			return name, data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return name, nil, desk.Unreadable(err)
		}
	}
	return "", nil, nil
}

// readKey reads somebody's private key.
func readKey(name, passFile string) (*sm2.PrivateKey, error) {
	var pass []byte
	var err error
	if passFile != "" {
		if pass, err = passFrom(passFile); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, desk.Unreadable(err)
	}
	key, err := keyfile.Read(text, pass)
	if err != nil {
		return nil, inChinese(name, err)
	}
	return key, nil
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
		return place(c.Out, text)
	}
	if _, err := os.Stat(c.Out); err == nil { // said before a passphrase is asked for
		return taken(c.Out)
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
	return place(c.Out, data)
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
	if err == nil && len(pass) == 0 {
		return nil, &desk.Usage{Text: "口令是空的；请重新输入"}
	}
	return pass, err
}

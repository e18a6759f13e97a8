package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
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

// passMax bounds a passphrase file.
const passMax = 4096

func passFrom(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, desk.Unreadable(err)
	}
	if len(data) > passMax {
		return nil, &desk.Usage{Text: name + "：口令文件过大"}
	}
	return bytes.TrimRight(data, "\r\n"), nil
}

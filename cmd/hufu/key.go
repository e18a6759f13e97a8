package main

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/profile"
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
	if fault := profile.CheckName(n); fault != nil {
		return &desk.Usage{Text: "--subject：" + fault.Why + "；" + fault.Fix}
	}
	if filepath.Clean(c.Out) == filepath.Clean(c.CSR) {
		return &desk.Usage{Text: "--out 和 --csr 是同一个文件；请为证书请求另取文件名"}
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
	if err := renewRequest(c.CSR, csr.PEM(der)); err != nil { // both or neither, so that it can be done again
		return errors.Join(err, os.Remove(c.Out))
	}
	return nil
}

// renewRequest writes a request. An earlier request may go, it was made to be
// sent; anything else stays.
func renewRequest(name string, data []byte) error {
	old, err := os.ReadFile(name)
	block, rest := pem.Decode(old)
	if err == nil && block != nil && block.Type == "CERTIFICATE REQUEST" && len(bytes.TrimSpace(rest)) == 0 {
		return os.WriteFile(name, data, 0o644)
	}
	return writeNew(name, data, 0o644)
}

// subject reads /C=CN/O=…/CN=… ; a comma separates as well. A separator that
// belongs to a value is written with a backslash before it, a backslash twice.
func subject(text string) (n dn.Name, err error) {
	sep := byte(',')
	if strings.HasPrefix(text, "/") {
		sep = '/'
	}
	for _, part := range split(text, sep) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		to := map[string]*string{"C": &n.C, "ST": &n.ST, "L": &n.L, "O": &n.O, "E": &n.E, "CN": &n.CN}[strings.ToUpper(k)]
		switch {
		case !ok || v == "":
			return n, fmt.Errorf("主体 %q 应为 名=值；值里的 %c 请写作 \\%c", part, sep, sep)
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

// split cuts at every separator that has no backslash before it.
func split(text string, sep byte) (parts []string) {
	var part []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == sep || text[i+1] == '\\'):
			i++
			part = append(part, text[i])
		case c == sep:
			parts, part = append(parts, string(part)), nil
		default:
			part = append(part, c)
		}
	}
	return append(parts, string(part))
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
	if data = bytes.TrimRight(data, "\r\n"); len(data) == 0 {
		return nil, &desk.Usage{Text: name + "：口令文件是空的；请写入口令"}
	}
	return data, nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/zone/desk"
)

type judicialCmd struct {
	File     string `arg:"" help:"司法取证证据包。"`
	Seal     string `required:"" help:"放行验证公钥（people/km-seal.pem）。"`
	Key      string `help:"接收人的私钥；不给则只核验。"`
	PassFile string `name:"pass-file" help:"私钥的口令文件。"`
	Out      string `help:"取得的加密私钥写到哪里（PKCS#8 PEM）。"`
}

func (c *judicialCmd) Run(context.Context) error {
	data, err := os.ReadFile(c.File)
	if err != nil {
		return desk.Unreadable(err)
	}
	seal, err := verifyingKey(c.Seal)
	if err != nil {
		return err
	}
	var e km.Evidence
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%w：不是证据包: %w", errExit1, err)
	}
	p, err := e.Check(alg.Point(seal))
	if err != nil {
		return fmt.Errorf("%w：%w", errExit1, err)
	}
	fmt.Printf("证据包完好：案件 %s，办案机关 %s，文书 %s，证书 %s（%s），%d 人签名，%s\n", p.Warrant.Case, p.Warrant.Authority, p.Warrant.Document, p.Warrant.Serial, p.State, len(p.Signed), p.At)
	if c.Key == "" {
		return nil
	}
	return c.open(p)
}

func (c *judicialCmd) open(p km.Package) error {
	if c.Out == "" {
		return &desk.Usage{Text: "需要 --out 文件"}
	}
	var pass []byte
	var err error
	if c.PassFile != "" {
		if pass, err = passFrom(c.PassFile); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(c.Key)
	if err != nil {
		return desk.Unreadable(err)
	}
	key, err := keyfile.Read(text, pass)
	if err != nil {
		return fmt.Errorf("%w：%s: %w", errExit1, c.Key, err)
	}
	env, err := sealedkey.FromEnveloped(p.Session, p.Content, p.Point)
	if err != nil {
		return fmt.Errorf("%w：%w", errExit1, err)
	}
	got, err := env.Open(key)
	if err != nil || !bytes.Equal(pointOf(got), p.Point) {
		return fmt.Errorf("%w：不是密封给这把私钥的", errExit1)
	}
	return place(c.Out, keyfile.Plain(got))
}

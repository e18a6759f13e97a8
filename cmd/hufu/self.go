package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/zone/desk"
)

type selfCmd struct {
	Dir      string `help:"数据目录（取其中的地址）。" default:"./hufu-data"`
	URL      string `help:"注册系统的地址；省略则取数据目录中的。"`
	Cert     string `required:"" help:"签名证书文件 sign.pem。"`
	Key      string `required:"" help:"签名私钥文件。"`
	PassFile string `name:"pass-file" help:"私钥口令文件。"`
	CSR      string `name:"csr" help:"新的证书请求文件（更新）。"`
	Reason   string `help:"撤销原因，如 keyCompromise。"`
	Note     string `help:"说明。"`
	JSON     bool   `help:"输出 JSON。"`
	Verb     string `arg:"" enum:"status,renew,freeze,revoke" help:"status 查询，renew 更新，freeze 冻结，revoke 撤销。"`
}

func (c *selfCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actWithin)
	defer cancel()
	w := ra.Wish{Do: c.Verb, Reason: c.Reason, Note: c.Note}
	switch {
	case c.Verb == "renew" && c.CSR == "":
		return &desk.Usage{Text: "需要 --csr 新的证书请求文件"}
	case c.Verb == "revoke" && c.Reason == "":
		return &desk.Usage{Text: "需要 --reason"}
	}
	if c.CSR != "" {
		data, err := os.ReadFile(c.CSR)
		if err != nil {
			return &desk.Usage{Text: err.Error()}
		}
		w.CSR = string(data)
	}
	p, err := c.holder()
	if err != nil {
		return err
	}
	if err := p.SignIn(ctx); err != nil {
		return err
	}
	defer p.SignOut(context.WithoutCancel(ctx))
	if c.Verb == "status" {
		v, err := p.Status(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(os.Stdout).Encode(v)
		}
		for _, one := range v.Certificates {
			fmt.Printf("%s  %s  %s 至 %s  %s\n", one.Serial, one.StateTitle, one.NotBefore.Format("2006-01-02"), one.NotAfter.Format("2006-01-02"), one.Subject)
		}
		for _, one := range v.Cases {
			fmt.Printf("%s  %s  %s\n", one.ID, one.Title, one.StateTitle)
		}
		return nil
	}
	done, err := p.Wish(ctx, w)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(done)
	}
	fmt.Println(done.ID)
	return nil
}

// holder opens the subscriber's own files.
func (c *selfCmd) holder() (*desk.Person, error) {
	url := c.URL
	if url == "" {
		var e desk.Endpoints
		if err := e.Read(c.Dir); err != nil {
			return nil, err
		}
		url = e.RA
	}
	var text [2][]byte
	for i, name := range []string{c.Cert, c.Key} {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, &desk.Usage{Text: err.Error()}
		}
		text[i] = data
	}
	var pass []byte
	if c.PassFile != "" {
		var err error
		if pass, err = passFrom(c.PassFile); err != nil {
			return nil, err
		}
	}
	return desk.Subscriber(strings.TrimSuffix(url, "/"), text[0], text[1], pass)
}

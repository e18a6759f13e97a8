package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/hufu-pki/hufu/pki/directory/ldappush"
	"github.com/hufu-pki/hufu/zone/desk"
)

type directoryCmd struct {
	Check  directoryCheckCmd  `cmd:"" help:"按账本核对外部目录服务器，可修复。"`
	Schema directorySchemaCmd `cmd:"" help:"输出 OpenLDAP 所需的属性与对象类。"`
}

type directorySchemaCmd struct{}

func (*directorySchemaCmd) Run() error {
	_, err := fmt.Print(ldappush.Schema)
	return err
}

type directoryCheckCmd struct {
	URL      string        `required:"" help:"目录服务器，ldap:// 或 ldaps://。"`
	Base     string        `help:"本机构目录树的起点。" default:"C=CN"`
	Bind     string        `help:"登录目录的 DN；只核对时可以匿名。"`
	PassFile string        `name:"pass-file" help:"登录口令文件。"`
	StartTLS bool          `name:"starttls" help:"用 StartTLS 加密。"`
	CAFile   string        `name:"ca-file" help:"目录服务器证书的根证书（PEM）。"`
	Tiles    string        `required:"" help:"账本：网址、目录或 ZIP。"`
	Key      string        `required:"" help:"检查点公钥或证书（PEM）。"`
	Repair   bool          `help:"按账本恢复缺失、被改和冒充的条目。"`
	Settle   time.Duration `help:"等发布赶上账本的时间。" default:"2s"`
	JSON     bool          `help:"输出 JSON。"`
}

func (c *directoryCheckCmd) Run(ctx context.Context) error {
	key, err := verifyingKey(c.Key)
	if err != nil {
		return err
	}
	src, done, err := source(c.Tiles)
	if err != nil {
		return err
	}
	defer done()
	server, err := directoryServer(c.URL, c.Bind, c.PassFile, c.CAFile, c.StartTLS)
	if err != nil {
		return err
	}
	server.Base = c.Base
	r, err := desk.DirectoryCheck{Server: server, Tiles: src, Key: key, Repair: c.Repair, Settle: c.Settle, Now: now}.Run(ctx)
	if err != nil {
		return err
	}
	if err := c.print(r); err != nil {
		return err
	}
	if r.Found > r.Repaired {
		return fmt.Errorf("%w: 目录与账本有 %d 处不符", errExit1, r.Found-r.Repaired)
	}
	return nil
}

func (c *directoryCheckCmd) print(r ldappush.Report) error {
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("账本 %d 条，应有条目 %d 个，目录中有 %d 个，别家条目 %d 个；不符 %d 处，已修复 %d 处\n", r.Ledger, r.Expected, r.Seen, r.Others, r.Found, r.Repaired)
	kind := map[ldappush.Kind]string{ldappush.Missing: "缺失", ldappush.Altered: "被改", ldappush.Foreign: "账本中没有"}
	for _, f := range r.Findings {
		mark := "未修复"
		if f.Repaired {
			mark = "已修复"
		}
		fmt.Printf("%s  %s  %s  %v %s\n", kind[f.Kind], mark, f.DN, f.Differ, f.Note)
	}
	return nil
}

// directoryServer is an external directory as the command line names it.
func directoryServer(at, bind, passFile, caFile string, startTLS bool) (ldappush.Server, error) {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" {
		return ldappush.Server{}, &desk.Usage{Text: at + "：应为 ldap://主机:端口 或 ldaps://主机:端口"}
	}
	if bind != "" && passFile == "" {
		return ldappush.Server{}, &desk.Usage{Text: "登录目录需要口令文件"}
	}
	s := ldappush.Server{URL: at, Bind: bind, PassFile: passFile, StartTLS: startTLS}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return s, &desk.Usage{Text: err.Error()}
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return s, &desk.Usage{Text: caFile + " 中没有证书"}
		}
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: roots}
	}
	return s, nil
}

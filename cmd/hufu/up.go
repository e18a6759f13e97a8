package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/zone/up"
)

type upCmd struct {
	Dir       string `help:"数据目录。" default:"./hufu-data"`
	Addr      string `help:"监听地址。" default:"127.0.0.1"`
	BasePort  int    `help:"起始端口，使用其后共 40 个端口。" default:"18440"`
	PublicURL string `name:"public-url" help:"确认证书中写入的公共地址仍可访问。"`

	Quorum bool `help:"把 CA 和密钥管理系统的密钥分给保管人（3/5）：此后每次启动须 3 名保管人交出份额。"`

	RemindDays      []int  `name:"remind-days" help:"证书到期前多少天各提醒一次，由小到大。" default:"7,30,60"`
	OCSPNeverIssued string `name:"ocsp-never-issued" help:"从未签发的序列号答 unknown，或按 RFC 6960 §2.2 答 revoked。" enum:"unknown,revoked" default:"unknown"`

	PublishLDAP     string `name:"publish-ldap" help:"同时发布到外部目录服务器，ldap:// 或 ldaps://。"`
	PublishBind     string `name:"publish-bind" help:"登录外部目录的 DN。"`
	PublishPassFile string `name:"publish-pass-file" help:"登录外部目录的口令文件。"`
	PublishStartTLS bool   `name:"publish-starttls" help:"用 StartTLS 加密。"`
	PublishCAFile   string `name:"publish-ca-file" help:"外部目录服务器证书的根证书（PEM）。"`
}

func (c *upCmd) Run(ctx context.Context) error {
	conf := up.Config{Dir: c.Dir, Addr: c.Addr, BasePort: c.BasePort, PublicURL: c.PublicURL, Now: now, Out: os.Stdout, Quorum: c.Quorum, Log: slog.Default().Handler(), Remind: c.RemindDays, ExtendedRevoked: c.OCSPNeverIssued == "revoked"}
	if err := ra.RemindDays(c.RemindDays); err != nil {
		return err
	}
	if c.PublishLDAP != "" {
		s, err := directoryServer(c.PublishLDAP, c.PublishBind, c.PublishPassFile, c.PublishCAFile, c.PublishStartTLS)
		if err != nil {
			return err
		}
		conf.Publish = &s
	}
	err := up.Run(ctx, conf)
	if errors.Is(err, up.ErrBusy) || errors.Is(err, up.ErrAddress) {
		return fmt.Errorf("%w: %w", errExit1, err)
	}
	return err
}

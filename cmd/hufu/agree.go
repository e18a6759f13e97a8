package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"

	"github.com/hufu-pki/hufu/zone/agree"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/up"
)

type agreeCmd struct {
	Dir     string `help:"数据目录（hufu up 正在其上运行）。" default:"./hufu-data"`
	Samples int    `help:"抽查多少张较早的证书。" default:"100"`
	LDAP    string `name:"ldap" help:"另外核对的外部目录服务器。"`
	JSON    bool   `help:"输出 JSON。"`
}

// samplesMax bounds how many older certificates one look takes.
const samplesMax = 1_000_000

func (c *agreeCmd) Run(ctx context.Context) error {
	if c.Samples < 0 || c.Samples > samplesMax {
		return &desk.Usage{Text: fmt.Sprintf("选项 --samples 应为 0 至 %d 的整数，却是 %d", samplesMax, c.Samples)}
	}
	var more []agree.Directory
	if c.LDAP != "" {
		if u, err := url.Parse(c.LDAP); err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Host == "" {
			return &desk.Usage{Text: fmt.Sprintf("选项 --ldap 应为 ldap://主机:端口 或 ldaps://主机:端口，却是 %q", c.LDAP)}
		}
		more = append(more, agree.Directory{Name: "ldap-external", Title: "外部目录", URL: c.LDAP})
	}
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what is wrong is in the report
	r, err := up.Agreement(ctx, c.Dir, c.Samples, now, more...)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(r)
	} else {
		showAgreement(r)
	}
	if err == nil && !r.Agrees() {
		return fmt.Errorf("%w: 对外发布的不一致", errExit1)
	}
	return err
}

func showAgreement(r agree.Report) {
	fmt.Printf("账本 %d 条\n", r.Ledger)
	for _, c := range r.Channels {
		fmt.Printf("%s（%s）：一致 %d 项，不符 %d 项", c.Title, c.Name, c.Checked, len(c.Disagreements))
		if v := c.Visibility; v.Measured > 0 {
			fmt.Printf("；变更可见用时 中位 %.2f 秒、99%% %.2f 秒、最长 %.2f 秒（%d 次）", v.P50, v.P99, v.Max, v.Measured)
		}
		if c.Down != "" {
			fmt.Printf("；没有应答：%s", c.Down)
		}
		fmt.Println()
		for _, d := range c.Disagreements {
			fmt.Printf("  %s：账本为“%s”，此处为“%s”，自 %s\n", d.Subject, d.Want, d.Says, d.Since.Format("2006-01-02T15:04:05Z07:00"))
		}
	}
}

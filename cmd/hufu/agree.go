package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/zone/agree"
	"github.com/hufu-pki/hufu/zone/up"
)

type agreeCmd struct {
	Dir     string `help:"数据目录（hufu up 正在其上运行）。" default:"./hufu-data"`
	Samples int    `help:"抽查多少张较早的证书。" default:"100"`
	LDAP    string `name:"ldap" help:"另外核对的外部目录服务器。"`
	JSON    bool   `help:"输出 JSON。"`
}

func (c *agreeCmd) Run(ctx context.Context) error {
	var more []agree.Directory
	if c.LDAP != "" {
		more = append(more, agree.Directory{Name: "ldap-external", Title: "外部目录", URL: c.LDAP})
	}
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

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/zone/up"
)

type upCmd struct {
	Dir       string `help:"数据目录。" default:"./hufu-data"`
	Addr      string `help:"监听地址。" default:"127.0.0.1"`
	BasePort  int    `help:"起始端口，使用其后共 40 个端口。" default:"18440"`
	PublicURL string `name:"public-url" help:"确认证书中写入的公共地址仍可访问。"`
}

func (c *upCmd) Run(ctx context.Context) error {
	err := up.Run(ctx, up.Config{Dir: c.Dir, Addr: c.Addr, BasePort: c.BasePort, PublicURL: c.PublicURL, Now: now, Out: os.Stdout})
	if errors.Is(err, up.ErrBusy) || errors.Is(err, up.ErrAddress) {
		return fmt.Errorf("%w: %w", errExit1, err)
	}
	return err
}

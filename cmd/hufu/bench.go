package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hufu-pki/hufu/zone/bench"
	"github.com/hufu-pki/hufu/zone/desk"
)

type benchCmd struct {
	Name    string `arg:"" help:"list，或测量名。"`
	Store   string `help:"sqlite，或 postgres://… 。" default:"sqlite"`
	Seconds int    `help:"测量秒数。" default:"8"`
	JSON    bool   `help:"输出 JSON。"`
}

func (c *benchCmd) Run(ctx context.Context) error {
	if c.Name == "list" {
		if c.JSON {
			var names []string
			for _, m := range bench.All {
				names = append(names, m.Name)
			}
			return json.NewEncoder(os.Stdout).Encode(names)
		}
		for _, m := range bench.All {
			fmt.Printf("%-16s %s\n", m.Name, m.What)
		}
		return nil
	}
	if c.Seconds < 1 || c.Seconds > 600 {
		return &desk.Usage{Text: "--seconds 应为 1 至 600"}
	}
	r, err := bench.Run(ctx, c.Name, bench.Options{Store: c.Store, Seconds: c.Seconds, Now: now})
	if errors.Is(err, bench.ErrName) {
		return &desk.Usage{Text: fmt.Sprintf("没有测量 %q，见 hufu bench list", c.Name)}
	}
	if errors.Is(err, bench.ErrStore) {
		scheme, _, _ := strings.Cut(c.Store, ":") // what follows may hold a password
		return &desk.Usage{Text: fmt.Sprintf("不支持数据库 %.20q；--store 应为 sqlite 或 postgres://用户:口令@主机/库", scheme)}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("%s：每秒 %.0f，底线每秒 %.0f，比值 %.2f；p50 %.2f ms，p99 %.2f ms\n", r.Name, r.Path, r.Floor, r.Ratio, r.P50, r.P99)
	return nil
}

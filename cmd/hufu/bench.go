package main

import "github.com/hufu-pki/hufu/zone/desk"

type benchCmd struct {
	Name    string `arg:"" help:"list 或测量名。"`
	Store   string `help:"sqlite 或 postgres://…。" default:"sqlite"`
	Seconds int    `help:"测量秒数。" default:"8"`
	JSON    bool   `help:"输出 JSON。"`
}

func (c *benchCmd) Run() error { return &desk.Usage{Text: "尚无测量"} }

package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/zone/describe"
)

type describeCmd struct {
	System string `arg:"" optional:"" enum:"ca,ra,ocsp,ldap,km," default:"" help:"只列一个子系统：ca、ra、ocsp、ldap、km。"`
	JSON   bool   `help:"输出 JSON。"`
}

func (c *describeCmd) Run() error {
	r, err := describe.Build()
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	fmt.Print(r.Markdown(c.System))
	return nil
}

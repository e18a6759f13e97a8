package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/zone/roles"
)

type rolesCmd struct {
	JSON bool `help:"输出 JSON。" xor:"form"`
	CSV  bool `help:"输出 CSV。" xor:"form"`
	MD   bool `help:"输出 Markdown（默认）。" xor:"form"`
}

func (c *rolesCmd) Run() error {
	switch {
	case c.JSON:
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(roles.Matrix())
	case c.CSV:
		text, err := roles.CSV()
		if err == nil {
			fmt.Print(text)
		}
		return err
	}
	fmt.Print(roles.Markdown())
	return nil
}

package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/desk"
)

// rules reads the profiles and settings in force and how they came to be:
// "profile", "profile NAME", "profile NAME/VERSION", "setting". They are changed
// by "propose profile.change" and "propose setting.change".
func (c *asCmd) rules(ctx context.Context, p *desk.Person) (any, error) {
	var v cacore.RulesView
	if len(c.Objects) > 1 || c.Verb == "setting" && len(c.Objects) > 0 {
		return nil, &desk.Usage{Text: "用法：ca profile [模板[/版本]]、ca setting"}
	}
	if len(c.Objects) == 1 && strings.Contains(c.Objects[0], "/") {
		name, version, _ := strings.Cut(c.Objects[0], "/")
		var one profile.Profile
		return &one, p.Call(ctx, http.MethodGet, "/api/v1/rules/profiles/"+url.PathEscape(name)+"/"+url.PathEscape(version), nil, &one)
	}
	if err := p.Call(ctx, http.MethodGet, "/api/v1/rules", nil, &v); err != nil {
		return nil, err
	}
	if c.Verb == "setting" {
		return map[string]any{"version": v.SettingsVersion, "settings": v.Settings}, nil
	}
	for _, one := range v.Profiles {
		if len(c.Objects) == 1 && one.Name == c.Objects[0] {
			return &one, nil
		}
	}
	if len(c.Objects) == 1 {
		return nil, &desk.Usage{Text: "没有模板 " + c.Objects[0]}
	}
	return &v, nil
}

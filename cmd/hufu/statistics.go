package main

import (
	"context"
	"net/http"
	"net/url"
	"os"

	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/desk"
)

// statistics reads the CA's counts of a period.
func (c *asCmd) statistics(ctx context.Context, p *desk.Person) (any, error) {
	q := url.Values{}
	if c.From != "" {
		q.Set("from", c.From)
	}
	if c.To != "" {
		q.Set("to", c.To)
	}
	var v cacore.Statistics
	if err := p.Call(ctx, http.MethodGet, "/api/v1/statistics?"+q.Encode(), nil, &v); err != nil {
		return nil, err
	}
	if c.CSV {
		_, err := os.Stdout.WriteString(v.CSV())
		return nil, err
	}
	return &v, nil
}

package enroll

import "context"

// Bar is a registration body that the CA takes no requests of, or the whole
// registration system under the name "ra". (停止受理)
type Bar struct {
	Body string `json:"body"`
	Why  string `json:"why"`
}

type bars struct {
	Bars []Bar `json:"bars"`
}

const pathBars = "/ca/v1/bars"

// Bars asks of whom the CA takes no requests.
func (c Client) Bars(ctx context.Context) ([]Bar, error) {
	var out bars
	err := c.Link.Call(ctx, pathBars, struct{}{}, &out)
	return out.Bars, err
}

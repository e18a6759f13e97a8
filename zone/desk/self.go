package desk

import (
	"context"
	"net/http"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/ra/raself"
	"github.com/hufu-pki/hufu/web/api"
)

// Subscriber is a certificate's holder at the self-service of a registration
// system; certificate and key as files have them.
func Subscriber(url string, certPEM, keyText, pass []byte) (*Person, error) {
	c, err := cert.FromPEM(certPEM)
	if err != nil {
		return nil, &Usage{Text: "证书文件：" + err.Error()}
	}
	key, err := keyfile.Read(keyText, pass)
	if err != nil {
		return nil, &Usage{Text: "私钥文件：" + err.Error()}
	}
	return &Person{Key: key, Cert: c.Raw, URL: url + raself.Under, HTTP: client()}, nil
}

// Status is what the holder sees.
func (p *Person) Status(ctx context.Context) (raself.Status, error) {
	var v raself.Status
	return v, p.Call(ctx, http.MethodGet, "/api/v1/status", nil, &v)
}

// Wish prepares, signs and sends what the holder asks for.
func (p *Person) Wish(ctx context.Context, w ra.Wish) (raself.Case, error) {
	var st api.Prepared
	var done raself.Case
	if err := p.Call(ctx, http.MethodPost, "/api/v1/requests/prepare", w, &st); err != nil {
		return done, err
	}
	w.ID = st.ID
	claim, err := p.Claim(st)
	if err != nil {
		return done, err
	}
	in := struct {
		Order ra.Wish      `json:"order"`
		Claim access.Claim `json:"claim"`
	}{w, claim}
	return done, p.Call(ctx, http.MethodPost, "/api/v1/requests", in, &done)
}

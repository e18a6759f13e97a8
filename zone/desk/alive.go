package desk

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

const (
	// patience is how long an answer may take before the server is asked for a
	// sign of life, and again after each.
	patience = 4 * time.Second
	// signMax bounds the sign of life. Together they stay under 10 s, after
	// which a server that hangs counts as not there.
	signMax = 4 * time.Second
	// callMax bounds one call to a server that is alive.
	callMax = 5 * time.Minute
	// byeMax bounds signing out, which nobody waits for.
	byeMax = time.Second
)

// errSilent is a server that takes connections and says nothing.
var errSilent = errors.New("服务器没有应答（10 秒内没有任何回音）；请检查服务是否在运行")

func client() *http.Client { return &http.Client{Timeout: callMax} }

// watched ends a call when the server shows no sign of life. Work that takes
// long, and long bodies, go on while it answers others.
func (p *Person) watched(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(patience):
			}
			if !p.alive(ctx) {
				cancel(errSilent)
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// alive reports whether the server answers at all; what it answers is nothing.
func (p *Person) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, signMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, strings.TrimSuffix(p.URL, "/")+"/api/v1/me", nil)
	if err != nil {
		return false
	}
	resp, err := p.HTTP.Do(req)
	return err == nil && resp.Body.Close() == nil
}

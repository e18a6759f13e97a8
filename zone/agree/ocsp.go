package agree

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/ocsp"
)

// status asks a status service, with or without a nonce: the answers come from
// two hands, one that signs now and one that signed before.
type status struct {
	url   string
	nonce bool
	http  *http.Client
	now   func() time.Time
}

func (c status) Name() string {
	if c.nonce {
		return "ocsp-nonce"
	}
	return "ocsp"
}

func (c status) Title() string {
	if c.nonce {
		return "OCSP（带随机数）"
	}
	return "OCSP"
}

func (status) Expect(s Subject) State { return expected(s) }

// skew is how far two honest clocks may be apart.
const skew = 5 * time.Minute

func (c status) Ask(ctx context.Context, s Subject) (Answer, error) {
	if s.Scope != "" || s.Issuer == nil || s.Last {
		return Answer{Silent: true}, nil
	}
	var nonce, back []byte
	if c.nonce {
		nonce = make([]byte, 16)
		_, _ = rand.Read(nonce) // crypto/rand never fails
		back = append([]byte{4, 16}, nonce...)
	}
	id := ocsp.Ask(alg.SM3, true, s.Issuer, s.Serial)
	r, err := c.post(ctx, ocsp.NewRequest(nonce, id))
	if err != nil {
		return Answer{}, err
	}
	now := c.now()
	switch {
	case r.Code == ocsp.TryLater || r.Code == ocsp.InternalError:
		return Answer{}, fmt.Errorf("ocsp: %s", r.Code)
	case r.Code != ocsp.Successful:
		return Answer{Wrong: "应答为 " + r.Code.String()}, nil
	case len(r.Singles) != 1 || !bytes.Equal(r.Singles[0].ID, id.Raw):
		return Answer{Wrong: "答的不是所问的证书"}, nil
	case !bytes.Equal(r.Nonce, back):
		return Answer{Wrong: "随机数不符"}, nil
	}
	if err := r.Verify(s.Issuer, now); err != nil {
		return Answer{Wrong: "签名不可信：" + err.Error()}, nil
	}
	one := r.Singles[0]
	if one.ThisUpdate.After(now.Add(skew)) || !one.NextUpdate.IsZero() && one.NextUpdate.Before(now) {
		return Answer{Wrong: fmt.Sprintf("应答时间 %s 至 %s 不含现在", one.ThisUpdate.Format(time.RFC3339), one.NextUpdate.Format(time.RFC3339))}, nil
	}
	switch one.State {
	case ocsp.Good:
		return Answer{State: Good}, nil
	case ocsp.Revoked:
		return Answer{State: Revoked, Reason: one.Reason, At: one.RevokedAt}, nil
	}
	return Answer{State: Absent}, nil
}

func (c status) post(ctx context.Context, question []byte) (*ocsp.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(io.LimitReader(resp.Body, ocsp.ResponseMax+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ocsp: %s", resp.Status)
	}
	return ocsp.Parse(der)
}

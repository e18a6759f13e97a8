// Package escrow carries messages between CA and key centre. (密钥托管协议)
//
// The messages of GM/T 0014 are signed and complete in themselves; this is
// their way over HTTP: DER in, DER out, a refusal as JSON. TLCP comes
// underneath where the two are apart (GM/T 0034 §6.4). Asking again with the
// same bytes is harmless.
package escrow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/kmmsg"
)

// Path is where a key centre listens.
const Path = "/km/v1/escrow"

// BodyMax bounds a message either way.
const BodyMax = kmmsg.MessageMax

const (
	typeDER  = "application/octet-stream"
	typeJSON = "application/json"
)

// statuses says how each kind of refusal travels, and the way back.
var statuses = map[refusal.Kind]int{
	refusal.Invalid:   http.StatusUnprocessableEntity,
	refusal.Forbidden: http.StatusForbidden,
	refusal.NotFound:  http.StatusNotFound,
	refusal.Conflict:  http.StatusConflict,
	refusal.Limit:     http.StatusTooManyRequests,
}

// Client asks a key centre.
type Client struct {
	URL  string // base, without trailing slash
	HTTP *http.Client
}

// Ask sends a CARequest and returns the KMRespond, whose signature the caller
// checks. A refusal comes back as one; after any other error the same bytes
// may be sent again.
func (c Client) Ask(ctx context.Context, request []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+Path, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", typeDER)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking key centre: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, BodyMax+1))
	if err == nil && len(body) > BodyMax {
		err = errors.New("longer than a message may be")
	}
	if err != nil {
		return nil, fmt.Errorf("reading key centre's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refused(resp.StatusCode, body)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), typeDER) {
		return nil, fmt.Errorf("key centre answered with %q", resp.Header.Get("Content-Type"))
	}
	return body, nil
}

func refused(status int, body []byte) error {
	var r refusal.Report
	for kind, s := range statuses {
		if s == status && json.Unmarshal(body, &r) == nil && r.Code != "" {
			return refusal.FromReport(kind, r)
		}
	}
	return fmt.Errorf("key centre failed with status %d", status)
}

type sourceKey struct{}

// Source is the network address a message came from, for the audit trail
// (GM/T 0034 §8.2.6.2).
func Source(ctx context.Context) string {
	a, _ := ctx.Value(sourceKey{}).(string)
	return a
}

// Handler answers CAs.
type Handler struct {
	Answer func(ctx context.Context, request []byte) ([]byte, error)
}

// ServeHTTP answers one message.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, BodyMax))
	if err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			refuse(w, TooLong.Because("最大 %d 字节", BodyMax))
			return
		}
		http.Error(w, "incomplete request", http.StatusBadRequest)
		return
	}
	answer, err := h.Answer(context.WithValue(r.Context(), sourceKey{}, r.RemoteAddr), body)
	if err != nil {
		if f := refusal.Of(err); f != nil {
			refuse(w, f)
			return
		}
		slog.Error("answering a CA failed", "err", err, "source", r.RemoteAddr)
		http.Error(w, "failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", typeDER)
	_, _ = w.Write(answer) // the CA asks again
}

func refuse(w http.ResponseWriter, f *refusal.Refusal) {
	status, ok := statuses[f.Reason.Kind]
	if !ok {
		status = http.StatusUnprocessableEntity
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f.Report())
}

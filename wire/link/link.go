// Package link carries signed messages between zones. (区间链路)
//
// Each call is one HTTP request whose receiver, path, time, nonce and body the
// sender signs with SM2; the answer is signed over the same nonce. A peer is
// known by its key. What is asked carries an ID of its own, so repeating it is
// harmless. TLCP comes underneath where zones are apart (GM/T 0034 §5.3.2).
package link

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
)

// BodyMax bounds a message either way.
const BodyMax = 64 << 20

// window is how far the clocks of two zones may be apart.
const window = 5 * time.Minute

// requestText names who is meant by key, so what one peer was asked cannot be
// put to another that trusts the same sender.
func requestText(to *ecdsa.PublicKey, path, from, at, nonce string, body []byte) []byte {
	return fmt.Appendf(nil, "hufu-link 2\n%x\n%s\n%s\n%s\n%s\n%x\n", alg.Digest(alg.Point(to)), path, from, at, nonce, alg.Digest(body))
}

func replyText(nonce string, status int, body []byte) []byte {
	return fmt.Appendf(nil, "hufu-link-reply 1\n%s\n%d\n%s\n", nonce, status, hex.EncodeToString(alg.Digest(body)))
}

// Client calls one peer.
type Client struct {
	URL  string // base, without trailing slash
	Name string // who we are
	Key  crypto.Signer
	Peer *ecdsa.PublicKey // who answers
	HTTP *http.Client
	Now  func() time.Time
}

type failure struct {
	Kind   refusal.Kind   `json:"kind"`
	Report refusal.Report `json:"report"`
}

// Call posts in as JSON and decodes the signed answer into out. A refusal of
// the peer comes back as a refusal.
func (c *Client) Call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // crypto/rand never fails
	nonce, at := hex.EncodeToString(random), strconv.FormatInt(c.Now().UnixMilli(), 10)
	sig, err := alg.Sign(c.Key, requestText(c.Peer, path, c.Name, at, nonce, body))
	if err != nil {
		return fmt.Errorf("signing for %s: %w", path, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Hufu-From", c.Name)
	req.Header.Set("Hufu-Time", at)
	req.Header.Set("Hufu-Nonce", nonce)
	req.Header.Set("Hufu-Signature", base64.StdEncoding.EncodeToString(sig))
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("calling %s: %w", path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, BodyMax+1))
	if err != nil || len(answer) > BodyMax {
		return fmt.Errorf("reading answer of %s: %w", path, errors.Join(err, errTooLong(len(answer))))
	}
	rs, err := base64.StdEncoding.DecodeString(resp.Header.Get("Hufu-Signature"))
	if err != nil || alg.Verify(c.Peer, replyText(nonce, resp.StatusCode, answer), rs) != nil {
		return fmt.Errorf("answer of %s (%s) is not signed by the peer", path, resp.Status)
	}
	return decode(path, resp.StatusCode, answer, out)
}

func errTooLong(n int) error {
	if n > BodyMax {
		return errors.New("too long")
	}
	return nil
}

func decode(path string, status int, answer []byte, out any) error {
	if status == http.StatusOK {
		return json.Unmarshal(answer, out)
	}
	var f failure
	if err := json.Unmarshal(answer, &f); err != nil || f.Report.Code == "" {
		return fmt.Errorf("%s: the peer failed with status %d", path, status)
	}
	return refusal.FromReport(f.Kind, f.Report)
}

// Server answers named peers.
type Server struct {
	Key   crypto.Signer
	Peers map[string]*ecdsa.PublicKey
	Now   func() time.Time
	// Refused is told about every call that is turned away at the door.
	Refused func(ctx context.Context, from, source, path, why string)

	mux http.ServeMux
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

type sourceKey struct{}

// Source is the network address a call came from.
func Source(ctx context.Context) string {
	a, _ := ctx.Value(sourceKey{}).(string)
	return a
}

// Handle answers a path with f; max bounds its body; peers may call it, all
// when none is given.
func Handle[In, Out any](s *Server, path string, max int64, f func(ctx context.Context, peer string, in In) (Out, error), peers ...string) {
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		from, nonce := r.Header.Get("Hufu-From"), r.Header.Get("Hufu-Nonce")
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, max))
		if err == nil {
			err = s.check(r, from, nonce, body, peers)
		}
		if err != nil {
			if s.Refused != nil {
				s.Refused(r.Context(), from, r.RemoteAddr, path, err.Error())
			}
			http.Error(w, "refused", http.StatusForbidden)
			return
		}
		var in In
		if err := strict.JSON(body, &in); err != nil {
			s.reply(w, nonce, nil, Malformed.Because("%v", err))
			return
		}
		out, err := f(context.WithValue(r.Context(), sourceKey{}, r.RemoteAddr), from, in)
		s.reply(w, nonce, out, err)
	})
}

func (s *Server) check(r *http.Request, from, nonce string, body []byte, peers []string) error {
	key := s.Peers[from]
	allowed := len(peers) == 0
	for _, p := range peers {
		allowed = allowed || p == from
	}
	if key == nil || !allowed {
		return errors.New("peer not on the list")
	}
	ms, err := strconv.ParseInt(r.Header.Get("Hufu-Time"), 10, 64)
	if age := s.Now().Sub(time.UnixMilli(ms)); err != nil || age > window || age < -window {
		return errors.New("time out of window")
	}
	sig, err := base64.StdEncoding.DecodeString(r.Header.Get("Hufu-Signature"))
	if err != nil || len(nonce) != 32 {
		return errors.New("malformed headers")
	}
	us, ok := s.Key.Public().(*ecdsa.PublicKey)
	if !ok {
		return errors.New("our own key is not SM2")
	}
	return alg.Verify(key, requestText(us, r.URL.Path, from, r.Header.Get("Hufu-Time"), nonce, body), sig)
}

func (s *Server) reply(w http.ResponseWriter, nonce string, out any, err error) {
	status, v := http.StatusOK, out
	if err != nil {
		status, v = http.StatusInternalServerError, failure{}
		if f := refusal.Of(err); f != nil {
			status, v = http.StatusUnprocessableEntity, failure{f.Reason.Kind, f.Report()}
		} else {
			slog.Error("link call failed", "err", err)
		}
	}
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "failed", http.StatusInternalServerError)
		return
	}
	sig, err := alg.Sign(s.Key, replyText(nonce, status, body))
	if err != nil {
		http.Error(w, "failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Hufu-Signature", base64.StdEncoding.EncodeToString(sig))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer asks again
}

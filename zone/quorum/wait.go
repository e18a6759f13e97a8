package quorum

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/shamir"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/desk"
)

// State is what a zone that waits tells everybody.
type State struct {
	Zone        string   `json:"zone"`
	Title       string   `json:"title"`
	Threshold   int      `json:"threshold"`
	Given       []string `json:"given"`
	Custodians  []string `json:"custodians"`
	Point       []byte   `json:"point"`       // of the key that shares are sealed to, made for this start
	Fingerprint string   `json:"fingerprint"` // first 16 bytes of its SM3, to be compared at the machine
}

// Gift is a custodian's share on its way to a zone that waits.
type Gift struct {
	Cert      []byte    `json:"cert"`
	Sealed    []byte    `json:"sealed"` // to the zone's key
	At        time.Time `json:"at"`
	Signature []byte    `json:"signature"`
}

// text is what the custodian signs: which zone, which start, which share.
func (g Gift) text(s State) []byte {
	return fmt.Appendf(nil, "虎符 交出份额\n系统：%s\n本次启动的临时公钥：%s\n密封的份额：%x\n时间：%s\n", s.Title, s.Fingerprint, alg.Digest(g.Sealed), g.At.UTC().Format(time.RFC3339))
}

func fingerprint(point []byte) string { return hex.EncodeToString(alg.Digest(point)[:16]) }

// Bounds of a gift: a share of a 32-byte secret is small, and nobody keeps one
// for later.
const (
	giftMax = 16 << 10
	giftAge = 5 * time.Minute
)

// Beacon tells where a zone waits; it lies in the data folder while it does.
type Beacon struct {
	URL         string `json:"url"`
	Fingerprint string `json:"fingerprint"`
}

func beacon(dir, zone string) string { return filepath.Join(dir, "waiting", zone+".json") }

// ReadBeacon finds a zone that waits.
func ReadBeacon(dir, zone string) (b Beacon, err error) {
	data, err := os.ReadFile(beacon(dir, zone))
	if errors.Is(err, fs.ErrNotExist) {
		return b, NotMade.At("zone", NotMade.Clause).Because("%s现在没有等待份额", Zones[zone]).ToFix("请先启动 hufu up；已开启的系统不再需要份额")
	}
	if err == nil {
		err = strict.JSON(data, &b)
	}
	return b, err
}

// room is a zone that waits for its custodians.
type room struct {
	Zone
	charter Charter
	key     *sm2.PrivateKey
	opened  chan *soft.Device

	mu     sync.Mutex
	shares map[string]shamir.Share // by custodian
}

// Wait serves nothing but the question for shares at addr until enough
// custodians have given theirs, and returns the opened keys.
func (z Zone) Wait(ctx context.Context, addr string) (*soft.Device, error) {
	charter, err := z.Charter()
	if err != nil {
		return nil, err
	}
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	r := &room{Zone: z, charter: charter, key: key, opened: make(chan *soft.Device, 1), shares: map[string]shamir.Share{}}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", r.page)
	mux.HandleFunc("GET /quorum", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, r.state()) })
	mux.HandleFunc("POST /quorum/share", r.give)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close() // what has not ended by now is cut off
		}
		_ = os.Remove(beacon(z.Dir, z.Name)) // it may never have been written
		clear(key.D.Bits())
	}()
	data, err := json.Marshal(Beacon{"http://" + addr, r.state().Fingerprint})
	if err != nil {
		return nil, err
	}
	if err := write(beacon(z.Dir, z.Name), data); err != nil {
		return nil, err
	}
	slog.Info("等待份额保管人", "zone", z.Name, "threshold", charter.Threshold, "url", "http://"+addr, "fingerprint", r.state().Fingerprint)
	select {
	case d := <-r.opened:
		return d, nil
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *room) state() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := State{Zone: r.Name, Title: Zones[r.Name], Threshold: r.charter.Threshold, Given: []string{}, Point: alg.Point(&r.key.PublicKey)}
	for _, o := range r.charter.Custodians {
		if s.Custodians = append(s.Custodians, o.Name); slices.Contains(keysOf(r.shares), string(o.Cert)) {
			s.Given = append(s.Given, o.Name)
		}
	}
	s.Fingerprint = fingerprint(s.Point)
	return s
}

func keysOf(m map[string]shamir.Share) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

//go:embed waiting.html
var files embed.FS

var waiting = template.Must(template.ParseFS(files, "waiting.html"))

// page shows how far it is; it has no script and asks nothing from elsewhere.
func (r *room) page(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := waiting.Execute(&b, r.state()); err != nil {
		slog.Error("page of a zone that waits", "err", err)
		http.Error(w, "内部错误", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // whoever asked has gone
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
}

var status = map[refusal.Kind]int{refusal.Invalid: 422, refusal.Forbidden: 403, refusal.NotFound: 404, refusal.Conflict: 409, refusal.Limit: 429}

// give takes one share. What was refused is on the trail as what was taken.
func (r *room) give(w http.ResponseWriter, req *http.Request) {
	start := r.Now()
	var g Gift
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, giftMax))
	if err == nil {
		err = strict.JSON(data, &g)
	}
	if err != nil {
		answer(w, 400, BadShare.At("body", BadShare.Clause).Report())
		return
	}
	who, err := r.take(req.Context(), g)
	line := audit.Entry{Start: start, End: r.Now(), Who: who.name, Role: "custodian", Item: "quorum.give", Object: r.state().Fingerprint, Serial: who.serial, Result: audit.Done, Source: req.RemoteAddr, Proof: alg.Digest(g.text(r.state()), g.Signature)}
	no := refusal.Of(err)
	if no != nil {
		line.Result, line.Detail = no.Reason.Code, no.Detail
	}
	if e := r.trailLine(req.Context(), line); e != nil {
		r.forget(g)
		err, no = errors.Join(err, e), nil
	}
	switch {
	case no != nil:
		answer(w, status[no.Reason.Kind], no.Report())
	case err != nil:
		slog.Error("taking a share", "zone", r.Name, "err", err)
		http.Error(w, "内部错误", http.StatusInternalServerError)
	default:
		answer(w, http.StatusOK, r.state())
		r.tryOpen()
	}
}

func (r *room) trailLine(ctx context.Context, line audit.Entry) error {
	db, err := sqldb.Open(ctx, filepath.Join(r.Dir, r.Name, r.Name+".db"))
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}

func (r *room) forget(g Gift) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.shares, string(g.Cert))
}

// giver is whoever hands a share over.
type giver struct{ name, serial string }

// take checks who gives, opens what was sealed for this start, and keeps it.
func (r *room) take(ctx context.Context, g Gift) (who giver, err error) {
	who.name = "unknown"
	o := r.charter.of(g.Cert)
	if o == nil {
		return who, NotHolder.At("cert", NotHolder.Clause)
	}
	c, err := cert.Parse(g.Cert)
	if err != nil {
		return who, err
	}
	who = giver{o.Name, c.SerialHex()}
	now, s := r.Now(), r.state()
	if age := now.Sub(g.At); age > giftAge || age < -giftAge {
		return who, BadShare.At("at", BadShare.Clause).Because("时间 %s 不在允许范围", g.At.Format(time.RFC3339)).ToFix("请校准时钟后重试")
	}
	if alg.Verify(c.PublicKey(), g.text(s), g.Signature) != nil {
		return who, BadShare.At("signature", BadShare.Clause).Because("%s 的签名无效", o.Name)
	}
	people, err := r.People(ctx)
	if err != nil {
		return who, err
	}
	if slices.ContainsFunc(people, func(p access.Person) bool {
		return bytes.Equal(p.Cert, g.Cert) && (p.Disabled || !p.Ended.IsZero())
	}) || now.After(c.NotAfter) {
		return who, NotHolder.At("cert", NotHolder.Clause).Because("%s 的证书已冻结、撤销或过期", o.Name).ToFix("请由其他保管人交出份额，并更换份额")
	}
	plain, err := r.key.Decrypt(rand.Reader, g.Sealed, nil)
	if err != nil {
		return who, BadShare.At("sealed", BadShare.Clause).Because("不是密封给本次启动的")
	}
	defer clear(plain)
	share, err := r.charter.parse(plain, o.Name)
	if err != nil {
		return who, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shares[string(g.Cert)] = share
	return who, nil
}

// tryOpen opens the keys once there are enough shares. Shares that do not open
// them are forgotten: nobody can tell which one is wrong.
func (r *room) tryOpen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.shares) < r.charter.Threshold {
		return
	}
	var list []shamir.Share
	for _, s := range r.shares {
		list = append(list, s)
	}
	pass, err := shamir.Combine(list)
	var d *soft.Device
	if err == nil {
		d, err = r.openWith(pass)
	}
	clear(pass)
	for _, s := range list {
		clear(s.Value)
	}
	r.shares = map[string]shamir.Share{}
	if err != nil {
		slog.Error("shares do not open the keys", "zone", r.Name, "err", err)
		return
	}
	select {
	case r.opened <- d:
	default: // opened already
	}
}

// Give opens somebody's share with their own key, here, and hands it to the
// zone that waits, sealed to the key of this start, whose fingerprint they have
// compared.
func (z Zone) Give(ctx context.Context, to Beacon, p *desk.Person) (s State, err error) {
	p.URL = to.URL
	if err := p.Call(ctx, http.MethodGet, "/quorum", nil, &s); err != nil {
		return s, err
	}
	if s.Zone != z.Name || fingerprint(s.Point) != strings.ToLower(to.Fingerprint) {
		return s, Elsewhere.At("fingerprint", Elsewhere.Clause)
	}
	c, err := z.Charter()
	if err != nil {
		return s, err
	}
	return c.hand(ctx, z.Now(), s, p)
}

func (c Charter) hand(ctx context.Context, now time.Time, s State, p *desk.Person) (State, error) {
	plain, _, err := mine(c.of(p.Cert), p)
	if err != nil {
		return s, err
	}
	defer clear(plain)
	to, err := alg.PublicKey(s.Point)
	if err != nil {
		return s, err
	}
	g := Gift{Cert: p.Cert, At: now.UTC().Truncate(time.Second)}
	if g.Sealed, err = sm2.EncryptASN1(rand.Reader, to, plain); err != nil {
		return s, err
	}
	s.Title = Zones[s.Zone]
	if g.Signature, err = alg.Sign(p.Key, g.text(State{Title: s.Title, Fingerprint: fingerprint(s.Point)})); err != nil {
		return s, err
	}
	var after State
	return after, p.Call(ctx, http.MethodPost, "/quorum/share", g, &after)
}

// Package crash kills the built program without warning, again and again,
// while clients have work in flight, and looks for what was lost. (崩溃测试)
package crash

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/zone/desk"
)

var long = flag.Bool("long", false, "fifty rounds instead of two")

const clients = 16

// world is a folder under test and what its users were told.
type world struct {
	t     *testing.T
	bin   string
	dir   string
	base  int
	cmd   *exec.Cmd
	began time.Time
	busy  atomic.Int32
	teams []team

	mu      sync.Mutex
	agreed  []string          // applications whose approval was acknowledged
	shown   map[string]pair   // certificates that were shown before a kill, by application
	ended   []string          // revocations whose approval was acknowledged
	revoked map[string]string // application by its revocation
	held    map[string]bool   // applications frozen, or released again, by the last acknowledged case
	holds   []string          // freezings and releases whose approval was acknowledged
	unsure  map[string]bool   // applications whose freezing or release was under way at a kill
	given   []string          // recoveries whose last approval was acknowledged
	of      map[string]string // application by its recovery
}

// pair is what a subscriber is given.
type pair struct{ sign, enc []byte }

func TestKillsLoseNothing(t *testing.T) {
	rounds := 2
	if *long {
		rounds = 50
	}
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "D"), base: 31000, shown: map[string]pair{}, revoked: map[string]string{},
		held: map[string]bool{}, unsure: map[string]bool{}, of: map[string]string{}}
	w.bin = filepath.Join(t.TempDir(), "hufu")
	if out, err := exec.Command("go", "build", "-o", w.bin, "../../cmd/hufu").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	between, counted := 0, 0
	// A kill between Intend and Record is what this is about: without one the long
	// run goes on, up to three times as long.
	for tries := 0; counted < rounds || *long && between == 0 && counted < 3*rounds; tries++ {
		if tries > 6*rounds {
			t.Fatalf("only %d of %d kills fell while every client had work in flight", counted, tries)
		}
		w.start()
		full, n := w.load(time.Duration(250+mrand.IntN(900)) * time.Millisecond)
		if !full {
			continue // the kill counts only while every client has work in flight
		}
		counted++
		if n > 0 {
			between++
		}
	}
	t.Logf("%d kills under load of %d clients, %d of them between Intend and Record; acknowledged: %d approvals, %d pairs shown, %d revocations, %d freezings and releases, %d recoveries",
		counted, clients, between, len(w.agreed), len(w.shown), len(w.ended), len(w.holds), len(w.given))
	if *long && between == 0 {
		t.Error("no kill fell between Intend and Record: the test proves too little")
	}
	w.start()
	defer w.kill()
	w.settled()
	w.agree()
	w.sound()
}

func (w *world) start() {
	w.t.Helper()
	_ = os.Remove(filepath.Join(w.dir, "endpoints.json")) // left over by a kill
	w.cmd = exec.Command(w.bin, "up", "--dir", w.dir, "--base-port", fmt.Sprint(w.base))
	var log bytes.Buffer
	w.cmd.Stdout, w.cmd.Stderr = io.Discard, &log
	w.began = time.Now()
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	for range 600 {
		if _, err := os.Stat(filepath.Join(w.dir, "endpoints.json")); err == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	w.t.Fatalf("up does not answer: %s", log.String())
}

func (w *world) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait() // it was killed
}

func (w *world) person(name string) *desk.Person {
	var e desk.Endpoints
	if err := e.Read(w.dir); err != nil {
		w.t.Fatal(err)
	}
	p, err := desk.Open(e.People, name)
	if err != nil {
		w.t.Fatal(err)
	}
	p.URL = e.RA
	return p
}

// load keeps sixteen clients busy and kills the program in the midst of it. It
// reports whether all had work in flight, and how many drafts were on record
// unsigned at that moment.
func (w *world) load(after time.Duration) (full bool, intended int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(clients)
	for i := range clients {
		wg.Go(func() { w.client(ctx, w.team(i), ready.Done) })
	}
	ready.Wait() // the time is that of the work, not of signing in
	time.Sleep(after)
	for range 200 {
		if full = w.busy.Load() == clients; full {
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.kill()
	cancel()
	wg.Wait()
	return full, w.intended()
}

// client applies again and again, and has what it was given before revoked,
// frozen and released, or its encryption key recovered, in turn.
func (w *world) client(ctx context.Context, t team, ready func()) {
	err := errors.Join(t.clerk.SignIn(ctx), t.reviewer.SignIn(ctx), t.admin.SignIn(ctx), t.producer.SignIn(ctx))
	ready()
	if err != nil {
		return
	}
	last, cold := "", ""
	for n := mrand.IntN(6); ctx.Err() == nil; n++ {
		form := w.form()
		w.busy.Add(1)
		id, err := w.submit(ctx, t.clerk, form)
		if err == nil {
			_, err = t.reviewer.RA(ctx, "approve", desk.Args{Words: []string{id}})
		}
		if err == nil {
			w.note(func() { w.agreed = append(w.agreed, id) })
			err = w.look(ctx, t.clerk, last)
		}
		if err == nil {
			switch n % 6 {
			case 0, 3:
				err = w.revoke(ctx, t, last)
			case 1:
				cold, err = last, w.hold(ctx, t, last, true)
			case 4:
				err = w.hold(ctx, t, cold, false)
			case 5:
				err = w.recover(ctx, t, last)
			}
		}
		w.busy.Add(-1)
		if err != nil {
			return
		}
		last = id
	}
}

// team is the people of one client; their keys are opened once.
type team struct{ clerk, reviewer, admin, producer *desk.Person }

func (w *world) team(i int) team {
	for len(w.teams) <= i {
		w.teams = append(w.teams, team{w.person("ra-clerk"), w.person("ra-reviewer"), w.person("ra-admin"), w.person("ra-producer")})
	}
	return w.teams[i]
}

// serial is that of the signing certificate an application was shown.
func (w *world) serial(id string) string {
	var p pair
	w.note(func() { p = w.shown[id] })
	c, err := cert.Parse(p.sign)
	if err != nil {
		return ""
	}
	return c.SerialHex()
}

// hold has a pair that was shown frozen, or released when its freezing is done.
func (w *world) hold(ctx context.Context, t team, id string, freeze bool) error {
	serial, verb := w.serial(id), "unfreeze"
	if freeze {
		verb = "freeze"
	}
	if serial == "" {
		return nil
	}
	out, err := t.clerk.RA(ctx, verb, desk.Args{Words: []string{serial}, Asker: "unit"})
	if refusal.Of(err) != nil && !freeze {
		return nil // the freezing is still under way
	}
	if err != nil {
		return err
	}
	turn := out.(desk.ID).ID
	w.note(func() { w.unsure[id] = true })
	if _, err := t.reviewer.RA(ctx, "approve", desk.Args{Words: []string{turn}}); err != nil {
		return err
	}
	w.note(func() { w.holds = append(w.holds, turn); w.held[id] = freeze; delete(w.unsure, id) })
	return nil
}

// recover has the encryption key of a pair that was shown given back under a new
// signing key.
func (w *world) recover(ctx context.Context, t team, id string) error {
	serial := w.serial(id)
	if serial == "" {
		return nil
	}
	file := filepath.Join(w.t.TempDir(), "new.csr")
	if err := os.WriteFile(file, csr.PEM(request()), 0o600); err != nil {
		return err
	}
	if _, err := t.producer.RA(ctx, "produce", desk.Args{Words: []string{id}, Out: filepath.Join(filepath.Dir(file), "given")}); err != nil {
		return err
	}
	out, err := t.clerk.RA(ctx, "recover", desk.Args{Words: []string{serial}, CSR: file, Note: "载体损坏"})
	if err != nil {
		return err
	}
	turn := out.(desk.ID).ID
	if _, err := t.reviewer.RA(ctx, "approve", desk.Args{Words: []string{turn}}); err != nil {
		return err
	}
	if _, err := t.admin.RA(ctx, "authorise", desk.Args{Words: []string{turn}}); err != nil {
		return err
	}
	w.note(func() { w.given = append(w.given, turn); w.of[turn] = id })
	return nil
}

func (w *world) note(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// look asks what became of an application and remembers the pair it is shown.
func (w *world) look(ctx context.Context, p *desk.Person, id string) error {
	if id == "" {
		return nil
	}
	var v raapi.CaseView
	err := p.Call(ctx, http.MethodGet, "/api/v1/cases/"+id, nil, &v)
	if err == nil && v.Sign != nil && v.Enc != nil {
		w.note(func() { w.shown[id] = pair{v.Sign, v.Enc} })
	}
	return err
}

// revoke has a pair that was shown revoked.
func (w *world) revoke(ctx context.Context, t team, id string) error {
	serial := w.serial(id)
	if serial == "" {
		return nil
	}
	out, err := t.clerk.RA(ctx, "revoke", desk.Args{Words: []string{serial}, Reason: "keyCompromise"})
	if err != nil {
		return err
	}
	turn := out.(desk.ID).ID
	if _, err := t.reviewer.RA(ctx, "approve", desk.Args{Words: []string{turn}}); err != nil {
		return err
	}
	w.note(func() { w.ended = append(w.ended, turn); w.revoked[turn] = id })
	return nil
}

// request is a PKCS#10 request of a new key.
func request() []byte {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := csr.New(dn.Name{}.Bytes(), key)
	if err != nil {
		panic(err)
	}
	return der
}

func (w *world) form() []byte {
	data, err := json.Marshal(map[string]any{
		"profile": "person-dual", "csr": string(csr.PEM(request())), "identity": map[string]string{"kind": "resident-id", "number": "11010519491231002X"},
		"subject": map[string]string{"C": "CN", "O": "某某局（样例）", "CN": "样例" + rand.Text()[:6]},
	})
	if err != nil {
		panic(err)
	}
	return data
}

func (w *world) submit(ctx context.Context, p *desk.Person, form []byte) (string, error) {
	var line raapi.CaseLine
	if err := p.Call(ctx, http.MethodPost, "/api/v1/drafts", form, &line); err != nil {
		return "", err
	}
	_, err := p.RA(ctx, "submit", desk.Args{Words: []string{line.ID}})
	return line.ID, err
}

// database opens a copy of the CA's database as the kill left it.
func (w *world) database(use func(db *sqldb.DB)) {
	to := filepath.Join(w.t.TempDir(), "ca.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(filepath.Join(w.dir, "ca", "ca.db"+suffix))
		if err == nil {
			err = os.WriteFile(to+suffix, data, 0o600)
		}
		if err != nil && suffix == "" {
			w.t.Fatal(err)
		}
	}
	db, err := sqldb.Open(context.Background(), to)
	if err != nil {
		w.t.Fatal(err)
	}
	use(db)
	if err := db.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) intended() (n int) {
	w.database(func(db *sqldb.DB) {
		if err := db.QueryRow(context.Background(), `SELECT COUNT(*) FROM job WHERE state = 2 AND intended_at >= $1`, w.began.UnixMilli()).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
	})
	return n
}

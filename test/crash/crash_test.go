// Package crash kills the built program without warning, again and again,
// while clients have work in flight, and looks for what was lost. (崩溃测试)
package crash

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/csr"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/zone/desk"
)

var long = flag.Bool("long", false, "fifty rounds instead of three")

const clients = 16

// world is a folder under test and what its users were told.
type world struct {
	t      *testing.T
	bin    string
	dir    string
	base   int
	cmd    *exec.Cmd
	mu     sync.Mutex
	agreed []string // applications whose approval was acknowledged
	busy   atomic.Int32
}

func TestKillsLoseNothing(t *testing.T) {
	rounds := 3
	if *long {
		rounds = 50
	}
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "D"), base: 31000}
	w.bin = filepath.Join(t.TempDir(), "hufu")
	if out, err := exec.Command("go", "build", "-o", w.bin, "../../cmd/hufu").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	between, counted := 0, 0
	for counted < rounds {
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
	t.Logf("%d kills under load, %d of them between Intend and Record; %d approvals acknowledged", counted, between, len(w.agreed))
	if *long && between == 0 {
		t.Error("no kill fell between Intend and Record: the test proves too little")
	}
	w.start()
	w.settled()
	w.sound()
	w.agree()
	w.kill()
}

func (w *world) start() {
	w.t.Helper()
	_ = os.Remove(filepath.Join(w.dir, "endpoints.json")) // left over by a kill
	w.cmd = exec.Command(w.bin, "up", "--dir", w.dir, "--base-port", fmt.Sprint(w.base))
	var log bytes.Buffer
	w.cmd.Stdout, w.cmd.Stderr = io.Discard, &log
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
	for range clients {
		wg.Go(func() { w.client(ctx) })
	}
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

func (w *world) client(ctx context.Context) {
	clerk, reviewer := w.person("ra-clerk"), w.person("ra-reviewer")
	if clerk.SignIn(ctx) != nil || reviewer.SignIn(ctx) != nil {
		return
	}
	for ctx.Err() == nil {
		form := w.form()
		w.busy.Add(1)
		id, err := w.submit(ctx, clerk, form)
		if err == nil {
			_, err = reviewer.RA(ctx, "approve", desk.Args{Words: []string{id}})
		}
		w.busy.Add(-1)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.agreed = append(w.agreed, id)
		w.mu.Unlock()
	}
}

func (w *world) form() []byte {
	key, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := csr.New(dn.Name{}.Bytes(), key)
	if err != nil {
		panic(err)
	}
	data, err := json.Marshal(map[string]any{
		"profile": "person-dual", "csr": string(csr.PEM(der)), "identity": map[string]string{"kind": "resident-id", "number": "11010519491231002X"},
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
		if err := db.QueryRow(context.Background(), `SELECT COUNT(*) FROM job WHERE state = 2`).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
	})
	return n
}

// settled waits until everything acknowledged is issued, and fails if any is not.
func (w *world) settled() {
	w.t.Helper()
	ctx := context.Background()
	p := w.person("ra-clerk")
	if err := p.SignIn(ctx); err != nil {
		w.t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, id := range w.agreed {
		for {
			var v raapi.CaseView
			if err := p.Call(ctx, http.MethodGet, "/api/v1/cases/"+id, nil, &v); err != nil {
				w.t.Fatalf("acknowledged application %s: %v", id, err)
			}
			if v.State == "issued" && v.Sign != nil && v.Enc != nil {
				break
			}
			if time.Now().After(deadline) {
				w.t.Fatalf("acknowledged application %s stands at %s: %+v", id, v.State, v.Trouble)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// sound looks into the CA's database: serials never repeat, every signature
// has its intent, byte for byte.
func (w *world) sound() {
	w.t.Helper()
	w.database(func(db *sqldb.DB) {
		rows, err := db.Query(context.Background(), `SELECT c.serial, c.der, c.use, j.sign_tbs, j.enc_tbs FROM certificate c LEFT JOIN job j ON j.id = c.job`)
		if err != nil {
			w.t.Fatal(err)
		}
		defer rows.Close()
		seen := map[string]bool{}
		for rows.Next() {
			var serial, der, signTBS, encTBS []byte
			var use string
			if err := rows.Scan(&serial, &der, &use, &signTBS, &encTBS); err != nil {
				w.t.Fatal(err)
			}
			c, err := cert.Parse(der)
			if err != nil {
				w.t.Fatal(err)
			}
			want := signTBS
			if use == "enc" {
				want = encTBS
			}
			if !bytes.Equal(c.RawTBS, want) {
				w.t.Errorf("certificate %x was signed over bytes that are not on record", serial)
			}
			if seen[c.SerialHex()] {
				w.t.Errorf("serial %s twice", c.SerialHex())
			}
			seen[c.SerialHex()] = true
		}
		w.t.Logf("%d certificates on record", len(seen))
	})
}

// agree revokes one pair and asks ledger, list, status and directory about
// everything the ledger says was issued in full.
func (w *world) agree() {
	w.t.Helper()
	ctx := context.Background()
	var e desk.Endpoints
	if err := e.Read(w.dir); err != nil {
		w.t.Fatal(err)
	}
	if len(w.agreed) == 0 {
		w.t.Fatal("nothing was acknowledged")
	}
	revoked := w.revokeOne(ctx, w.agreed[0])
	time.Sleep(time.Second)
	data, err := os.ReadFile(filepath.Join(w.dir, "people", "ledger.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	point, err := alg.PointOf(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := alg.PublicKey(point)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := ledger.Verify(ctx, ledger.Web{URL: e.Tiles, Client: http.DefaultClient}, key); err != nil {
		w.t.Errorf("ledger: %v", err)
	}
	raw := fetch(w.t, e.CRL)
	list, err := crl.Parse(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(list.Entries) != len(revoked) {
		w.t.Errorf("the full list has %d entries, want %d", len(list.Entries), len(revoked))
	}
	issuer, err := cert.FromPEM([]byte(readFile(w.t, filepath.Join(w.dir, "certificates", "operating-ca.pem"))))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, serial := range revoked {
		bin, err := hex.DecodeString(serial)
		if err != nil {
			w.t.Fatal(err)
		}
		if s := status(w.t, e.OCSP, issuer, bin); s != "revoked" {
			w.t.Errorf("OCSP says %s is %s", serial, s)
		}
		out, err := exec.Command("ldapsearch", "-x", "-LLL", "-H", e.LDAP, "-b", "C=CN", "(serialNumber="+serial+")", "hufuCertificateStatus").Output()
		if err == nil && !strings.Contains(string(out), serial+" revoked 1") {
			w.t.Errorf("the directory says: %s", out)
		}
	}
}

func (w *world) revokeOne(ctx context.Context, id string) []string {
	clerk, reviewer := w.person("ra-clerk"), w.person("ra-reviewer")
	if err := clerk.SignIn(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := reviewer.SignIn(ctx); err != nil {
		w.t.Fatal(err)
	}
	var v raapi.CaseView
	if err := clerk.Call(ctx, http.MethodGet, "/api/v1/cases/"+id, nil, &v); err != nil {
		w.t.Fatal(err)
	}
	out, err := clerk.RA(ctx, "revoke", desk.Args{Words: []string{v.SignSerial}, Reason: "keyCompromise"})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := reviewer.RA(ctx, "approve", desk.Args{Words: []string{out.(desk.ID).ID}}); err != nil {
		w.t.Fatal(err)
	}
	return []string{v.SignSerial, v.EncSerial}
}

func status(t *testing.T, url string, issuer *cert.Certificate, serial []byte) string {
	t.Helper()
	resp, err := http.Post(url, "application/ocsp-request", bytes.NewReader(ocsp.NewRequest(nil, ocsp.Ask(alg.SHA1, true, issuer, serial))))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ocsp.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if r.Singles[0].State == ocsp.Revoked {
		return "revoked"
	}
	return "not revoked"
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

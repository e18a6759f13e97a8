package crash

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/ocsp"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ra/raapi"
	"github.com/hufu-pki/hufu/zone/desk"
)

// settled waits until everything acknowledged is done, and fails if any is
// not, or if a pair is another than was shown before.
func (w *world) settled() {
	w.t.Helper()
	if len(w.agreed) == 0 {
		w.t.Fatal("nothing was acknowledged")
	}
	p := w.person("ra-clerk")
	if err := p.SignIn(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	deadline := time.Now().Add(30*time.Second + time.Duration(len(w.agreed))*50*time.Millisecond) // approving is faster than issuing
	for _, id := range w.agreed {
		v := w.until(p, id, deadline, func(v raapi.CaseView) bool { return v.Sign != nil && v.Enc != nil })
		if was, ok := w.shown[id]; ok && (!bytes.Equal(was.sign, v.Sign) || !bytes.Equal(was.enc, v.Enc)) {
			w.t.Errorf("application %s has another pair than was shown", id)
		}
		w.shown[id] = pair{v.Sign, v.Enc}
	}
	for _, id := range slices.Concat(w.ended, w.holds) {
		w.until(p, id, deadline, func(v raapi.CaseView) bool { return v.State == "done" })
	}
	for _, id := range w.given {
		v := w.until(p, id, deadline, func(v raapi.CaseView) bool { return v.Sign != nil && v.Enc != nil })
		if old := w.shown[w.of[id]]; !bytes.Equal(old.enc, v.Enc) || bytes.Equal(old.sign, v.Sign) {
			w.t.Errorf("recovery %s: the encryption certificate must stay and the signing certificate must not", id)
		}
	}
}

func (w *world) until(p *desk.Person, id string, deadline time.Time, ok func(raapi.CaseView) bool) raapi.CaseView {
	w.t.Helper()
	for {
		var v raapi.CaseView
		if err := p.Call(context.Background(), http.MethodGet, "/api/v1/cases/"+id, nil, &v); err != nil {
			w.t.Fatalf("acknowledged case %s: %v", id, err)
		}
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("acknowledged case %s stands at %s: %+v", id, v.State, v.Trouble)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// sound looks into the CA's database: serials never repeat, and every
// signature, of certificates and of lists, has its intent, byte for byte.
func (w *world) sound() {
	w.t.Helper()
	seen, lists := map[string]bool{}, 0
	w.database(func(db *sqldb.DB) {
		rows, err := db.Query(context.Background(), `SELECT c.der, c.use, j.sign_tbs, j.enc_tbs, COALESCE(j.intended_at, 0) FROM certificate c LEFT JOIN job j ON j.id = c.job`)
		if err != nil {
			w.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var der, signTBS, encTBS []byte
			var use string
			var intended int64
			if err := rows.Scan(&der, &use, &signTBS, &encTBS, &intended); err != nil {
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
			if !bytes.Equal(c.RawTBS, want) || intended == 0 {
				w.t.Errorf("certificate %s was signed over bytes that are not on record", c.SerialHex())
			}
			if seen[c.SerialHex()] {
				w.t.Errorf("serial %s twice", c.SerialHex())
			}
			seen[c.SerialHex()] = true
		}
		if err := rows.Err(); err != nil {
			w.t.Fatal(err)
		}
		lists = w.lists(db)
	})
	for id, p := range w.shown {
		for _, der := range [][]byte{p.sign, p.enc} {
			if c, err := cert.Parse(der); err != nil || !seen[c.SerialHex()] {
				w.t.Errorf("a certificate of %s is not on record: %v", id, err)
			}
		}
	}
	w.ledger(seen)
	w.t.Logf("%d certificates and %d lists on record, every signature with its intent", len(seen), lists)
}

func (w *world) lists(db *sqldb.DB) (n int) {
	w.t.Helper()
	rows, err := db.Query(context.Background(), `SELECT c.crl_number, c.tbs, s.signature FROM crl c JOIN crl_sealed s ON s.number = c.number`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for ; rows.Next(); n++ {
		var number int64
		var tbs, sig []byte
		if err := rows.Scan(&number, &tbs, &sig); err != nil {
			w.t.Fatal(err)
		}
		l, err := crl.Parse(cert.Assemble(tbs, sig))
		if err != nil || !bytes.Equal(l.RawTBS, tbs) || l.Number.Int64() != number {
			w.t.Errorf("list %d was signed over bytes that are not on record: %v", number, err)
		}
	}
	return n
}

// ledger verifies the public ledger and that it names every certificate of the
// database once.
func (w *world) ledger(want map[string]bool) {
	w.t.Helper()
	ctx, src, key := context.Background(), ledger.Web{URL: w.endpoints().Tiles, Client: http.DefaultClient}, w.ledgerKey()
	var r ledger.Report
	for deadline := time.Now().Add(10 * time.Second); r.Kinds[record.KindCertificate] < int64(len(want)) && time.Now().Before(deadline); {
		var err error
		if r, err = ledger.Verify(ctx, src, key); err != nil {
			w.t.Fatalf("ledger: %v", err)
		}
	}
	run, err := (&ledger.Follower{Source: src, Key: key, Origin: r.Checkpoint.Origin}).Next(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	named := map[string]bool{}
	for i, leaf := range run.Leaves {
		e, err := record.Parse(leaf)
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Kind != record.KindCertificate {
			continue
		}
		c, err := record.ParseCertificate(e.Body)
		if err != nil {
			w.t.Fatal(err)
		}
		serial := cert.SerialHex(c.Serial)
		if named[serial] || !want[serial] {
			w.t.Errorf("entry %d names %s, again or without a certificate on record", i, serial)
		}
		named[serial] = true
	}
	if len(named) != len(want) {
		w.t.Errorf("the ledger names %d certificates, the database has %d", len(named), len(want))
	}
}

func (w *world) ledgerKey() *ecdsa.PublicKey {
	w.t.Helper()
	block, _ := pem.Decode(readFile(w.t, filepath.Join(w.dir, "people", "ledger.pem")))
	point, err := alg.PointOf(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := alg.PublicKey(point)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// agree asks status service, list and directory about every pair and compares:
// they say the same, and what was acknowledged.
func (w *world) agree() {
	w.t.Helper()
	time.Sleep(time.Second) // what was revoked last is everywhere by then
	gone := map[string]bool{}
	for _, application := range w.revoked {
		gone[application] = true
	}
	replaced := map[string]bool{} // signing certificates that a recovery ends
	for _, application := range w.of {
		replaced[application] = true
	}
	listed, directory := w.listed(), w.directory()
	issuer, err := cert.FromPEM(readFile(w.t, filepath.Join(w.dir, "certificates", "operating-ca.pem")))
	if err != nil {
		w.t.Fatal(err)
	}
	asked, dead := 0, 0
	for id, p := range w.shown {
		for _, der := range [][]byte{p.sign, p.enc} {
			c, err := cert.Parse(der)
			if err != nil {
				w.t.Fatal(err)
			}
			state := status(w.t, w.endpoints().OCSP, issuer, c)
			if state != ocsp.Good && state != ocsp.Revoked {
				w.t.Errorf("OCSP does not know %s", c.SerialHex())
			}
			revoked := state == ocsp.Revoked
			if revoked != listed[c.SerialHex()] || directory != nil && revoked != (directory[c.SerialHex()] == "revoked") || directory != nil && directory[c.SerialHex()] == "" {
				w.t.Errorf("%s: OCSP says revoked: %t, the list: %t, the directory: %q", c.SerialHex(), revoked, listed[c.SerialHex()], directory[c.SerialHex()])
			}
			if gone[id] && !revoked {
				w.t.Errorf("%s: its revocation was acknowledged", c.SerialHex())
			}
			if frozen, asked := w.held[id]; asked && !w.unsure[id] && frozen != revoked {
				w.t.Errorf("%s: frozen was acknowledged as %t", c.SerialHex(), frozen)
			}
			if sign := bytes.Equal(der, p.sign); replaced[id] && revoked != sign {
				w.t.Errorf("%s: after a recovery its signing certificate ends and its encryption certificate stays; revoked is %t", c.SerialHex(), revoked)
			}
			if asked++; revoked {
				dead++
			}
		}
	}
	w.t.Logf("OCSP, list and directory agree on %d certificates, %d of them revoked", asked, dead)
}

func (w *world) listed() map[string]bool {
	w.t.Helper()
	resp, err := http.Get(w.endpoints().CRL)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := crl.Parse(der)
	if err != nil {
		w.t.Fatal(err)
	}
	serials := map[string]bool{}
	for _, e := range l.Entries {
		serials[cert.SerialHex(e.Serial)] = true
	}
	return serials
}

// directory is what LDAP says of every certificate, by serial. Only the long
// run insists on having the client.
func (w *world) directory() map[string]string {
	w.t.Helper()
	if _, err := exec.LookPath("ldapsearch"); err != nil {
		if *long {
			w.t.Fatal("ldapsearch is not here; ./test.sh installs it")
		}
		return nil
	}
	out, err := exec.Command("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=500/noprompt", "-H", w.endpoints().LDAP, "-b", "C=CN", "(objectClass=pkiUser)", "hufuCertificateStatus").Output()
	if err != nil {
		w.t.Fatalf("ldapsearch: %v %s", err, out)
	}
	says := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "hufuCertificateStatus:" {
			says[words[1]] = words[2]
		}
	}
	return says
}

func (w *world) endpoints() (e desk.Endpoints) {
	w.t.Helper()
	if err := e.Read(w.dir); err != nil {
		w.t.Fatal(err)
	}
	return e
}

func status(t *testing.T, url string, issuer, c *cert.Certificate) ocsp.State {
	t.Helper()
	resp, err := http.Post(url, "application/ocsp-request", bytes.NewReader(ocsp.NewRequest(nil, ocsp.Ask(alg.SHA1, true, issuer, c.Serial.Bytes()))))
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
	return r.Singles[0].State
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

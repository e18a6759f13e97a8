package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/keyfile"
	"github.com/hufu-pki/hufu/zone/backup"
	"github.com/hufu-pki/hufu/zone/up"
)

const basePort = 31500

// institution is a data folder as `hufu up` leaves it, made once.
var institution = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hufu-backup")
	if err != nil {
		return "", err
	}
	return dir, errors.Join(run(context.Background(), dir, func() {}), os.Remove(filepath.Join(dir, "hufu.lock")))
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := institution(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// run serves a folder until everything answers, then ends it.
func run(ctx context.Context, dir string, meanwhile func()) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- up.Run(ctx, up.Config{Dir: dir, Addr: "127.0.0.1", BasePort: basePort, Now: time.Now, Out: io.Discard})
	}()
	for {
		if _, err := os.Stat(filepath.Join(dir, "endpoints.json")); err == nil {
			break
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
	meanwhile()
	cancel()
	return <-ended
}

// folder is a copy of the institution, nothing running on it.
func folder(t *testing.T) string {
	t.Helper()
	made, err := institution()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "D")
	if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// officer is somebody of the institution: certificate and private key.
func officer(t *testing.T, dir, name string) (*cert.Certificate, *sm2.PrivateKey) {
	t.Helper()
	read := func(file string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, "people", name, file))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	c, err := cert.FromPEM(read("cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyfile.Read(read("key.pem"), bytes.TrimSpace(read("pass")))
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// saved is a folder with a repository of one set, and its officers' keys.
type saved struct {
	t    *testing.T
	dir  string
	repo string
	keys []*sm2.PrivateKey
	c    backup.Config
}

func save(t *testing.T, quorum int) *saved {
	t.Helper()
	s := &saved{t: t, dir: folder(t)}
	s.repo = filepath.Join(filepath.Dir(s.dir), "R")
	s.c = backup.Config{Dir: s.dir, Repo: s.repo, Quorum: quorum, Now: time.Now}
	for i := range 3 {
		c, key := officer(t, s.dir, fmt.Sprint("km-forensic", i+1))
		s.c.Officers, s.keys = append(s.c.Officers, c), append(s.keys, key)
	}
	s.again()
	return s
}

func (s *saved) again() backup.Result {
	s.t.Helper()
	r, err := backup.Backup(s.t.Context(), s.c)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *saved) restore(keys ...*sm2.PrivateKey) (string, error) {
	to := filepath.Join(s.t.TempDir(), "N")
	_, err := backup.Restore(s.t.Context(), backup.Restoration{Repo: s.repo, To: to, Keys: keys, Now: time.Now})
	return to, err
}

// chunks are the files of all chunks.
func (s *saved) chunks() (list []string) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.repo, "chunks"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if err != nil || len(list) == 0 {
		s.t.Fatal(len(list), err)
	}
	return list
}

func number(t *testing.T, db, q string) (n int64) {
	t.Helper()
	d, err := sqldb.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.QueryRow(t.Context(), q).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Any one officer brings everything back: papers and keys to the byte, the
// databases to the row, and what is restored starts.
func TestOneOfficerBringsEverythingBack(t *testing.T) {
	s := save(t, 0)
	to, err := s.restore(s.keys[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hufu.json", "secrets/ca.pass", "ca/keys/operating-ca.key", "km/keys/km-master.key", "ra/blind.json", "people/ledger.pem", "certificates/root-ca.pem", "ceremony/record.sig", "ra/ledger/checkpoint"} {
		was, err1 := os.ReadFile(filepath.Join(s.dir, name))
		is, err2 := os.ReadFile(filepath.Join(to, name))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(was, is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for db, q := range map[string]string{"ca/ca.db": `SELECT COUNT(*) FROM certificate`, "ra/ra.db": `SELECT COUNT(*) FROM person`, "km/km.db": `SELECT COUNT(*) FROM person`} {
		if was, is := number(t, filepath.Join(s.dir, db), q), number(t, filepath.Join(to, db), q); was != is || is == 0 {
			t.Errorf("%s: %d rows, was %d", db, is, was)
		}
	}
	if n := number(t, filepath.Join(to, "km/km.db"), `SELECT COUNT(*) FROM standby`); n != 0 {
		t.Errorf("%d standby keys may be given away a second time", n)
	}
	for _, db := range []string{"ca/ca.db", "ra/ra.db", "km/km.db"} {
		if n := number(t, filepath.Join(to, db), `SELECT COUNT(*) FROM audit_entry WHERE item = 'system.restore'`); n != 1 {
			t.Errorf("%s: the trail does not say that it was restored", db)
		}
	}
	if err := run(t.Context(), to, func() {
		later := s.c
		later.Dir, later.Officers, later.Quorum = to, nil, 0
		if r, err := backup.Backup(t.Context(), later); err != nil || r.Set != 2 {
			t.Errorf("the next set, from the new machine: %+v %v", r, err)
		}
	}); err != nil {
		t.Errorf("what was restored does not start: %v", err)
	}
}

func TestPrivateKeysOfPeopleStayWithThem(t *testing.T) {
	s := save(t, 0)
	to, err := s.restore(s.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if found, err := filepath.Glob(filepath.Join(to, "people", "*", "*")); err != nil || len(found) > 0 {
		t.Errorf("restored %v %v", found, err)
	}
	s.c.People = true
	s.again()
	if to, err = s.restore(s.keys[0]); err != nil {
		t.Fatal(err)
	}
	if found, err := filepath.Glob(filepath.Join(to, "people", "*", "key.pem")); err != nil || len(found) == 0 {
		t.Errorf("asked for, and restored %d %v", len(found), err)
	}
}

func TestAQuorumMustBePresent(t *testing.T) {
	s := save(t, 2)
	_, stranger := officer(t, s.dir, "ra-clerk")
	for _, c := range []struct {
		name string
		keys []*sm2.PrivateKey
		want error
	}{
		{"nobody", nil, backup.TooFewKeys},
		{"one", s.keys[:1], backup.TooFewKeys},
		{"one twice", []*sm2.PrivateKey{s.keys[0], s.keys[0]}, backup.TooFewKeys},
		{"one and a stranger", []*sm2.PrivateKey{s.keys[0], stranger}, backup.WrongKey},
		{"two", []*sm2.PrivateKey{s.keys[2], s.keys[0]}, nil},
		{"all", s.keys, nil},
	} {
		if _, err := s.restore(c.keys...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := backup.Verify(t.Context(), s.repo, nil, s.keys[1:], io.Discard); err != nil {
		t.Errorf("verifying with two: %v", err)
	}
}

func TestAWrongKeyOpensNothing(t *testing.T) {
	s := save(t, 0)
	_, stranger := officer(t, s.dir, "ca-super")
	to, err := s.restore(stranger)
	if !errors.Is(err, backup.WrongKey) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("a folder was begun")
	}
}

// Whoever keeps a copy needs no secret to find any flipped byte, and hears which
// file of which set it spoils; a restore stops there and leaves nothing that
// would start.
func TestEveryFlippedByteIsFoundAndNamed(t *testing.T) {
	s := save(t, 0)
	for i, name := range s.chunks() {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(data)
		bad[(i*7919)%len(bad)] ^= 1
		put := func(b []byte) {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(bad)
		_, err = backup.Verify(t.Context(), s.repo, nil, nil, io.Discard)
		if !errors.Is(err, backup.Damaged) || !strings.Contains(err.Error(), filepath.Base(name)) || !strings.Contains(err.Error(), "第 1 集") {
			t.Fatalf("%s: %v", name, err)
		}
		if i == 0 {
			to, err := s.restore(s.keys[0])
			if !errors.Is(err, backup.Damaged) {
				t.Errorf("restored from it: %v", err)
			}
			if _, err := os.Stat(filepath.Join(to, "hufu.json")); err == nil {
				t.Error("half a folder looks whole")
			}
		}
		put(data)
	}
	if _, err := backup.Verify(t.Context(), s.repo, nil, s.keys[:1], io.Discard); err != nil {
		t.Errorf("all is well again: %v", err)
	}
}

func TestManifestsCannotBeChangedSwappedOrTakenOut(t *testing.T) {
	s := save(t, 0)
	s.again()
	s.again()
	set := func(n int) string { return filepath.Join(s.repo, "sets", fmt.Sprintf("%06d.json", n)) }
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"changed", func() error {
			data, err := os.ReadFile(set(2))
			return errors.Join(err, os.WriteFile(set(2), bytes.Replace(data, []byte(`"class":"keys"`), []byte(`"class":"data"`), 1), 0o600))
		}, backup.Forged},
		{"taken out", func() error { return os.Remove(set(2)) }, backup.Chain},
		{"swapped", func() error { return os.Rename(set(3), set(2)) }, backup.Chain},
		{"not JSON", func() error { return os.WriteFile(set(2), []byte("x"), 0o600) }, backup.Damaged},
	} {
		kept, err := os.ReadFile(set(2))
		if err != nil {
			t.Fatal(err)
		}
		kept3, err := os.ReadFile(set(3))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.List(s.repo, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := errors.Join(os.WriteFile(set(2), kept, 0o600), os.WriteFile(set(3), kept3, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := backup.List(s.repo, nil); err != nil || len(l.Sets) != 3 {
		t.Errorf("%+v %v", l, err)
	}
	other := save(t, 0)
	if err := os.Rename(filepath.Join(other.repo, "sets", "000001.json"), set(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.List(s.repo, nil); !errors.Is(err, backup.Chain) {
		t.Errorf("a manifest of another repository: %v", err)
	}
}

// What lies in the repository tells a stranger nothing that was secret.
func TestARepositoryGivesNothingAway(t *testing.T) {
	s := save(t, 2)
	var secrets [][]byte
	for _, name := range []string{"secrets/ca.pass", "secrets/km.pass", "ra/blind.json", "certificates/root-ca.pem"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, data[:20])
	}
	keys, err := filepath.Glob(filepath.Join(s.dir, "secrets", "backup-*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	key, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, key, []byte("SQLite format 3"))
	err = filepath.WalkDir(s.repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(data, secret) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if to, err := s.restore(s.keys[:2]...); err != nil {
		t.Error(err)
	} else if r, err := filepath.Glob(filepath.Join(to, "secrets", "backup-*.key")); err != nil || len(r) != 1 {
		t.Errorf("the new machine cannot go on with the repository: %v %v", r, err)
	}
}

// A set costs what changed: after nothing but the line about the set before, the
// few pages that line is on.
func TestASetCostsWhatChanged(t *testing.T) {
	s := save(t, 0)
	s.again()
	idle := s.again()
	if idle.New > idle.Chunks/10 {
		t.Errorf("nothing changed but one line, %d of %d chunks were written", idle.New, idle.Chunks)
	}
	db, err := sqldb.Open(t.Context(), filepath.Join(s.dir, "ra", "ra.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO used_nonce (nonce, at) VALUES ('n', 1)`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r := s.again(); r.New <= idle.New || r.New > idle.New+3 {
		t.Errorf("one row changed, %d chunks were written, %d without", r.New, idle.New)
	}
	if n := number(t, filepath.Join(s.dir, "ca", "ca.db"), `SELECT COUNT(*) FROM audit_entry WHERE item = 'system.backup'`); n != 4 {
		t.Errorf("%d sets are in the trail", n)
	}
}

// What a backup that was cut off leaves behind stops nobody and spoils nothing.
func TestACutOffBackupLeavesNothingInTheWay(t *testing.T) {
	s := save(t, 0)
	name := s.chunks()[0]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(name, data[:len(data)/2], 0o600), os.WriteFile(name+".new", []byte("x"), 0o600),
		os.WriteFile(filepath.Join(s.repo, "sets", "000002.json.new"), []byte("x"), 0o600),
		os.Mkdir(filepath.Join(s.dir, ".backup"), 0o700), os.WriteFile(filepath.Join(s.dir, ".backup", "ca-ca.db"), []byte("x"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.again(); r.Set != 2 || r.New == 0 {
		t.Errorf("%+v", r)
	}
	if _, err := backup.Verify(t.Context(), s.repo, nil, s.keys[:1], io.Discard); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".backup")); err == nil {
		t.Error("copies of databases lie about")
	}
}

func TestOfficersAreFixedWithTheRepository(t *testing.T) {
	s := save(t, 2)
	barred := func(name string) *cert.Certificate { c, _ := officer(t, s.dir, name); return c }
	for _, c := range []struct {
		name string
		with func(*backup.Config)
		want error
	}{
		{"fewer officers", func(c *backup.Config) { c.Officers = c.Officers[:2] }, backup.Officers},
		{"another quorum", func(c *backup.Config) { c.Quorum = 3 }, backup.Officers},
		{"the same", func(*backup.Config) {}, nil},
		{"not named again", func(c *backup.Config) { c.Officers, c.Quorum = nil, 0 }, nil},
		{"a new one without officers", func(c *backup.Config) { c.Repo, c.Officers = c.Repo+"2", nil }, backup.NoOfficer},
		{"a quorum of more than there are", func(c *backup.Config) { c.Repo, c.Quorum = c.Repo+"2", 4 }, backup.BadQuorum},
		{"a super administrator", func(c *backup.Config) { c.Repo, c.Officers = c.Repo+"2", append(c.Officers[:1:1], barred("km-super")) }, backup.Excluded},
		{"a clerk", func(c *backup.Config) { c.Repo, c.Officers = c.Repo+"2", append(c.Officers[:1:1], barred("ra-clerk")) }, backup.Excluded},
		{"an officer twice", func(c *backup.Config) { c.Repo, c.Officers = c.Repo+"2", append(c.Officers[:1:1], c.Officers[0]) }, backup.BadOfficer},
		{"a folder with other things", func(c *backup.Config) { c.Repo = c.Dir }, backup.NotEmpty},
		{"one made on another machine", func(c *backup.Config) { c.Repo, c.Officers, c.Quorum = save(t, 0).repo, nil, 0 }, backup.NoDataKey},
	} {
		with := s.c
		c.with(&with)
		if _, err := backup.Backup(t.Context(), with); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestARestoreNeverWritesOverAnything(t *testing.T) {
	s := save(t, 0)
	_, err := backup.Restore(t.Context(), backup.Restoration{Repo: s.repo, To: s.dir, Keys: s.keys, Now: time.Now})
	if !errors.Is(err, backup.NotEmpty) {
		t.Errorf("got %v", err)
	}
	if _, err := backup.Restore(t.Context(), backup.Restoration{Repo: s.repo, To: filepath.Join(t.TempDir(), "N"), Keys: s.keys, Set: 2, Now: time.Now}); !errors.Is(err, backup.NoSet) {
		t.Errorf("a set that is not there: %v", err)
	}
	if _, err := backup.Restore(t.Context(), backup.Restoration{Repo: t.TempDir(), To: filepath.Join(t.TempDir(), "N"), Now: time.Now}); !errors.Is(err, backup.NoRepository) {
		t.Errorf("no repository: %v", err)
	}
}

package up

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/ca/castore"
	"github.com/hufu-pki/hufu/zone/agree"
	"github.com/hufu-pki/hufu/zone/desk"
)

// samples are older certificates asked about a minute.
const samples = 5

// agreement is the job that looks at everything from outside.
func (c Config) agreement(key *ecdsa.PublicKey, origin string) (*agree.Job, error) {
	public := c.url(portPublic)
	j := outside(c.Dir, public, "ldap://"+c.at(portLDAP), key, c.Now)
	j.Ledger.Origin, j.File, j.Samples = origin, c.path("agree.position"), samples
	if c.Publish != nil {
		j.Directories = append(j.Directories, agree.Directory{Name: "ldap-external", Title: "外部目录", URL: c.Publish.URL, StartTLS: c.Publish.StartTLS, TLS: c.Publish.TLS})
	}
	return j, j.Start()
}

// outside asks every channel of one folder's system.
func outside(dir, public, directory string, key *ecdsa.PublicKey, now func() time.Time) *agree.Job {
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{ResponseHeaderTimeout: 8 * time.Second, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}}
	j := &agree.Job{
		Ledger: ledger.Follower{Source: ledger.Web{URL: public + "/tiles", Client: client}, Key: key}, OCSP: public + "/ocsp",
		List: func(scope string) string { return public + "/crl/" + scope + ".crl" }, HTTP: client, Now: now,
		Directories: []agree.Directory{{Name: "ldap", Title: "目录", URL: directory}},
	}
	if file := filepath.Join(dir, "ca", "ca.db"); exists(file) {
		j.View = &inside{file: file}
	}
	return j
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// agrees runs the job once the public can be served.
func (c Config) agrees(j *agree.Job) zone {
	return func(ctx context.Context, ready func()) error {
		ready()
		if err := c.answers(ctx); err != nil {
			return err
		}
		j.Run(ctx)
		if v, ok := j.View.(*inside); ok {
			return v.Close()
		}
		return nil
	}
}

// inside is the CA's database, opened when it is first asked and only read.
type inside struct {
	file string
	mu   sync.Mutex
	db   *sqldb.DB
}

// Certificate finds one by serial.
func (v *inside) Certificate(ctx context.Context, serial []byte) (ca.Issued, error) {
	db, err := v.open(ctx)
	if err != nil {
		return ca.Issued{}, err
	}
	return (&castore.Store{DB: db}).Certificate(ctx, serial)
}

func (v *inside) open(ctx context.Context) (*sqldb.DB, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.db == nil {
		if !exists(v.file) { // opening would make an empty one
			return nil, fs.ErrNotExist
		}
		db, err := sqldb.Open(context.WithoutCancel(ctx), v.file)
		if err != nil {
			return nil, err
		}
		v.db = db
	}
	return v.db, nil
}

// Close closes the database, if it was ever asked.
func (v *inside) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.db == nil {
		return nil
	}
	return v.db.Close()
}

// Agreement checks a running system of a folder once, from outside.
func Agreement(ctx context.Context, dir string, n int, now func() time.Time, more ...agree.Directory) (r agree.Report, err error) {
	var e desk.Endpoints
	if err := e.Read(dir); err != nil {
		return r, err
	}
	key, err := publicKey(filepath.Join(dir, "people", "ledger.pem"))
	if err != nil {
		return r, err
	}
	j := outside(dir, strings.TrimSuffix(e.Tiles, "/tiles"), e.LDAP, key, now)
	j.Directories = append(j.Directories, more...)
	if v, ok := j.View.(*inside); ok {
		defer func() { err = errors.Join(err, v.Close()) }()
	}
	j.Pace = time.Millisecond // somebody waits
	if err := j.Start(); err != nil {
		return r, err
	}
	return j.Once(ctx, n)
}

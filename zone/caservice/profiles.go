package caservice

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/profile"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/wire/enroll"
	"github.com/hufu-pki/hufu/zone/plant"
)

// syncEvery is how often the CA is asked which profiles are in force.
const syncEvery = 3 * time.Second

// patience is how often the CA may be away before somebody is told.
const patience = 5

// mirror keeps the registration system's profiles those the CA takes. What the
// CA signed is kept, so that the desk begins with it while the CA is away.
// (模板同步)
type mirror struct {
	Config
	core enroll.Client
	db   *sqldb.DB
	book *profile.Book
	file string

	digest []byte // of the edition held
	number int
}

// keepUp has the zone follow what people decided at the CA: which profiles are
// in force, and which keys sign OCSP.
func (c Config) keepUp(g *plant.Group, db *sqldb.DB, r *ra.Registrar, core enroll.Client, resp *va.Responder) {
	rules := &mirror{Config: c, core: core, db: db, book: r.Book, file: filepath.Join(c.Dir, "profiles.json")}
	if err := rules.load(); err != nil {
		slog.Warn("profiles are asked for anew", "err", err)
	}
	answers := &responders{Config: c, resp: resp, core: core, db: db, file: filepath.Join(c.Dir, "responders.json")}
	if err := answers.load(); err != nil {
		slog.Warn("responders' certificates are asked for anew", "err", err)
	}
	g.Go(rules.run)
	r.Bars = new(ra.Bars)
	g.Go(func(ctx context.Context) { stopped(ctx, core, r.Bars) })
	g.Go(answers.run)
}

// load takes up what was heard of last.
func (m *mirror) load() error {
	data, err := os.ReadFile(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(m.file)
	if err != nil {
		return err
	}
	var p enroll.Profiles
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	e, err := p.Open(m.CA)
	if err != nil {
		return err
	}
	m.take(e, p, info.ModTime())
	return nil
}

func (m *mirror) take(e profile.Edition, p enroll.Profiles, at time.Time) {
	m.book.Put(e, at)
	m.digest, m.number = alg.Digest(p.Body), e.Number
}

func (m *mirror) run(ctx context.Context) {
	fails := 0
	for ctx.Err() == nil {
		err := m.once(ctx)
		if fails++; err == nil {
			fails = 0
		}
		if fails == patience && ctx.Err() == nil {
			slog.Warn("profiles stay those heard of last", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(syncEvery):
		}
	}
}

// once asks. An older edition than the one held is refused: the CA never goes
// back.
func (m *mirror) once(ctx context.Context) error {
	p, err := m.core.Profiles(ctx, m.digest)
	if err != nil {
		return err
	}
	now := m.Now()
	if p.Same {
		m.book.Heard(now)
		return nil
	}
	e, err := p.Open(m.CA)
	if err != nil {
		return err
	}
	if e.Number < m.number {
		return errors.New("the CA tells of an edition older than the one held")
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := durable.Write(m.file, data, 0o640); err != nil {
		return err
	}
	line := audit.Entry{Start: now, End: now, Who: "system:ra", Role: "machine", Item: "ra.profiles", Object: "第 " + strconv.Itoa(e.Number) + " 版", Result: audit.Done}
	if err := m.db.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) }); err != nil {
		return err
	}
	m.take(e, p, now)
	return nil
}

// stopped keeps what people see of the CA's bars up to date; while it is away they
// see what it said last.
func stopped(ctx context.Context, core enroll.Client, bars *ra.Bars) {
	for ctx.Err() == nil {
		if list, err := core.Bars(ctx); err == nil {
			why := map[string]string{}
			for _, b := range list {
				why[b.Body] = b.Why
			}
			bars.Put(why)
		}
		select {
		case <-ctx.Done():
		case <-time.After(syncEvery):
		}
	}
}

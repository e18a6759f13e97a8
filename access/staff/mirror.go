package staff

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
)

// Mirror keeps one system's register equal to what another, whose register
// counts, says of its people. Whatever is changed here by other hands is
// changed back. (人员登记同步)
type Mirror struct {
	DB     *sqldb.DB
	People *access.People
	// Roster returns the people as they should be; same is true, and nobody
	// returned, when the digest is that of the roster already.
	Roster func(ctx context.Context, digest []byte) (people []access.Person, same bool, err error)
	Now    func() time.Time

	mu sync.Mutex // one look at a time, or an older roster could undo a newer one
}

// MirrorEvery is how often the register is compared: a person frozen there is
// out here within this and the time of one call.
const MirrorEvery = 2 * time.Second

// alarmAfter is how many comparisons in a row fail before somebody is told.
const alarmAfter = 5

// Run compares until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		err := m.Once(ctx)
		switch failed++; {
		case err == nil:
			failed = 0
		case failed == alarmAfter && ctx.Err() == nil: // once, and not while the other is starting
			slog.Error("comparing the register of people", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(MirrorEvery):
		}
	}
}

// Once compares now and applies what differs, wholly or not at all, with an
// audit line for each change.
func (m *Mirror) Once(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, err := m.People.All(ctx)
	if err != nil {
		return err
	}
	want, same, err := m.Roster(ctx, access.Digest(have))
	if err != nil || same {
		return err
	}
	defer m.People.Forget()
	return m.DB.Write(ctx, func(tx *sqldb.Tx) error {
		now := m.Now()
		turns, err := m.People.Mirror(tx, want, "system:mirror", now)
		if err != nil {
			return err
		}
		var lines []audit.Entry
		for _, t := range turns {
			roles := make([]string, len(t.Person.Roles))
			for i, r := range t.Person.Roles {
				roles[i] = string(r)
			}
			lines = append(lines, audit.Entry{Start: now, End: now, Who: "system:mirror", Role: "machine", Item: "person." + t.Verb, Object: string(t.Person.ID),
				Serial: t.Person.Serial, Result: audit.Done, Detail: strings.Join(roles, " ")})
		}
		return audit.Append(tx, lines...)
	})
}

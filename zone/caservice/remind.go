package caservice

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hufu-pki/hufu/base/durable"
	"github.com/hufu-pki/hufu/pki/ra"
)

// remindEvery is how often certificates that run out are looked for: days are
// what counts.
const remindEvery = time.Minute

// reminders is the folder a mailer takes reminders from; this system sends
// nothing itself.
func (c Config) reminders() string { return filepath.Join(c.Dir, "reminders") }

// remind records reminders and drops each into the folder, until ctx ends. What
// was recorded and not dropped is dropped at the next look.
func (c Config) remind(ctx context.Context, r *ra.Registrar) {
	for ctx.Err() == nil {
		_, err := r.Remind(ctx, c.Remind)
		if err = errors.Join(err, c.drop(ctx, r.Store)); err != nil && ctx.Err() == nil {
			slog.Error("reminding of certificates that run out", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(remindEvery):
		}
	}
}

func (c Config) drop(ctx context.Context, s ra.Store) error {
	if err := os.MkdirAll(c.reminders(), 0o750); err != nil {
		return err
	}
	for {
		list, err := s.Reminders(ctx, ra.ReminderQuery{Pending: true, Limit: ra.PageMax})
		if err != nil || len(list) == 0 {
			return err
		}
		for _, m := range list {
			if err := durable.Write(filepath.Join(c.reminders(), m.File()), m.Letter(c.SelfURL), 0o640); err != nil {
				return err
			}
			if err := s.Drop(ctx, m); err != nil {
				return err
			}
		}
	}
}

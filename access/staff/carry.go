package staff

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/csr"
)

// task is one change on its way into the register.
type task struct {
	grant  Grant
	verb   string
	change Change
	record proposal.Record
}

// do carries a change out, once for a record: what came of it is kept in the
// transaction of its effect, and every part before that may be repeated.
func (k *Keeper) do(ctx context.Context, g Grant, verb string, r proposal.Record) ([]byte, error) {
	digest, result, done, err := k.People.Settled(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if done {
		if !bytes.Equal(digest, digestOf(r)) {
			return nil, BadChange.At("id", BadChange.Clause).Because("%s 已办理过另一内容", r.ID)
		}
		return result, nil
	}
	c, err := Decode(r.Content)
	if err != nil {
		return nil, err
	}
	if _, err := k.check(ctx, g, verb, c); err != nil { // another change may have come first
		return nil, err
	}
	t := task{g, verb, c, r}
	if verb == Add || verb == Renew {
		return k.certify(ctx, t)
	}
	p, err := k.People.Current(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	if k.Status != nil {
		if err := k.Status(ctx, r.ID, verb, p.Cert); err != nil {
			return nil, err
		}
	}
	return nil, k.write(ctx, t, p, nil, func(tx *sqldb.Tx, at time.Time) (bool, error) {
		switch verb {
		case Revoke:
			return k.People.End(tx, c.ID, at)
		default:
			return k.People.Freeze(tx, c.ID, verb == Freeze)
		}
	})
}

func digestOf(r proposal.Record) []byte { return alg.Digest([]byte(r.Kind), []byte{0}, r.Content) }

func (k *Keeper) certify(ctx context.Context, t task) ([]byte, error) {
	req, err := csr.Parse([]byte(t.change.CSR))
	if err != nil {
		return nil, err
	}
	der, err := k.Issue(ctx, t.record.ID, t.grant.Role, t.change.Name, req.Point)
	if err != nil {
		return nil, err
	}
	p, err := access.PersonOf(t.change.ID, t.change.Name, der, t.grant.Role)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p.Point, req.Point) {
		return nil, fmt.Errorf("request %s was answered with a certificate of another key", t.record.ID)
	}
	if t.verb == Renew && k.Status != nil {
		before, err := k.People.Current(ctx, t.change.ID)
		if err != nil {
			return nil, err
		}
		if err := k.Status(ctx, t.record.ID, t.verb, before.Cert); err != nil {
			return nil, err
		}
	}
	return der, k.write(ctx, t, p, der, func(tx *sqldb.Tx, at time.Time) (bool, error) {
		return k.People.Add(tx, p, t.record.CreatedBy, at)
	})
}

// write changes the register with its audit line, and drops what was cached.
func (k *Keeper) write(ctx context.Context, t task, p access.Person, result []byte, f func(tx *sqldb.Tx, at time.Time) (bool, error)) error {
	evidence, err := json.Marshal(t.record.Events)
	if err != nil {
		return err
	}
	defer k.People.Forget()
	return k.DB.Write(ctx, func(tx *sqldb.Tx) error {
		now := k.Now()
		first, err := k.People.Settle(tx, t.record.ID, digestOf(t.record), result, evidence, now)
		if err != nil || !first {
			return err
		}
		changed, err := f(tx, now)
		if err != nil {
			return err
		}
		if !changed { // decided on a register that has moved on: tried again, it is refused or done
			return fmt.Errorf("%s: the register has moved on", t.record.ID)
		}
		return audit.Append(tx, audit.Entry{Start: now, End: now, Who: "system:staff", Role: "machine", Item: "person." + t.verb, Object: string(p.ID), Serial: p.Serial, Result: audit.Done, Detail: t.record.ID + " " + string(t.grant.Role)})
	})
}

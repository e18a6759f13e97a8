package body

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
)

func digestOf(r proposal.Record) []byte { return alg.Digest([]byte(r.Kind), []byte{0}, r.Content) }

// enter writes a change into the register, once for a record, with what people
// signed and its audit line.
func (k *Keeper) enter(ctx context.Context, ch change, r proposal.Record) error {
	c, err := Decode(r.Content)
	if err != nil {
		return err
	}
	evidence, err := json.Marshal(r.Events)
	if err != nil {
		return err
	}
	k.Register.Forget() // what another core wrote counts
	t, err := k.Register.Tree(ctx)
	if err != nil {
		return err
	}
	defer k.Register.Forget()
	return k.Register.DB.Write(ctx, func(tx *sqldb.Tx) error {
		now := k.Now()
		n, err := tx.Exec(`INSERT INTO body_change (request, digest, evidence, at) VALUES ($1, $2, $3, $4) ON CONFLICT (request) DO NOTHING`, r.ID, digestOf(r), evidence, now.UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			var was []byte
			if err := tx.Scan(`SELECT digest FROM body_change WHERE request = $1`, []any{r.ID}, &was); err != nil {
				return err
			}
			if !bytes.Equal(was, digestOf(r)) {
				return BadBody.At("id", clause).Because("%s 已办理过另一内容", r.ID)
			}
			return nil
		}
		if err := ch.write(tx, t, c); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{Start: now, End: now, Who: "system:body", Role: "machine", Item: ch.name, Object: r.ID, Result: audit.Done, Detail: c.ID + " " + string(c.Person) + " " + c.Profile})
	})
}

// Obey carries out, once, what the people of a registration system decided there,
// after checking against its own registers what they signed. desk verifies
// statements of that system.
func (k *Keeper) Obey(ctx context.Context, desk access.Desk, id, matter string, content []byte, steps []proposal.Step) error {
	i := slices.IndexFunc(changes, func(ch change) bool { return ch.name == matter })
	if i < 0 {
		return proposal.NoMatter.At("matter", proposal.NoMatter.Clause).Because("%.60q", matter)
	}
	m := k.matter(changes[i], access.RAAdmin, access.RASuper)
	r, err := m.Agreed(ctx, desk, id, content, steps, func(title string) error {
		return NotAgreed.At("evidence", NotAgreed.Clause).Because("没有覆盖此内容的“%s”签名", title)
	}, k.Now().UTC())
	if err != nil {
		return err
	}
	r.ID = "ra:" + r.ID // the other system's ids are its own
	var was []byte
	if err := k.Register.DB.QueryRow(ctx, `SELECT digest FROM body_change WHERE request = $1`, r.ID).Scan(&was); err == nil && bytes.Equal(was, digestOf(r)) {
		return nil // it was carried out before
	}
	shown, err := m.Read(ctx, content)
	if err != nil {
		return err
	}
	if !bytes.Equal(shown.Content, content) {
		return BadBody.At("content", clause).Because("内容不是规范形式")
	}
	return k.enter(ctx, changes[i], r)
}

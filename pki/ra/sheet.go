package ra

import (
	"context"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/sheet"
)

// DraftSheet reads a sheet and drafts every row that is in order; the others
// are answered with their refusals. The same file again is the same batch, so
// an upload that was cut off is resumed by repeating it.
func (r *Registrar) DraftSheet(ctx context.Context, name string, data []byte, by access.Person, source string) (Batch, error) {
	if !by.Holds(access.RAClerk) {
		return Batch{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("批量录入须由录入员办理")
	}
	digest := alg.Digest([]byte(by.ID), []byte{0}, data)
	if b, ok, err := r.Store.BatchByDigest(ctx, digest); err != nil || ok {
		return b, err
	}
	rows, err := sheet.Read(name, data)
	if err != nil {
		return Batch{}, err
	}
	now := r.Now().UTC()
	b := Batch{ID: newID("B", now), Name: name, Digest: digest, By: by.ID, At: now}
	var list []Record
	seen := map[string]int{}
	for _, row := range rows {
		rec, err := r.row(ctx, row, by, seen)
		if no := refusal.Of(err); no != nil {
			report := no.Report()
			b.Rows = append(b.Rows, Row{Line: row.Line, Refusal: &report})
			continue
		}
		if err != nil {
			return Batch{}, err
		}
		rec.Batch, rec.Row = b.ID, row.Line
		list = append(list, rec)
		b.Rows = append(b.Rows, Row{Line: row.Line, ID: rec.ID})
	}
	return b, r.Store.Draft(ctx, list, &b, []audit.Entry{r.line(by, "ra.sheet", b.ID, source)})
}

func (r *Registrar) row(ctx context.Context, row sheet.Row, by access.Person, seen map[string]int) (Record, error) {
	rec, err := r.compose(ctx, Form{
		Profile: row.Profile, Subject: row.Subject, CSR: row.CSR,
		Identity: IdentityForm{Kind: row.IdentityKind, Number: row.IdentityNumber},
	}, by)
	if err != nil {
		return rec, err
	}
	if first, ok := seen[string(rec.KeyHash)]; ok {
		return rec, KeyInUse.At("csr", KeyInUse.Clause).Because("与第 %d 行相同", first)
	}
	seen[string(rec.KeyHash)] = row.Line
	return rec, nil
}

// Waiting are the cases of a batch that are still drafts, to be submitted.
func (r *Registrar) Waiting(ctx context.Context, batch string) ([]string, error) {
	b, err := r.Store.Batch(ctx, batch)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range b.Rows {
		if row.ID == "" {
			continue
		}
		rec, err := r.Store.Case(ctx, row.ID)
		if err != nil {
			return nil, err
		}
		if rec.State == Drafted && len(rec.Events) == 0 {
			ids = append(ids, row.ID)
		}
	}
	return ids, nil
}

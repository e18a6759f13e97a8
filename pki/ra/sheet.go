package ra

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

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
	forms, err := lines(name, data)
	if err != nil {
		return Batch{}, err
	}
	now := r.Now().UTC()
	b := Batch{ID: newID("B", now), Name: name, Digest: digest, By: by.ID, At: now}
	if b.Body, err = r.bodyOf(ctx, by); err != nil {
		return Batch{}, err
	}
	var list []Record
	seen := map[string]int{}
	for _, row := range forms {
		rec, err := r.row(ctx, row, by, seen)
		if no := refusal.Of(err); no != nil {
			report := no.Report()
			b.Rows = append(b.Rows, Row{Line: row.line, Refusal: &report})
			continue
		}
		if err != nil {
			return Batch{}, err
		}
		rec.Batch, rec.Row = b.ID, row.line
		list = append(list, rec)
		b.Rows = append(b.Rows, Row{Line: row.line, ID: rec.ID})
	}
	return b, r.Store.Draft(ctx, list, &b, []audit.Entry{r.line(by, "ra.sheet", b.ID, source)})
}

// brought is a row of a sheet: an application, or why it is none.
type brought struct {
	line int // of a spreadsheet, whose header is 1; of JSON the place, from 1
	form Form
	err  error
}

// lines reads a sheet's rows: XLSX and CSV by their columns, JSON as a list of
// applications as they are brought one by one.
func lines(name string, data []byte) ([]brought, error) {
	if bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")), " \t\r\n"), []byte("[")) {
		return jsonLines(name, bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF")))
	}
	rows, err := sheet.Read(name, data)
	if err != nil {
		return nil, err
	}
	list := make([]brought, len(rows))
	for i, row := range rows {
		list[i] = brought{line: row.Line, err: row.Stray, form: Form{
			Profile: row.Profile, Subject: row.Subject, CSR: row.CSR, Unit: row.Unit,
			Identity: IdentityForm{Kind: row.IdentityKind, Number: row.IdentityNumber},
		}}
	}
	return list, nil
}

func jsonLines(name string, data []byte) ([]brought, error) {
	if len(data) > sheet.FileMax {
		return nil, sheet.TooLarge.At("file", sheet.TooLarge.Clause).Because("%d 字节", len(data))
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, sheet.BadFile.At("file", sheet.BadFile.Clause).Because("%.80s 不是申请的 JSON 数组", name)
	}
	switch {
	case len(rows) == 0:
		return nil, sheet.NoRows.At("file", sheet.NoRows.Clause)
	case len(rows) > sheet.RowsMax:
		return nil, sheet.TooManyRows.At("file", sheet.TooManyRows.Clause)
	}
	list := make([]brought, len(rows))
	for i, raw := range rows {
		list[i].line = i + 1
		if list[i].form, list[i].err = ParseForm(raw); list[i].err == nil && list[i].form.ID != "" {
			list[i].err = BadForm.At("id", BadForm.Clause).Because("批量录入只收新申请")
		}
	}
	return list, nil
}

func (r *Registrar) row(ctx context.Context, row brought, by access.Person, seen map[string]int) (Record, error) {
	if row.err != nil {
		return Record{}, row.err
	}
	rec, err := r.compose(ctx, row.form, by)
	if err != nil {
		return rec, err
	}
	if first, ok := seen[string(rec.KeyHash)]; ok {
		return rec, KeyInUse.At("csr", KeyInUse.Clause).Because("与第 %d 行相同", first)
	}
	seen[string(rec.KeyHash)] = row.line
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

// UnitColumns are those of a sheet of units.
var UnitColumns = []string{"code", "name", "ST", "L", "legal", "agent_name", "agent_phone", "agent_email", "agent_kind", "agent_number", "letter", "letter_from", "letter_to"}

// DraftUnits reads a sheet of units to be registered and drafts every row that is
// in order; the others are answered with their refusals. The same file again is
// the same batch.
func (r *Registrar) DraftUnits(ctx context.Context, name string, data []byte, by access.Person, source string) (Batch, error) {
	if !by.Holds(access.RAClerk) {
		return Batch{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("单位登记须由录入员办理")
	}
	digest := alg.Digest([]byte("units"), []byte(by.ID), []byte{0}, data)
	if b, ok, err := r.Store.BatchByDigest(ctx, digest); err != nil || ok {
		return b, err
	}
	rows, err := sheet.Table(name, data, UnitColumns)
	if err != nil {
		return Batch{}, err
	}
	now := r.Now().UTC()
	b := Batch{ID: newID("B", now), Name: name, Digest: digest, By: by.ID, At: now}
	if b.Body, err = r.bodyOf(ctx, by); err != nil {
		return Batch{}, err
	}
	var list []Record
	seen := map[string]int{}
	for _, row := range rows {
		v := row.Values
		f := UnitForm{Code: strings.ToUpper(v["code"]), Name: v["name"], ST: v["ST"], L: v["L"], Letter: Letter{v["letter"], v["letter_from"], v["letter_to"]},
			Agent: Agent{Legal: v["legal"], Name: v["agent_name"], Phone: v["agent_phone"], Email: v["agent_email"], Kind: v["agent_kind"], Number: v["agent_number"]}}
		rec, err := Record{}, row.Stray
		if err == nil {
			rec, err = r.composeUnit(ctx, f, by)
		}
		if first, twice := seen[f.Code]; err == nil && twice {
			err = UnitKnown.At("code", UnitKnown.Clause).Because("与第 %d 行相同", first)
		}
		if no := refusal.Of(err); no != nil {
			report := no.Report()
			b.Rows = append(b.Rows, Row{Line: row.Line, Refusal: &report})
			continue
		}
		if err != nil {
			return Batch{}, err
		}
		seen[f.Code] = row.Line
		rec.Batch, rec.Row = b.ID, row.Line
		list = append(list, rec)
		b.Rows = append(b.Rows, Row{Line: row.Line, ID: rec.ID})
	}
	return b, r.Store.Draft(ctx, list, &b, []audit.Entry{r.line(by, "ra.sheet", b.ID, source)})
}

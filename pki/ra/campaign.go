package ra

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/sheet"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// campaigns are the bulks that lead to applications which follow certificates: an
// extension is drafted for each, a renewal waits for each holder's new request.
// (集中更新、集中延期)
var campaigns = map[string]string{"ra.renew": enroll.Renew, "ra.extend": enroll.Extend}

// Campaign reports whether a bulk's act leads to applications.
func Campaign(act string) bool { return campaigns[act] != "" }

// RenewColumns are those of a sheet of requests for renewal.
var RenewColumns = []string{"serial", "name", "not_after", "csr"}

// tryCampaign finds the certificates a campaign is about, and why it cannot be
// about the rest; nothing changes but that the trial is on record.
func (r *Registrar) tryCampaign(ctx context.Context, b Bulk, who access.Person, source string) (Bulk, error) {
	purpose := campaigns[b.Act]
	if err := b.Query.check(); err != nil {
		return b, err
	}
	if len(b.Evidence) > FilesMax || slices.ContainsFunc(b.Evidence, func(e string) bool { return !isDigest(e) }) || purpose == enroll.Extend && len(b.Evidence) == 0 {
		return b, BadEvidence.At("evidence", BadEvidence.Clause).Because("集中延期须附单位委托书等材料的 SM3 摘要，至多 %d 份", FilesMax).ToFix("请先收存材料（ra evidence），再填写它的摘要")
	}
	taker, err := r.bodyOf(ctx, who)
	if err != nil {
		return b, err
	}
	now := r.Now().UTC()
	b.ID, b.By, b.At, b.Body, b.Rows, b.Reason, b.Asker = newID(BulkPrefix, now), who.ID, now, taker, nil, "", "unit"
	found, err := r.search(ctx, b.Query)
	if err != nil {
		return b, err
	}
	if b.Found = len(found); b.Found == 0 {
		return b, NotLive.At("query", NotLive.Clause).Because("没有符合条件的有效证书").ToFix("请放宽条件后重新试算")
	}
	for _, rec := range found {
		row := BulkRow{Case: rec.ID, Serial: rec.SignSerial}
		switch no, err := r.mayFollow(ctx, purpose, rec, b.Evidence, who); {
		case err != nil:
			return b, err
		case no != nil:
			report := no.Report()
			row.Refusal = &report
			b.Refused++
		case b.Targets == ActMax:
			b.More++
			continue
		default:
			b.Targets++
			row.ID = rec.ID // no case is opened yet
			b.Forecast.add(rec, now)
		}
		b.Rows = append(b.Rows, row)
	}
	if err := r.issuingPace(ctx, &b.Forecast, b.Targets, now); err != nil {
		return b, err
	}
	return b, r.Store.KeepBulk(ctx, b, r.line(who, "ra.bulk.try", b.ID, source))
}

// mayFollow says why a certificate cannot be followed now; an extension is put
// together to find out.
func (r *Registrar) mayFollow(ctx context.Context, purpose string, rec Record, evidence []string, who access.Person) (*refusal.Refusal, error) {
	var err error
	if purpose == enroll.Extend {
		_, err = r.compose(ctx, following(purpose, rec.SignSerial, "", evidence), who)
	} else {
		var f Form
		if f, _, err = r.followed(ctx, Form{For: purpose, Replaces: rec.SignSerial}); err == nil && f.Unit != "" {
			_, err = r.unitStands(ctx, f.Unit)
		}
	}
	if no := refusal.Of(err); no != nil {
		return no, nil
	}
	return nil, err
}

// following is the application that follows a certificate in a campaign. With
// evidence the identity was checked by it; else the clerk states how, as always.
func following(purpose, serial, csr string, evidence []string) Form {
	f := Form{For: purpose, Replaces: serial, CSR: csr}
	if len(evidence) > 0 {
		f.Identity.Method, f.Identity.Evidence = "entrusted", evidence
	}
	return f
}

// add reckons what following one certificate brings: a new pair, an encryption key
// from the pool, and the old pair on the revocation list.
func (f *Forecast) add(rec Record, now time.Time) {
	for _, serial := range []string{rec.SignSerial, rec.EncSerial} {
		if serial != "" {
			f.Certificates++
			f.Entries, f.Bytes = f.Entries+1, f.Bytes+entrySize(serial, now, "superseded")
		}
	}
	if rec.EncSerial != "" {
		f.Keys++
	}
}

// issuingPace is how fast certificates were issued last.
func (r *Registrar) issuingPace(ctx context.Context, f *Forecast, n int, now time.Time) error {
	list, err := r.Store.Find(ctx, Query{Kind: IssueKind.Name, State: Issued, Limit: PageMax})
	times := make([]time.Time, len(list))
	for i, rec := range list {
		times[i] = rec.UpdatedAt
	}
	f.reckon(times, n, now)
	return err
}

// campaign returns a trial to whoever made it.
func (r *Registrar) campaign(ctx context.Context, id, act string, who access.Person) (Bulk, error) {
	if !who.Holds(access.RAClerk) {
		return Bulk{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("集中更新和延期由录入员办理")
	}
	if err := r.standing(ctx, who); err != nil {
		return Bulk{}, err
	}
	b, err := r.Store.Bulk(ctx, id)
	switch {
	case err != nil:
		return b, err
	case b.Act != act:
		return b, NoAct.At("act", NoAct.Clause).Because("%s 不是%s的试算", b.ID, map[string]string{"ra.renew": "集中更新", "ra.extend": "集中延期"}[act])
	case b.By != who.ID:
		return b, NotYours.At("bulk", NotYours.Clause).Because("%s 由 %s 试算", b.ID, b.By).ToFix("请由试算人办理，或自行试算")
	}
	return b, nil
}

// DraftCampaign drafts the extensions a trial found, as one batch; again it is the
// same batch.
func (r *Registrar) DraftCampaign(ctx context.Context, id string, who access.Person, source string) (Batch, error) {
	m, err := r.campaign(ctx, id, "ra.extend", who)
	if err != nil {
		return Batch{}, err
	}
	forms := make([]brought, 0, m.Targets)
	for _, row := range m.Rows {
		if row.ID != "" {
			forms = append(forms, brought{line: len(forms) + 1, form: following(enroll.Extend, row.Serial, "", m.Evidence)})
		}
	}
	return r.draftFollowing(ctx, "集中延期 "+id, alg.Digest([]byte("campaign"), []byte(id)), forms, who, source)
}

// DraftRenewals reads a sheet of requests, each beside the serial of the certificate
// it is to follow, and drafts the renewals of the rows that are in order. Rows
// without a request are passed over. The same file again is the same batch.
func (r *Registrar) DraftRenewals(ctx context.Context, name string, data []byte, evidence []string, who access.Person, source string) (Batch, error) {
	if !who.Holds(access.RAClerk) {
		return Batch{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("集中更新由录入员办理")
	}
	rows, err := sheet.Table(name, data, RenewColumns)
	if err != nil {
		return Batch{}, err
	}
	var forms []brought
	for _, row := range rows {
		if row.Values["csr"] != "" {
			forms = append(forms, brought{line: row.Line, err: row.Stray, form: following(enroll.Renew, row.Values["serial"], row.Values["csr"], evidence)})
		}
	}
	if len(forms) == 0 {
		return Batch{}, sheet.NoRows.At("csr", sheet.NoRows.Clause)
	}
	return r.draftFollowing(ctx, name, alg.Digest([]byte("renewals"), []byte(who.ID), []byte{0}, data), forms, who, source)
}

func (r *Registrar) draftFollowing(ctx context.Context, name string, digest []byte, forms []brought, who access.Person, source string) (Batch, error) {
	if b, ok, err := r.Store.BatchByDigest(ctx, digest); err != nil || ok {
		return b, err
	}
	taker, err := r.bodyOf(ctx, who)
	if err != nil {
		return Batch{}, err
	}
	now := r.Now().UTC()
	b := Batch{ID: newID("B", now), Name: name, Digest: digest, By: who.ID, At: now, Body: taker}
	var list []Record
	keys, certificates := map[string]int{}, map[string]int{}
	for _, row := range forms {
		rec, err := r.row(ctx, row, who, keys)
		if first, twice := certificates[rec.Follows]; err == nil && twice {
			err = Pending.At("serial", Pending.Clause).Because("与第 %d 行是同一证书", first)
		}
		if no := refusal.Of(err); no != nil {
			report := no.Report()
			b.Rows = append(b.Rows, Row{Line: row.line, Refusal: &report})
			continue
		}
		if err != nil {
			return Batch{}, err
		}
		certificates[rec.Follows] = row.line
		rec.Batch, rec.Row = b.ID, row.line
		list = append(list, rec)
		b.Rows = append(b.Rows, Row{Line: row.line, ID: rec.ID})
	}
	return b, r.Store.Draft(ctx, list, &b, []audit.Entry{r.line(who, "ra.sheet", b.ID, source)})
}

// Invited is the number of days that stands for an invitation: it is sent whatever
// the end.
const Invited = 0

// Invite records an invitation to renew for each certificate a trial found, to be
// dropped for the mailer like a reminder; once for each.
func (r *Registrar) Invite(ctx context.Context, id string, who access.Person, source string) (n int, err error) {
	b, err := r.campaign(ctx, id, "ra.renew", who)
	if err != nil {
		return 0, err
	}
	now := r.Now().UTC()
	var list []Reminder
	var lines []audit.Entry
	err = r.eachTarget(ctx, b, func(rec Record, end time.Time) {
		list = append(list, Reminder{Case: rec.ID, Days: Invited, Serial: rec.SignSerial, Title: rec.Title, Profile: rec.Profile, NotAfter: end, At: now})
		line := r.line(who, "ra.invite", rec.ID, source)
		line.Serial, line.Detail = rec.SignSerial, b.ID
		lines = append(lines, line)
	})
	if err != nil {
		return 0, err
	}
	return len(list), r.Store.Remind(ctx, list, lines)
}

// eachTarget calls f with every certificate a trial found that is still good.
func (r *Registrar) eachTarget(ctx context.Context, b Bulk, f func(rec Record, end time.Time)) error {
	for _, row := range b.Rows {
		if row.ID == "" {
			continue
		}
		rec, err := r.Store.Case(ctx, row.Case)
		if err != nil {
			return err
		}
		if !slices.Contains(good, rec.State) {
			continue
		}
		c, err := cert.Parse(rec.Reply.Sign)
		if err != nil {
			return fmt.Errorf("reading the certificate of %s: %w", rec.ID, err)
		}
		f(rec, c.NotAfter)
	}
	return nil
}

// CampaignSheet is the sheet to be filled with requests, one line for each
// certificate a trial found; natural persons masked.
func (r *Registrar) CampaignSheet(ctx context.Context, id string, who access.Person) ([][]string, error) {
	b, err := r.campaign(ctx, id, "ra.renew", who)
	if err != nil {
		return nil, err
	}
	rows := [][]string{RenewColumns}
	err = r.eachTarget(ctx, b, func(rec Record, end time.Time) {
		rows = append(rows, []string{rec.SignSerial, r.Called(rec), end.In(beijing).Format(time.DateOnly), ""})
	})
	return rows, err
}

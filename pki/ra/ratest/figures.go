package ratest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Figures count what was issued since a time, as it stands at another.
func (m *Memory) Figures(_ context.Context, since, now time.Time) ([]enroll.Figure, error) {
	sums := map[[2]string]map[int64]enroll.Figure{}
	for _, r := range m.All() {
		c, err := cert.Parse(r.Reply.Sign)
		if err != nil || c.NotBefore.Before(since) {
			continue
		}
		key, day := [2]string{r.Profile, r.Body}, (c.NotBefore.Unix()+28800)/86400
		if sums[key] == nil {
			sums[key] = map[int64]enroll.Figure{}
		}
		f := sums[key][day]
		f.Profile, f.Body, f.Day, f.Issued = r.Profile, r.Body, day, f.Issued+1
		switch {
		case slices.Contains([]casework.State{ra.Revoked, ra.Superseded, ra.IssuedHeld, ra.DeliveredHeld}, r.State):
			f.Revoked++
		case c.NotAfter.Before(now):
			f.Expired++
		default:
			f.Valid++
		}
		sums[key][day] = f
	}
	var list []enroll.Figure
	for _, days := range sums {
		for _, f := range days {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b enroll.Figure) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Profile, b.Profile), cmp.Compare(a.Body, b.Body))
	})
	return list, nil
}

// figures are counted by day, profile and body, each certificate once.
func figures(d *Desk) {
	ctx := d.t.Context()
	for i, s := range []casework.State{ra.Issued, ra.Delivered, ra.IssuedHeld, ra.Revoked, ra.Superseded} {
		rec := Sample(i)
		rec.Body = map[bool]string{true: "hz"}[i == 1]
		d.draft(rec)
		d.issued(i, s)
	}
	d.draft(Sample(7)) // nothing was issued
	c, err := cert.Parse(d.get(Sample(0).ID).Reply.Sign)
	if err != nil {
		d.t.Fatal(err)
	}
	day := (c.NotBefore.Unix() + 28800) / 86400
	want := []enroll.Figure{{Profile: "person-dual", Day: day, Issued: 4, Revoked: 3, Valid: 1}, {Profile: "person-dual", Body: "hz", Day: day, Issued: 1, Valid: 1}}
	for _, look := range []struct {
		since, now time.Time
		want       []enroll.Figure
	}{
		{time.Unix(0, 0), Now, want}, {c.NotBefore, Now, want}, {c.NotBefore.Add(time.Second), Now, nil},
		{time.Unix(0, 0), c.NotAfter.Add(time.Second), []enroll.Figure{{Profile: "person-dual", Day: day, Issued: 4, Revoked: 3, Expired: 1}, {Profile: "person-dual", Body: "hz", Day: day, Issued: 1, Expired: 1}}},
	} {
		got, err := d.Figures(ctx, look.since, look.now)
		if err != nil || !slices.Equal(got, look.want) {
			d.t.Errorf("since %v at %v: %+v %v", look.since, look.now, got, err)
		}
	}
}

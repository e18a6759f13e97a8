package ratest

import (
	"fmt"
	"strings"

	"github.com/hufu-pki/hufu/pki/ra"
)

// within checks that every list can be narrowed to what some bodies took.
func within(d *Desk) {
	ctx := d.t.Context()
	for i, body := range []string{"", "hz", "hz-west"} {
		rec := Sample(i)
		rec.Body = body
		d.draft(rec)
		if got := d.get(rec.ID).Body; got != body {
			d.t.Errorf("%q became %q", body, got)
		}
		b := ra.Batch{ID: fmt.Sprintf("B%d", i), Name: "x", Digest: []byte{byte(i)}, By: "clerk", At: Now, Body: body}
		if err := d.Draft(ctx, nil, &b, nil); err != nil {
			d.t.Fatal(err)
		}
		if err := d.KeepBulk(ctx, ra.Bulk{ID: fmt.Sprintf("M%d", i), By: "clerk", At: Now, Body: body}, Line("x")[0]); err != nil {
			d.t.Fatal(err)
		}
		if err := d.Remind(ctx, []ra.Reminder{{Case: rec.ID, Days: 1, At: Now}}, Line("x")); err != nil {
			d.t.Fatal(err)
		}
		if err := d.enter(ra.UnitChange{ID: fmt.Sprintf("U%d", i), Do: ra.UnitAdd, Code: string(rune('A' + i)), Name: "x", Letter: ra.Letter{To: "2026-12-01"}}, func(u *ra.Unit) { u.Body = body }); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, c := range []struct {
		scope []string
		want  string
	}{{nil, "0 1 2"}, {[]string{"hz", "hz-west"}, "1 2"}, {[]string{"hz-west"}, "2"}, {[]string{""}, "0"}, {[]string{"none"}, ""}} {
		cases, err1 := d.Find(ctx, ra.Query{Kind: ra.IssueKind.Name, Within: c.scope})
		batches, err2 := d.Batches(ctx, c.scope, "", 9)
		bulks, err3 := d.Bulks(ctx, c.scope, "", 9)
		units, err4 := d.Units(ctx, ra.UnitQuery{Within: c.scope})
		soon, err5 := d.Reminders(ctx, ra.ReminderQuery{Within: c.scope})
		counts, err6 := d.Counts(ctx, c.scope)
		for _, err := range []error{err1, err2, err3, err4, err5, err6} {
			if err != nil {
				d.t.Fatal(err)
			}
		}
		n := len(strings.Fields(c.want))
		if len(cases) != n || len(batches) != n || len(bulks) != n || len(units) != n || len(soon) != n || counts[ra.IssueKind.Name][ra.Drafted] != n {
			d.t.Errorf("%v: %d cases, %d batches, %d bulks, %d units, %d reminders, %v", c.scope, len(cases), len(batches), len(bulks), len(units), len(soon), counts)
		}
		for _, rec := range cases {
			if c.scope != nil && !inside(c.scope, rec.Body) {
				d.t.Errorf("%v: %s is of %q", c.scope, rec.ID, rec.Body)
			}
		}
	}
}

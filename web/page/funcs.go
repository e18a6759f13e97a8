package page

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"
)

// beijing is the time zone people here live by; fixed, so that no machine's
// tables are needed.
var beijing = time.FixedZone("北京时间", 8*60*60)

// builtin are the functions every template has.
var builtin = template.FuncMap{
	"day":   func(t time.Time) string { return show(t, "2006-01-02") },
	"clock": func(t time.Time) string { return show(t, "2006-01-02 15:04:05") },
	"stamp": func(s string) string { // a time that came as text
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return s
		}
		return show(t, "2006-01-02 15:04:05")
	},
	"json": func(v any) (string, error) {
		data, err := json.Marshal(v)
		return string(data), err
	},
	"short": func(s string) string {
		if len(s) > 16 {
			return s[:8] + "…" + s[len(s)-8:]
		}
		return s
	},
	"group": func(s string) string { // a long number in fours, so that people can compare it
		var b strings.Builder
		for i, r := range s {
			if i > 0 && i%4 == 0 {
				b.WriteByte(' ')
			}
			b.WriteRune(r)
		}
		return b.String()
	},
	"hex":  func(b []byte) string { return fmt.Sprintf("%x", b) },
	"list": func(items ...string) []string { return items },
	"bar":  func(done, all int) string { return fmt.Sprintf("%d", percent(done, all)) },
	"dict": dict,
	"icon": icon,
	"bars": bars,
}

func show(t time.Time, form string) string {
	if t.IsZero() {
		return "—"
	}
	return t.In(beijing).Format(form)
}

// Day reads a date of a form, as its beginning in Beijing; zero if it is none.
func Day(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02", s, beijing)
	if err != nil {
		return time.Time{}
	}
	return t
}

func percent(done, all int) int {
	if all <= 0 {
		return 0
	}
	return done * 100 / all
}

// dict lets a template hand several values to a component.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is not a name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// Query is the address of a page, for links that change one part of it.
type Query struct {
	Path   string
	Values url.Values
}

// Get is one parameter.
func (q Query) Get(name string) string { return q.Values.Get(name) }

// With is the address with other parameters: name, value, name, value.
func (q Query) With(pairs ...string) string {
	v := url.Values{}
	for k, list := range q.Values {
		v[k] = list
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Del(pairs[i])
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return q.Path
	}
	return q.Path + "?" + v.Encode()
}

// Raw is the query part, for links to exports of what is shown.
func (q Query) Raw() template.URL { return template.URL(q.Values.Encode()) } // encoded by net/url

// icons are drawn on a 20 by 20 grid with one stroke.
var icons = map[string]string{
	"home": "M3 9.5 10 3l7 6.5V17h-5v-4H8v4H3z", "list": "M4 5h12M4 10h12M4 15h12", "new": "M5 3h7l3 3v11H5zM10 8v6M7 11h6",
	"sheet": "M3 4h14v12H3zM3 8h14M3 12h14M8 4v12", "cert": "M3 4h14v9H3zM6 7h6M6 10h4M12 13l1 4 1-1 1 1 1-4", "stop": "M10 3a7 7 0 100 14 7 7 0 000-14zM5 5l10 10",
	"ledger": "M4 3h12v14H4zM7 3v14M10 7h4M10 10h4", "eye": "M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5zM10 8a2 2 0 100 4 2 2 0 000-4z", "people": "M7 9a3 3 0 100-6 3 3 0 000 6zM2 17c0-4 2-6 5-6s5 2 5 6M13 8.5a2.5 2.5 0 100-5M14 11c2.500 0 4 2 4 5",
	"doc": "M5 3h7l3 3v11H5zM8 9h4M8 12h4", "key": "M7 13a3 3 0 110-6 3 3 0 010 6zM9.500 10H17v3M14 10v2", "help": "M10 3a7 7 0 100 14 7 7 0 000-14zM8 8a2 2 0 113 1.700c-.7.5-1 .8-1 1.800M10 14v.5",
	"out": "M8 4H4v12h4M12 7l3 3-3 3M15 10H7", "file": "M5 3h7l3 3v11H5z", "down": "M10 3v9M6 9l4 4 4-4M4 16h12", "check": "M4 10l4 4 8-8",
}

func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d="` + icons[name] + `"/></svg>`) // from the table above
}

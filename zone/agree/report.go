package agree

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hufu-pki/hufu/web/api"
)

// Disagreement is a subject on which a channel contradicts the ledger, for
// longer than it may take a change to get there.
type Disagreement struct {
	Channel string    `json:"channel"`
	Subject string    `json:"subject"`
	Serial  string    `json:"serial,omitempty"`
	Scope   string    `json:"scope,omitempty"`
	Want    string    `json:"want"`
	Says    string    `json:"says"`
	Since   time.Time `json:"since"`
	Entry   int64     `json:"entry"` // of the ledger; -1 for a sample
}

// Seconds from a ledger entry's time until a channel showed it.
type Seconds struct {
	Measured int     `json:"measured"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Max      float64 `json:"max"`
}

// Channels' results.
type ChannelReport struct {
	Name          string         `json:"channel"`
	Title         string         `json:"title"`
	Checked       int64          `json:"checked"`
	Waiting       int            `json:"waiting"`
	Skipped       int64          `json:"skipped,omitempty"` // more than could be asked
	Down          string         `json:"down,omitempty"`    // why it gives no answer
	Disagreements []Disagreement `json:"disagreements"`
	Visibility    Seconds        `json:"visibility_seconds"`
}

// Report is how everything published agrees.
type Report struct {
	At       time.Time       `json:"at"`
	Ledger   int64           `json:"ledger"` // entries read
	Trouble  string          `json:"trouble,omitempty"`
	Channels []ChannelReport `json:"channels"`
}

// Agrees reports whether nothing is wrong.
func (r Report) Agrees() bool {
	return r.Trouble == "" && !slices.ContainsFunc(r.Channels, func(c ChannelReport) bool { return c.Down != "" || len(c.Disagreements) > 0 })
}

func (w *watch) report() ChannelReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := ChannelReport{Name: w.channel.Name(), Title: w.channel.Title(), Checked: w.checked, Waiting: len(w.tasks), Skipped: w.skipped, Disagreements: []Disagreement{}, Visibility: secondsOf(w.measures)}
	if w.downSaid {
		c.Down = w.downErr.Error()
	}
	for _, t := range w.again {
		if t.alarmed && len(c.Disagreements) < alarmsMax {
			c.Disagreements = append(c.Disagreements, t.found)
		}
	}
	return c
}

func secondsOf(measures []float64) Seconds {
	n := len(measures)
	if n == 0 {
		return Seconds{}
	}
	m := slices.Sorted(slices.Values(measures))
	return Seconds{n, m[n/2], m[min(n*99/100, n-1)], m[n-1]}
}

// Report is how things stand now.
func (j *Job) Report() Report {
	j.mu.Lock()
	r := Report{At: j.Now().UTC(), Ledger: j.read, Channels: []ChannelReport{{
		Name: "ledger", Title: "公开账本", Checked: j.read, Disagreements: []Disagreement{}, Visibility: secondsOf(j.measures),
	}}}
	if j.trouble != nil && j.Now().Sub(j.since) >= j.bound() {
		r.Trouble = j.trouble.Error()
	}
	j.mu.Unlock()
	for _, w := range j.watches {
		r.Channels = append(r.Channels, w.report())
	}
	return r
}

// Checks are lines for an operator's overview: one a channel.
func (j *Job) Checks() []api.Check {
	r := j.Report()
	var list []api.Check
	for i, c := range r.Channels {
		if c.Checked+c.Skipped+int64(c.Waiting) == 0 { // such as changes, where a CA signs no such lists
			continue
		}
		k := api.Check{Name: "一致性：" + c.Title, State: "good", Value: fmt.Sprintf("已核对 %d 项", c.Checked)}
		if v := c.Visibility; v.Measured > 0 {
			k.Value += fmt.Sprintf("；变更可见用时 中位 %.2f 秒、99%% %.2f 秒、最长 %.2f 秒", v.P50, v.P99, v.Max)
		}
		switch {
		case i == 0 && r.Trouble != "":
			k.State, k.Advice = "bad", "读不到公开账本："+r.Trouble
		case c.Down != "":
			k.State, k.Advice = "bad", "没有应答："+c.Down
		case len(c.Disagreements) > 0:
			d := c.Disagreements[0]
			k.State, k.Value = "bad", fmt.Sprintf("%d 项与账本不符", len(c.Disagreements))
			k.Advice = fmt.Sprintf("%s：账本为“%s”，此处为“%s”（自 %s）。请停用该渠道并核查，必要时由账本重建", d.Subject, d.Want, d.Says, d.Since.In(beijing).Format("2006-01-02 15:04:05"))
		case c.Skipped > 0:
			k.State, k.Advice = "warn", fmt.Sprintf("变更太多，%d 项未逐一核对，只能抽查到", c.Skipped)
		}
		list = append(list, k)
	}
	return list
}

var beijing = time.FixedZone("", 8*3600)

// Figures are metrics of every channel.
func (j *Job) Figures() (list []prometheus.Collector) {
	for _, w := range j.watches {
		labels := prometheus.Labels{"channel": w.channel.Name()}
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hufu_agree_visibility_seconds", Help: "From a ledger entry's time until the channel showed it.", ConstLabels: labels,
			Buckets: []float64{.1, .25, .5, 1, 2, 5, 10, 60},
		})
		w.seen = h.Observe
		list = append(list, h,
			prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "hufu_agree_checked_total", Help: "Questions whose answer agreed with the ledger.", ConstLabels: labels},
				func() float64 { return float64(w.report().Checked) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hufu_agree_alarms", Help: "Subjects on which the channel contradicts the ledger.", ConstLabels: labels},
				func() float64 { return float64(len(w.report().Disagreements)) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hufu_agree_down", Help: "1 while the channel gives no answer.", ConstLabels: labels},
				func() float64 {
					if w.report().Down != "" {
						return 1
					}
					return 0
				}))
	}
	return list
}

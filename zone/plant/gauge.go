package plant

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Gauges are figures of several zones that one metrics listener shows. The zero
// value is ready; a nil one takes figures and shows none.
type Gauges struct {
	mu   sync.Mutex
	list []prometheus.Collector
}

// Unsealed adds how long a zone's audit ledger has not been sealed.
func (s *Gauges) Unsealed(system string, g *Group) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hufu_audit_unsealed_seconds", Help: "How long the audit ledger has not been sealed; acts are refused from 60 on.", ConstLabels: prometheus.Labels{"system": system},
	}, func() float64 { return g.Unsealed().Seconds() }))
}

// Describe tells nothing beforehand: zones come and go.
func (s *Gauges) Describe(chan<- *prometheus.Desc) {}

// Collect shows the figures there are.
func (s *Gauges) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.list {
		c.Collect(to)
	}
}

package caservice

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/pki/va"
	"github.com/hufu-pki/hufu/pki/va/vahttp"
)

// metrics are the service zone's figures in Prometheus' form, without any
// person's or certificate's name in them.
func metrics(r *va.Responder, p *vahttp.Public, more ...prometheus.Collector) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(more...)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for name, v := range map[string]*atomic.Int64{
		"ocsp_presigned": &p.Stats.Presigned, "ocsp_live": &p.Stats.Live, "ocsp_refused": &p.Stats.Refused, "crl": &p.Stats.CRL,
		"aia": &p.Stats.AIA, "tiles": &p.Stats.Tiles, "bodies": &p.Stats.Bodies, "not_modified": &p.Stats.NotModified,
		"not_found": &p.Stats.NotFound, "failed": &p.Stats.Failed,
	} {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "hufu_public_" + name + "_total", Help: "Answers of the public listener."},
			func() float64 { return float64(v.Load()) }))
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hufu_status_lag_seconds", Help: "Time since the ledger was last read; -1 before the first time."}, func() float64 {
			lag, ok := r.Lag()
			if !ok {
				return -1
			}
			return lag.Seconds()
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hufu_status_trouble", Help: "1 while the status service is in trouble."}, func() float64 {
			if r.Trouble() != nil {
				return 1
			}
			return 0
		}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return mux
}

// figures count readings of personal data by way, of nobody in particular.
type figures struct{ times, people *prometheus.CounterVec }

func readingFigures() figures {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"way"})
	}
	return figures{vec("hufu_ra_personal_reads_total", "Readings of personal data at the registration desk."), vec("hufu_ra_personal_read_people_total", "People concerned in readings of personal data.")}
}

func (f figures) read(way string, people int) {
	f.times.WithLabelValues(way).Inc()
	f.people.WithLabelValues(way).Add(float64(people))
}

// differing tells how many of the desk's figures differ from the CA's.
func differing(books *ra.Reconciler) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hufu_ra_figures_differing", Help: "Figures of the registration desk that differ from the CA's in two looks."}, func() float64 { return float64(books.Differences()) })
}

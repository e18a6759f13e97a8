package caservice

import (
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldappush"
	"github.com/hufu-pki/hufu/zone/plant"
)

// publish keeps an external directory server in step, when there is one.
func publish(g *plant.Group, c Config, dir *directory.Directory) ([]prometheus.Collector, error) {
	if c.Publish == nil {
		return nil, nil
	}
	p := &ldappush.Publisher{
		Model: dir, Ledger: ledger.Follower{Source: ledger.Dir(c.ledger()), Key: c.LedgerKey, Origin: c.Origin},
		Server: *c.Publish, File: filepath.Join(c.Dir, "published.json"), Now: c.Now,
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	dir.Applied = p.Wake
	g.Go(p.Run)
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hufu_directory_" + name, Help: help}, value)
	}
	count := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "hufu_directory_" + name + "_total", Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("lag_seconds", "How long the external directory has been behind the ledger.", func() float64 { return p.Lag().Seconds() }),
		gauge("queue", "Entries of the ledger the external directory has not been told of.", func() float64 { return float64(p.Queue()) }),
		gauge("disagreements", "Disagreements the last check of the external directory left.", func() float64 { return float64(p.Stats.Found.Load()) }),
		count("written", "Entries written to the external directory.", p.Stats.Written.Load),
		count("repaired", "Entries of the external directory restored from the ledger.", p.Stats.Repaired.Load),
		count("refused", "Entries the external directory did not take.", p.Stats.Refused.Load),
		count("failures", "Times the external directory was away or in trouble.", p.Stats.Failures.Load),
	}, nil
}

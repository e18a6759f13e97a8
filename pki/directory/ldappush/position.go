package ldappush

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hufu-pki/hufu/ledger"
)

// position is how far a server has been told, on disk. It is written after the
// server acknowledged, so that a crash repeats and never leaves out.
type position struct {
	Server   string   `json:"server"` // another server begins anew
	Base     string   `json:"base"`
	Origin   string   `json:"origin"`
	Size     int64    `json:"size"`
	Frontier []byte   `json:"frontier"`
	Waits    []string `json:"waits,omitempty"` // serials of certificates that were not due
}

// load reads the position; none, or one of another server or ledger, is not known.
func (p *Publisher) load() (at ledger.Frontier, waits map[string]bool, known bool, err error) {
	data, err := os.ReadFile(p.File)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil, false, nil
	}
	var pos position
	if err == nil {
		err = json.Unmarshal(data, &pos)
	}
	if err != nil {
		return at, nil, false, fmt.Errorf("position: %w", err)
	}
	if pos.Server != p.Server.URL || pos.Base != p.Server.base() || pos.Origin != p.Ledger.Origin {
		return at, nil, false, nil
	}
	waits = map[string]bool{}
	for _, serial := range pos.Waits {
		waits[serial] = true
	}
	at, err = ledger.FrontierOf(pos.Size, pos.Frontier)
	return at, waits, err == nil, err
}

// keep writes the position durably: beside first, then in its place.
func (p *Publisher) keep(at ledger.Frontier) error {
	data, err := json.Marshal(position{p.Server.URL, p.Server.base(), p.Ledger.Origin, at.Size(), at.Hashes(), slices.Sorted(maps.Keys(p.waits))})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p.File+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(p.File+".new", p.File); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(p.File))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

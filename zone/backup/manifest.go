package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/ledger"
)

// Manifest is one set: what was saved, and how far the institution was. It is
// canonical JSON as encoding/json writes it.
type Manifest struct {
	Version      int                       `json:"version"`
	Repository   string                    `json:"repository"`
	Set          int                       `json:"set"`
	At           time.Time                 `json:"at"`
	Previous     string                    `json:"previous"` // SM3 of the manifest before; empty for the first
	Ledger       Head                      `json:"ledger"`
	Audits       map[string]Head           `json:"audits"` // by zone
	Certificates int64                     `json:"certificates"`
	CRLNumber    int64                     `json:"crl_number"`
	Schemas      map[string]map[string]int `json:"schemas"` // database, room, version
	People       bool                      `json:"people"`
	Files        []File                    `json:"files"` // in the order they were saved
}

// Head is how far a ledger was.
type Head struct {
	Size int64  `json:"size"`
	Root string `json:"root"` // hex
}

func headOf(f ledger.Frontier) Head { return Head{f.Size(), fmt.Sprintf("%x", f.Root())} }

// File is one file of a set.
type File struct {
	Path      string   `json:"path"`
	Class     string   `json:"class"` // system, data, files or keys
	Mode      uint32   `json:"mode"`
	Size      int64    `json:"size"`
	MAC       string   `json:"mac"` // HMAC-SM3 of path and content
	ChunkSize int      `json:"chunk_size"`
	Chunks    []string `json:"chunks"`
}

// manifest reads and checks one set; digest is the SM3 its successor names.
func (r *repository) manifest(n int) (m Manifest, digest string, err error) {
	data, err := os.ReadFile(r.set(n))
	if errors.Is(err, fs.ErrNotExist) {
		return m, "", NoSet.At("set", NoSet.Clause).Because("%d", n)
	}
	if err != nil {
		return m, "", err
	}
	if err := unwrap(data, signsManifest, fmt.Sprintf("sets/%06d.json", n), r.key, &m); err != nil {
		return m, "", err
	}
	if m.Set != n || m.Repository != r.ID || m.Version != 1 {
		return m, "", Chain.At("set", Chain.Clause).Because("第 %d 集的清单是别处的", n)
	}
	return m, fmt.Sprintf("%x", alg.Digest(data)), nil
}

// count is how many sets there are; a hole in the middle is found by chain.
func (r *repository) count() (int, error) {
	list, err := os.ReadDir(r.dir + "/sets")
	if err != nil {
		return 0, err
	}
	last := 0
	for _, e := range list {
		var n int
		var rest string
		if c, _ := fmt.Sscanf(e.Name(), "%06d.json%s", &n, &rest); c == 1 && e.Name() == fmt.Sprintf("%06d.json", n) {
			last = max(last, n)
		}
	}
	return last, nil
}

// newest is the last set, and what the next one names as its predecessor.
func (r *repository) newest() (Manifest, string, error) {
	n, err := r.count()
	if err != nil || n == 0 {
		return Manifest{}, "", err
	}
	return r.manifest(n)
}

// chain reads every set from the first and checks that each names the one
// before: none was taken out, put in or swapped. The newest may have been cut
// off; only somebody who remembers it can tell.
func (r *repository) chain() ([]Manifest, error) {
	n, err := r.count()
	if err != nil {
		return nil, err
	}
	var all []Manifest
	before := ""
	for i := 1; i <= n; i++ {
		m, digest, err := r.manifest(i)
		if errors.Is(err, NoSet) {
			return nil, Chain.At("set", Chain.Clause).Because("缺第 %d 集", i)
		}
		if err != nil {
			return nil, err
		}
		if m.Previous != before {
			return nil, Chain.At("set", Chain.Clause).Because("第 %d 集接不上第 %d 集", i, i-1)
		}
		all, before = append(all, m), digest
	}
	return all, nil
}

// place names a chunk in words a person can follow.
func (m Manifest) place(f File, i int) string {
	return fmt.Sprintf("第 %d 集 %s 的第 %d 块 %s", m.Set, f.Path, i+1, f.Chunks[i])
}

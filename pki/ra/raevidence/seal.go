package raevidence

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
)

// Head is the line the manifest's signature begins with: the key signs
// checkpoints too, and one must never pass for the other.
const Head = "hufu-evidence 1\n"

// seal writes manifest and signature and packs everything.
func (b *Binder) seal(f folder, m Manifest) ([]byte, error) {
	for _, path := range slices.Sorted(maps.Keys(f.files)) {
		data := f.files[path]
		m.Files = append(m.Files, FileRef{path, len(data), hex.EncodeToString(alg.Digest(data))})
	}
	manifest, err := canonical(m)
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "%ssm3 %x\n", Head, alg.Digest(manifest))
	sig, err := alg.Sign(b.Key, text)
	if err != nil {
		return nil, fmt.Errorf("signing the manifest: %w", err)
	}
	f.put("manifest.json", manifest)
	f.put("manifest.sig", fmt.Appendf(text, "%s\n", base64.StdEncoding.EncodeToString(sig)))
	at, err := time.Parse(time.RFC3339, m.At)
	if err != nil {
		return nil, err
	}
	return pack(f, at)
}

// first are the files a person sees first.
var first = []string{"README.txt", "manifest.json", "manifest.sig"}

func pack(f folder, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(f.files)), func(n string) bool { return slices.Contains(first, n) })
	for _, name := range append(slices.Clone(first), names...) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.files[name]); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

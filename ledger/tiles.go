package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Paths and encodings of C2SP tlog-tiles.

// Width is how many hashes, or entries, a full tile has.
const Width = 256

// CheckpointPath is where the newest checkpoint lies.
const CheckpointPath = "checkpoint"

// tileLevels bounds the levels of tiles: 256^5 leaves are more than any CA issues.
const tileLevels = 5

// TilePath is the path of hash tile n at a level; width below Width is partial.
func TilePath(level int, n int64, width int) string {
	return fmt.Sprintf("tile/%d/%s", level, number(n, width))
}

// EntriesPath is the path of entry bundle n.
func EntriesPath(n int64, width int) string { return "tile/entries/" + number(n, width) }

// BodyPath is where a body lies, by its SM3 digest.
func BodyPath(digest []byte) string {
	h := hex.EncodeToString(digest)
	return "body/" + h[:2] + "/" + h[2:]
}

func number(n int64, width int) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	if width < Width {
		s += fmt.Sprintf(".p/%d", width)
	}
	return s
}

// appendBundle adds leaves to an entry bundle: each with a 16-bit length.
func appendBundle(b []byte, leaves ...[]byte) []byte {
	for _, l := range leaves {
		b = binary.BigEndian.AppendUint16(b, uint16(len(l)))
		b = append(b, l...)
	}
	return b
}

var errBundle = errors.New("entry bundle is cut short")

func readBundle(b []byte) (leaves [][]byte, err error) {
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return leaves, errBundle
		}
		n := int(binary.BigEndian.Uint16(b))
		leaves = append(leaves, b[2:2+n])
		b = b[2+n:]
	}
	return leaves, nil
}

// PublicPath reports whether a stranger may fetch a path that a ledger lays
// out, as far as its form tells; bodies are decided one by one.
func PublicPath(path string) (body, ok bool) {
	switch {
	case path == CheckpointPath, strings.HasPrefix(path, "tile/"):
		return false, true
	case strings.HasPrefix(path, "body/"):
		return true, true
	}
	return false, false
}

package ledger

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
)

// CheckpointMax bounds a checkpoint read from outside.
const CheckpointMax = 8 << 10

// ErrCheckpoint is returned for a checkpoint that is malformed or not signed
// by the key.
var ErrCheckpoint = errors.New("checkpoint refused")

// Checkpoint says how long a log is and what it contains.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   []byte
	At     time.Time
}

// sigType separates our SM2-with-SM3 note signatures from every other kind.
const sigType = "\xffhufu/sm2-sm3"

func keyID(origin string, point []byte) []byte {
	return alg.Digest([]byte(origin), []byte("\n"), []byte(sigType), point)[:4]
}

func (c Checkpoint) text() []byte {
	return fmt.Appendf(nil, "%s\n%d\n%s\ntime %d\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root), c.At.UnixMilli())
}

// Sign writes the checkpoint as a signed note (C2SP signed-note) with an SM2
// signature over its text.
func (c Checkpoint) Sign(key crypto.Signer) ([]byte, error) {
	text := c.text()
	sig, err := alg.Sign(key, text)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("signing checkpoint: not an SM2 key")
	}
	blob := append(keyID(c.Origin, alg.Point(pub)), sig...)
	return fmt.Appendf(text, "\n— %s %s\n", c.Origin, base64.StdEncoding.EncodeToString(blob)), nil
}

// OpenCheckpoint reads a signed note and checks its signature by pub. An empty
// origin accepts any.
func OpenCheckpoint(note []byte, pub *ecdsa.PublicKey, origin string) (Checkpoint, error) {
	c, text, sigs, err := readCheckpoint(note)
	switch {
	case err != nil:
		return Checkpoint{}, err
	case origin != "" && c.Origin != origin:
		return Checkpoint{}, fmt.Errorf("%w: 是另一账本 %q", ErrCheckpoint, c.Origin)
	case !signed(text, sigs, pub, c.Origin):
		return Checkpoint{}, fmt.Errorf("%w: 没有该公钥的有效签名", ErrCheckpoint)
	}
	return c, nil
}

// PeekCheckpoint reads a note without checking who signed it, for those who
// know it from elsewhere.
func PeekCheckpoint(note []byte) (Checkpoint, error) {
	c, _, _, err := readCheckpoint(note)
	return c, err
}

func readCheckpoint(note []byte) (c Checkpoint, text, sigs []byte, err error) {
	bad := func(why string) (Checkpoint, []byte, []byte, error) {
		return Checkpoint{}, nil, nil, fmt.Errorf("%w: %s", ErrCheckpoint, why)
	}
	if len(note) > CheckpointMax {
		return bad("过长")
	}
	text, sigs, ok := bytes.Cut(note, []byte("\n\n"))
	if !ok {
		return bad("没有签名")
	}
	text = append(bytes.Clone(text), '\n')
	lines := strings.Split(string(text), "\n")
	if len(lines) != 5 || lines[4] != "" {
		return bad("应为名称、条数、根和时间四行")
	}
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.Strict().DecodeString(lines[2])
	ms, err3 := strconv.ParseInt(strings.TrimPrefix(lines[3], "time "), 10, 64)
	if errors.Join(err1, err2, err3) != nil || size < 0 || len(root) != HashSize || lines[0] == "" {
		return bad("条数、根或时间无法读取")
	}
	c = Checkpoint{lines[0], size, root, time.UnixMilli(ms).UTC()}
	if string(c.text()) != string(text) {
		return bad("不是规范写法")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(sigs), "\n"), "\n") {
		if !strings.HasPrefix(line, "— ") {
			return bad("含有不是签名的行")
		}
	}
	if !bytes.HasSuffix(sigs, []byte("\n")) {
		return bad("末尾被截断")
	}
	return c, text, sigs, nil
}

func signed(text, sigs []byte, pub *ecdsa.PublicKey, origin string) bool {
	for line := range strings.SplitSeq(strings.TrimSuffix(string(sigs), "\n"), "\n") {
		rest, ok := strings.CutPrefix(line, "— "+origin+" ")
		if !ok {
			continue
		}
		blob, err := base64.StdEncoding.Strict().DecodeString(rest)
		if err != nil || len(blob) < 4 || !bytes.Equal(blob[:4], keyID(origin, alg.Point(pub))) {
			continue
		}
		if alg.Verify(pub, text, blob[4:]) == nil {
			return true
		}
	}
	return false
}

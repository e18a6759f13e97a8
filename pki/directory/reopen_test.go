package directory_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReopenedItGoesOnWhereItWas(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.publish()
	at := s.At().Size()
	s.reopen()
	if s.At().Size() != at || len(s.under(is("cn", "张三"))) != 1 {
		t.Errorf("at %d, was at %d", s.At().Size(), at)
	}
	other := zhang()
	other.CN = "李四"
	s.Pair(other, true)
	s.publish()
	if len(s.under(has("userCertificate"))) != 2 {
		t.Error("the second pair is not there")
	}
}

// However the end of the file was lost, what is left is true and the ledger
// fills it up again.
func TestATornTailIsReadAgainFromTheLedger(t *testing.T) {
	s := stand(t)
	s.Pair(zhang(), true)
	s.publish()
	whole := s.bytes()
	for what, damaged := range map[string][]byte{
		"cut":     whole[:len(whole)-len(whole)/4],
		"flipped": slices.Concat(whole[:len(whole)/2], []byte{whole[len(whole)/2] ^ 1}, whole[len(whole)/2+1:]),
		"zeroed":  slices.Concat(whole[:len(whole)/2], make([]byte, len(whole)-len(whole)/2)),
	} {
		if err := s.damage(damaged); err != nil || len(s.under(has("userCertificate"))) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A power cut may leave zeros in the middle of what was written and keep the
// mark that follows. Zeros of nine octets look like an empty record.
func TestAHoleIsNotTakenForTheEndOfAnEntry(t *testing.T) {
	s := stand(t)
	s.publish()
	before := len(s.bytes())
	for n := zhang(); ; n.CN += "a" {
		c, _ := s.Certify(n.CN)
		s.Record(c, true)
		s.publish()
		whole := s.bytes()
		size := 9 + int(binary.BigEndian.Uint32(whole[before:]))
		if size%9 == 0 {
			clear(whole[before : before+size])
			if err := s.damage(whole); err != nil || len(s.under(is("cn", n.CN))) != 1 {
				t.Errorf("the entry is lost: %v", err)
			}
			return
		}
		before = len(whole)
	}
}

func (s *shelf) bytes() []byte {
	s.T.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "entries.dat"))
	if err != nil {
		s.T.Fatal(err)
	}
	return data
}

// damage opens the directory on other bytes and lets it read the ledger.
func (s *shelf) damage(b []byte) error {
	s.T.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "entries.dat"), b, 0o600); err != nil {
		s.T.Fatal(err)
	}
	s.reopen()
	f := s.Follower()
	f.At = s.At()
	run, err := f.Next(s.T.Context())
	if err == nil {
		err = s.Apply(s.T.Context(), f.Source, run)
	}
	return err
}

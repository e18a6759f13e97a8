package shamir

import (
	"bytes"
	"errors"
	"testing"
)

// slow multiplies as the definition says: polynomials, then the remainder.
func slow(a, b byte) byte {
	var p uint16
	for i := range 8 {
		if b>>i&1 == 1 {
			p ^= uint16(a) << i
		}
	}
	for i := 15; i >= 8; i-- {
		if p>>i&1 == 1 {
			p ^= 0x11B << (i - 8)
		}
	}
	return byte(p)
}

func TestMultiplicationIsThatOfTheFieldForEveryPair(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			if got, want := mul(byte(a), byte(b)), slow(byte(a), byte(b)); got != want {
				t.Fatalf("%02x × %02x = %02x, want %02x", a, b, got, want)
			}
		}
	}
	if mul(0x57, 0x83) != 0xC1 { // FIPS 197 §4.2
		t.Error("not the field of AES")
	}
}

func TestEveryElementButZeroHasAnInverse(t *testing.T) {
	for a := 1; a < 256; a++ {
		if mul(byte(a), inverse(byte(a))) != 1 {
			t.Errorf("%02x has no inverse", a)
		}
	}
}

// subsets calls f with every choice of shares.
func subsets(shares []Share, f func([]Share)) {
	for mask := range 1 << len(shares) {
		var some []Share
		for i, s := range shares {
			if mask>>i&1 == 1 {
				some = append(some, s)
			}
		}
		f(some)
	}
}

func TestEveryKGiveItBackAndFewerDoNot(t *testing.T) {
	secret := []byte("十六字节的密钥！")
	for n := 2; n <= 7; n++ {
		for k := 2; k <= n; k++ {
			shares, err := Split(secret, k, n)
			if err != nil {
				t.Fatal(err)
			}
			subsets(shares, func(some []Share) {
				got, err := Combine(some)
				if len(some) < k {
					if !errors.Is(err, ErrTooFew) {
						t.Fatalf("%d of %d, %d shares: %v", k, n, len(some), err)
					}
				} else if err != nil || !bytes.Equal(got, secret) {
					t.Fatalf("%d of %d, %d shares: %q %v", k, n, len(some), got, err)
				}
			})
		}
	}
}

// With k−1 shares every secret is still possible: for each there is a last
// share that would give it.
func TestFewerSharesTellNothing(t *testing.T) {
	shares, err := Split([]byte{0x5A}, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	possible := map[byte]bool{}
	for v := range 256 {
		last := shares[2]
		last.Value = []byte{byte(v)}
		got, err := Combine([]Share{shares[0], shares[1], last})
		if err != nil {
			t.Fatal(err)
		}
		possible[got[0]] = true
	}
	if len(possible) != 256 {
		t.Errorf("%d secrets are possible, want all", len(possible))
	}
}

func TestTheGreatestNumberOfSharesWorks(t *testing.T) {
	shares, err := Split([]byte("s"), SharesMax, SharesMax)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Combine(shares); err != nil || string(got) != "s" {
		t.Errorf("%q %v", got, err)
	}
}

func TestSharesOfTwoSplitsAreNotMixed(t *testing.T) {
	a, _ := Split([]byte("same"), 2, 3)
	b, _ := Split([]byte("same"), 2, 3)
	if _, err := Combine([]Share{a[0], b[1]}); !errors.Is(err, ErrMixed) {
		t.Errorf("got %v", err)
	}
	if _, err := Combine([]Share{a[0], a[0]}); !errors.Is(err, ErrTooFew) {
		t.Errorf("one share twice: %v", err)
	}
	bad := a[2]
	bad.Value = bytes.Repeat([]byte{1}, 4)
	if _, err := Combine([]Share{a[0], a[1], bad}); !errors.Is(err, ErrShare) {
		t.Errorf("one too many, and wrong: %v", err)
	}
}

func TestAnyFlippedBitOfAShareIsFound(t *testing.T) {
	shares, _ := Split([]byte("secret"), 2, 2)
	whole := shares[0].Bytes()
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if _, err := Parse(b); !errors.Is(err, ErrShare) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
}

func TestOddParametersAreRefused(t *testing.T) {
	for _, c := range []struct{ k, n, size int }{{1, 3, 8}, {4, 3, 8}, {2, 256, 8}, {2, 3, 0}, {2, 3, secretMax + 1}} {
		if _, err := Split(make([]byte, c.size), c.k, c.n); !errors.Is(err, ErrParameters) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	shares, _ := Split([]byte("secret"), 2, 3)
	f.Add(shares[0].Bytes())
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err == nil && !bytes.Equal(s.Bytes(), b) {
			t.Errorf("%x reads as %x", b, s.Bytes())
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("secret"), 2, 3)
	f.Fuzz(func(t *testing.T, secret []byte, k, n int) {
		shares, err := Split(secret, k, n)
		if err != nil {
			return
		}
		got, err := Combine(shares[n-k:])
		if err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%d of %d: %x, want %x: %v", k, n, got, secret, err)
		}
	})
}

package quorum

import (
	"crypto"
	"crypto/ecdsa"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/zone/desk"
)

// Minutes are the record of one ceremony: each step with who was there, when,
// and the SM3 of what it was about, chained; statements of those who took part;
// and, once it has ended, the signature of the zone's audit key. (纪要)
type Minutes struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"` // "init", "reshare" or "destroy"
	Zone      string    `json:"zone"`
	Subject   string    `json:"subject,omitempty"` // what it is about: a key's label
	Begun     time.Time `json:"begun"`
	Steps     []Step    `json:"steps"`
	Key       []byte    `json:"key,omitempty"`       // point of the audit key
	Signature []byte    `json:"signature,omitempty"` // over the last sum; none while under way
}

// Step is one thing that was done.
type Step struct {
	Name   string      `json:"name"` // what a ceremony that goes on looks for
	At     time.Time   `json:"at"`
	Text   string      `json:"text"`
	Who    []string    `json:"who,omitempty"`
	Digest string      `json:"sm3,omitempty"` // of what the step is about
	Prev   string      `json:"prev"`
	Sum    string      `json:"sum"`
	Signed []Statement `json:"signed,omitempty"`
}

// Statement is what somebody signed about a step.
type Statement struct {
	Name      string `json:"name"`
	Cert      []byte `json:"cert"`
	Signature []byte `json:"signature"`
}

var kinds = map[string]string{"init": "密钥分管仪式", "reshare": "更换份额仪式", "destroy": "密钥销毁仪式"}

// Title is what the ceremony is called.
func (m *Minutes) Title() string { return Zones[m.Zone] + kinds[m.Kind] }

// Closed reports whether it ended and was signed.
func (m *Minutes) Closed() bool { return len(m.Signature) > 0 }

func (s Step) sum(id string) string {
	s.Sum, s.Signed = "", nil
	data, err := json.Marshal(s)
	if err != nil {
		panic("quorum: plain data: " + err.Error())
	}
	return hex.EncodeToString(alg.Digest([]byte(id), []byte{0}, data))
}

// head is what the chain begins with: which ceremony this is.
func (m *Minutes) head() string {
	return hex.EncodeToString(alg.Digest(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s", m.ID, m.Kind, m.Zone, m.Subject, m.Begun.UTC().Format(time.RFC3339))))
}

// text is what those present sign of a step: readable, and bound to all before
// it by the sum.
func (m *Minutes) text(s Step) []byte {
	return fmt.Appendf(nil, "虎符密钥仪式\n纪要：%s（%s）\n步骤：%s\n时间：%s\n校验：%s\n", m.ID, m.Title(), s.Text, s.At.Format(time.RFC3339), s.Sum)
}

func (m *Minutes) has(name string) bool {
	return slices.ContainsFunc(m.Steps, func(s Step) bool { return s.Name == name })
}

// minutesMax bounds a file read, listMax the ceremonies of a folder.
const (
	minutesMax = 1 << 20
	listMax    = 10_000
)

func (z Zone) minutesFile(id string) string { return filepath.Join(z.Dir, "ceremony", id+".json") }

// begin opens minutes, or goes on with those of the same kind and subject that
// were not closed.
func (z Zone) begin(kind, subject string) (*Minutes, error) {
	all, err := List(z.Dir)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Kind == kind && m.Zone == z.Name && m.Subject == subject && !m.Closed() {
			return m, nil
		}
	}
	now := z.Now().UTC().Truncate(time.Second)
	return &Minutes{ID: strings.ToLower(fmt.Sprintf("%s-%s-%s-%d", kind, z.Name, now.Format("20060102150405"), len(all)+1)), Kind: kind, Zone: z.Name, Subject: subject, Begun: now}, nil
}

// note adds a step, signed by those present, and keeps the minutes.
func (z Zone) note(m *Minutes, name string, present []*desk.Person, digest []byte, format string, args ...any) error {
	s := Step{Name: name, At: z.Now().UTC().Truncate(time.Second), Text: fmt.Sprintf(format, args...), Digest: hex.EncodeToString(digest)}
	if s.Prev = m.head(); len(m.Steps) > 0 {
		s.Prev = m.Steps[len(m.Steps)-1].Sum
	}
	for _, p := range present {
		c, err := cert.Parse(p.Cert)
		if err != nil {
			return err
		}
		s.Who = append(s.Who, nameOf(c))
	}
	s.Sum = s.sum(m.ID)
	for i, p := range present {
		sig, err := alg.Sign(p.Key, m.text(s))
		if err != nil {
			return fmt.Errorf("%s 签名: %w", s.Who[i], err)
		}
		s.Signed = append(s.Signed, Statement{s.Who[i], p.Cert, sig})
	}
	m.Steps = append(m.Steps, s)
	return z.keep(m)
}

func (z Zone) keep(m *Minutes) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return write(z.minutesFile(m.ID), data)
}

func (m *Minutes) last() []byte {
	if len(m.Steps) == 0 {
		return []byte(m.ID)
	}
	return []byte(m.ID + "\n" + m.Steps[len(m.Steps)-1].Sum)
}

// close signs the minutes.
func (z Zone) close(m *Minutes, key crypto.Signer) error {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return errors.New("audit key is not an SM2 key")
	}
	sig, err := alg.Sign(key, m.last())
	if err != nil {
		return err
	}
	m.Key, m.Signature = alg.Point(pub), sig
	return z.keep(m)
}

// List reads the minutes of a folder, oldest first.
func List(dir string) (list []*Minutes, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "ceremony", "*.json"))
	if err != nil {
		return nil, err
	}
	if len(names) > listMax {
		return nil, fmt.Errorf("more than %d ceremonies", listMax)
	}
	for _, name := range names {
		m, err := Read(dir, strings.TrimSuffix(filepath.Base(name), ".json"))
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b *Minutes) int { return a.Begun.Compare(b.Begun) })
	return list, nil
}

// Read reads minutes and checks the chain, every statement and the closing
// signature: nothing was changed, left out or put in between.
func Read(dir, id string) (*Minutes, error) {
	if id != filepath.Base(id) {
		return nil, NoMinutes.At("id", NoMinutes.Clause)
	}
	data, err := os.ReadFile(filepath.Join(dir, "ceremony", id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, NoMinutes.At("id", NoMinutes.Clause).Because("%.60q", id)
	}
	if err != nil {
		return nil, err
	}
	var m Minutes
	if len(data) > minutesMax || strict.JSON(data, &m) != nil || m.ID != id {
		return nil, Altered.At("id", Altered.Clause).Because("%s", id)
	}
	return &m, m.verify()
}

func (m *Minutes) verify() error {
	prev := m.head()
	for i, s := range m.Steps {
		if s.Prev != prev || s.sum(m.ID) != s.Sum {
			return Altered.At(fmt.Sprintf("steps[%d]", i), Altered.Clause).Because("第 %d 步", i+1)
		}
		prev = s.Sum
		for _, by := range s.Signed {
			c, err := cert.Parse(by.Cert)
			if err != nil || by.Name != nameOf(c) || !slices.Contains(s.Who, by.Name) || alg.Verify(c.PublicKey(), m.text(s), by.Signature) != nil {
				return Altered.At(fmt.Sprintf("steps[%d].signed", i), Altered.Clause).Because("第 %d 步 %s 的签名无效", i+1, by.Name)
			}
		}
	}
	if !m.Closed() {
		return nil
	}
	key, err := alg.PublicKey(m.Key)
	if err != nil || alg.Verify(key, m.last(), m.Signature) != nil {
		return Altered.At("signature", Altered.Clause).Because("审计密钥的签名无效")
	}
	return nil
}

//go:embed minutes.html
var page string

var printed = template.Must(template.New("minutes").Funcs(template.FuncMap{
	"time": func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") },
	"hex":  func(b []byte) string { return hex.EncodeToString(alg.Digest(b)) },
	"sig":  func(b []byte) string { return hex.EncodeToString(b) },
	"inc":  func(i int) int { return i + 1 },
}).Parse(page))

// Print writes the minutes as a page to be printed and signed by hand as well:
// no script, nothing from elsewhere.
func (m *Minutes) Print(w io.Writer) error { return printed.Execute(w, m) }

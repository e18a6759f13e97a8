package ra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/casework"
)

// Ways in which personal data is read, as the trail and the statistic say it.
const (
	ByShow     = "show"     // a case whole: the subject as the certificate has it
	ByNumber   = "number"   // the number of the identity document
	ByEvidence = "evidence" // a file of the identity check
	ByBundle   = "bundle"   // the evidence file of a certificate
	ByExport   = "export"   // a list with names and numbers
	ByUnit     = "unit"     // the people of a unit
)

// Ways are what people call them.
var Ways = map[string]string{ByShow: "查看案件或证书", ByNumber: "查看证件号码", ByEvidence: "查阅查验材料", ByBundle: "取得证据文件", ByExport: "导出个人信息", ByUnit: "查看单位经办人"}

// ReadAct is the item of the trail under which personal data is read.
const ReadAct = "ra.personal.read"

// Reading is one reading of personal data, written before the data is handed
// out. (查阅个人信息, 个人信息保护法 第五十一条)
type Reading struct {
	Who    access.PersonID
	Way    string   // key of Ways
	Object string   // case, or SM3 of a file
	Fields []string // which
	Count  int      // people concerned
	Why    string   // as stated, where it is asked for
	At     time.Time
}

// ReadCount is how often somebody read personal data in one way.
type ReadCount struct {
	Who   access.PersonID `json:"who"`
	Way   string          `json:"way"`
	Times int             `json:"times"`  // readings
	Cases int             `json:"people"` // people concerned, over all readings
	Last  time.Time       `json:"last"`
}

// ReadingStore counts readings of personal data.
type ReadingStore interface {
	// Read counts a reading and writes its line to the trail.
	Read(ctx context.Context, r Reading, line audit.Entry) error
	// Readings sums them by person and way over whole days, in UTC, from the first
	// to the last, in order of person and way.
	Readings(ctx context.Context, from, to time.Time) ([]ReadCount, error)
}

// papers are the kinds of documents that name a natural person.
var papers = []string{"resident-id", "passport", "military-id"}

// Personal reports whether certificates of a profile are about natural persons.
func (r *Registrar) Personal(profile string) bool {
	return slices.ContainsFunc(r.InForce()[profile].Identity, func(k string) bool { return slices.Contains(papers, k) })
}

// Called is what lists call a case: natural persons by the first character of
// their name and ＊, whatever its length.
func (r *Registrar) Called(rec Record) string { return r.called(rec.Title, rec.Profile) }

func (r *Registrar) called(title, profile string) string {
	first, size := utf8.DecodeRuneInString(title)
	if size == 0 || !r.Personal(profile) {
		return title
	}
	return string(first) + "＊"
}

// Seen writes that a person reads personal data, before they do.
func (r *Registrar) Seen(ctx context.Context, who access.Person, s Reading, source string) error {
	s.Who, s.At = who.ID, r.Now().UTC()
	line := r.line(who, ReadAct, s.Object, source)
	line.Detail = Ways[s.Way] + "：" + strings.Join(s.Fields, " ")
	if s.Way == ByExport {
		line.Detail += fmt.Sprintf("，%d 件", s.Count)
	}
	if s.Why != "" {
		line.Detail += "；事由：" + s.Why
	}
	if err := r.Store.Read(ctx, s, line); err != nil {
		return fmt.Errorf("writing a reading of personal data: %w", err)
	}
	if r.Read != nil {
		r.Read(s.Way, s.Count)
	}
	return nil
}

// SeenCase writes that a person reads the subject of a case; of a case about
// nobody in particular nothing is written.
func (r *Registrar) SeenCase(ctx context.Context, who access.Person, way string, rec Record, source string) error {
	if !r.Personal(rec.Profile) {
		return nil
	}
	return r.Seen(ctx, who, Reading{Way: way, Object: rec.ID, Fields: []string{"subject"}, Count: 1}, source)
}

// Who may see the number of an identity document, and who take many away.
var (
	numberers = []access.Role{access.RAClerk, access.RAReviewer}
	exporters = []access.Role{access.RAClerk, access.RAReviewer, access.RAAdmin}
)

// Why checks a stated reason: what is done to personal data has a purpose that
// can be read afterwards.
func Why(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	if n := utf8.RuneCountInString(reason); n < 2 || n > NoteMax {
		return "", NoWhy.At("reason", NoWhy.Clause).Because("事由须为 2 至 %d 字，现为 %d 字", NoteMax, n)
	}
	return reason, nil
}

// Number returns the number of a case's identity document to somebody who
// works on cases and says why; the reading is on the trail first.
func (r *Registrar) Number(ctx context.Context, id, reason string, who access.Person, source string) (kind, number string, err error) {
	if !slices.ContainsFunc(numberers, who.Holds) {
		return "", "", casework.NotYours.At("role", casework.NotYours.Clause).Because("证件号码由录入员或审核员查看")
	}
	why, err := Why(reason)
	if err != nil {
		return "", "", err
	}
	rec, err := r.Store.Case(ctx, id)
	if err != nil {
		return "", "", err
	}
	if at, proposal, gone, err := r.Store.WasForgotten(ctx, id); err != nil {
		return "", "", err
	} else if gone {
		return "", "", Forgotten.At("id", Forgotten.Clause).Because("%s 销毁，变更 %s", at.In(beijing).Format("2006-01-02"), proposal)
	}
	if kind, number, err = r.document(rec); err != nil {
		return "", "", err
	}
	if err := r.Seen(ctx, who, Reading{Way: ByNumber, Object: id, Fields: []string{"identity.number"}, Count: 1, Why: why}, source); err != nil {
		return "", "", err
	}
	return kind, number, nil
}

// document opens the identity document of an application.
func (r *Registrar) document(rec Record) (kind, number string, err error) {
	if !Issues(rec.Kind) {
		return "", "", NoCase.At("id", NoCase.Clause).Because("%s 不是证书申请，没有证件；单位的经办人在单位页查看", rec.ID)
	}
	app, err := applicationOf(rec.Content)
	if err != nil {
		return "", "", err
	}
	if rec.Identity.Number.Blob != nil { // else the case was taken back from what was published
		number, err = r.openNumber(rec)
	}
	return app.Identity.Kind, number, err
}

// saltSize is the salt of a commitment, in bytes.
const saltSize = 16

// seal seals a number with the salt of its commitment: beside a commitment, a
// salt in the clear would let the number be guessed.
func (r *Registrar) seal(id, number string, salt []byte) (Sealed, error) {
	wrapped, err := r.Device.Wrap(r.Master, append(slices.Clone(salt), number...), []byte("identity-salted:"+id))
	if err != nil {
		return Sealed{}, fmt.Errorf("sealing identity: %w", err)
	}
	return Sealed{Number: wrapped, Salted: true, Blind: r.Blind(number)}, nil
}

// openNumber opens the number of one case, sealed with its salt or, in earlier
// cases, alone.
func (r *Registrar) openNumber(rec Record) (string, error) {
	bound := "identity:"
	if rec.Identity.Salted {
		bound = "identity-salted:"
	}
	secret, err := r.Device.Unwrap(r.Master, rec.Identity.Number, []byte(bound+rec.ID))
	if err != nil {
		return "", fmt.Errorf("opening identity: %w", err)
	}
	if rec.Identity.Salted {
		if len(secret) < saltSize {
			return "", fmt.Errorf("opening identity of %s: too short", rec.ID)
		}
		secret = secret[saltSize:]
	}
	return string(secret), nil
}

// Revealed is a case of an export with the personal data in it.
type Revealed struct {
	Record
	Document, Number string
}

// takes checks that somebody may take a list away as they ask for it, and why.
func takes(who access.Person, personal bool, reason string) (why string, err error) {
	if !personal {
		return "", nil
	}
	if !slices.ContainsFunc(exporters, who.Holds) {
		return "", casework.NotYours.At("role", casework.NotYours.Clause).Because("个人信息由录入员、审核员或业务管理员导出")
	}
	return Why(reason)
}

// Export lists cases, at most ExportMax. With personal data it needs a reason,
// which is on the trail before anything is handed out.
func (r *Registrar) Export(ctx context.Context, q Query, personal bool, reason string, who access.Person, source string) ([]Revealed, error) {
	why, err := takes(who, personal, reason)
	if err != nil {
		return nil, err
	}
	var list []Revealed
	for q.Limit = PageMax; len(list) < ExportMax; {
		page, err := r.Store.Find(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, rec := range page {
			one := Revealed{Record: rec}
			if !personal {
				one.Title = r.Called(rec)
			} else if Issues(rec.Kind) {
				if one.Document, one.Number, err = r.document(rec); err != nil {
					return nil, err
				}
			}
			list = append(list, one)
		}
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].ID
	}
	if !personal {
		return list, r.Note(ctx, who, "ra.export", fmt.Sprintf("%d 件（遮盖）", len(list)), source)
	}
	if err := r.Seen(ctx, who, Reading{Way: ByExport, Object: "cases", Fields: []string{"subject.CN", "identity.number"}, Count: len(list), Why: why}, source); err != nil {
		return nil, err
	}
	return list, nil
}

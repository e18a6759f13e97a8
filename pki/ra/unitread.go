package ra

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/identity"
)

// UnitSecret is what the register keeps sealed of a unit: people, and how to
// reach them.
type UnitSecret struct {
	Legal  string `json:"legal,omitempty"`
	Name   string `json:"name"`
	Phone  string `json:"phone"`
	Email  string `json:"email,omitempty"`
	Kind   string `json:"kind"`
	Number string `json:"number"`
}

func (s UnitSecret) bytes() []byte {
	data, err := json.Marshal(s)
	if err != nil {
		panic("ra: plain data: " + err.Error())
	}
	return data
}

// masked is what lists and statements show.
func (s UnitSecret) masked() Agent {
	first := func(name string) string {
		r, size := utf8.DecodeRuneInString(name)
		if size == 0 {
			return ""
		}
		return string(r) + "＊"
	}
	a := Agent{Legal: first(s.Legal), Name: first(s.Name), Phone: identity.Mask(s.Phone), Kind: s.Kind, Number: identity.Mask(s.Number)}
	if _, host, ok := strings.Cut(s.Email, "@"); ok {
		a.Email = first(s.Email) + "@" + host
	}
	return a
}

// unitSecret is what a change will seal: of an amendment, what is left out is
// taken from what is sealed already.
func (r *Registrar) unitSecret(was Unit, f UnitForm) (UnitSecret, error) {
	var s UnitSecret
	if f.Do == UnitAmend {
		var err error
		if s, err = r.openUnit(was); err != nil {
			return s, err
		}
	}
	for _, one := range []struct {
		to   *string
		from string
	}{{&s.Legal, f.Agent.Legal}, {&s.Name, f.Agent.Name}, {&s.Phone, f.Agent.Phone}, {&s.Email, f.Agent.Email}, {&s.Kind, f.Agent.Kind}, {&s.Number, strings.ToUpper(f.Agent.Number)}} {
		if one.from != "" {
			*one.to = one.from
		}
	}
	return s, nil
}

func (r *Registrar) openUnit(u Unit) (s UnitSecret, err error) {
	text, err := r.openNumber(Record{Case: casework.Case{ID: u.Origin}, Identity: u.Sealed})
	if err != nil {
		return s, fmt.Errorf("unit %s: %w", u.Code, err)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("unit %s: %w", u.Code, err)
	}
	return s, nil
}

// unitFields are the sealed fields, as the trail names them.
var unitFields = []string{"unit.legal", "unit.agent"}

// UnitAgent opens who handles matters for a unit, to somebody who works on cases
// and says why; the reading is on the trail first.
func (r *Registrar) UnitAgent(ctx context.Context, code, reason string, who access.Person, source string) (UnitSecret, error) {
	if !slices.ContainsFunc(numberers, who.Holds) {
		return UnitSecret{}, casework.NotYours.At("role", casework.NotYours.Clause).Because("经办人信息由录入员或审核员查看")
	}
	why, err := Why(reason)
	if err != nil {
		return UnitSecret{}, err
	}
	u, err := r.Store.Unit(ctx, strings.ToUpper(code))
	if err != nil {
		return UnitSecret{}, err
	}
	s, err := r.openUnit(u)
	if err != nil {
		return UnitSecret{}, err
	}
	return s, r.Seen(ctx, who, Reading{Way: ByUnit, Object: u.Code, Fields: unitFields, Count: 1, Why: why}, source)
}

// RevealedUnit is a unit of an export with the people in it.
type RevealedUnit struct {
	Unit
	Secret UnitSecret
}

// ExportUnits lists units, at most ExportMax; with people in them it needs a
// reason, which is on the trail before anything is handed out.
func (r *Registrar) ExportUnits(ctx context.Context, q UnitQuery, personal bool, reason string, who access.Person, source string) ([]RevealedUnit, error) {
	why := ""
	if personal {
		if !slices.ContainsFunc(exporters, who.Holds) {
			return nil, casework.NotYours.At("role", casework.NotYours.Clause).Because("个人信息由录入员、审核员或业务管理员导出")
		}
		var err error
		if why, err = Why(reason); err != nil {
			return nil, err
		}
	}
	list := []RevealedUnit{}
	for q.Limit, q.Today = PageMax, r.today(); len(list) < ExportMax; {
		page, err := r.Store.Units(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, u := range page {
			one := RevealedUnit{Unit: u}
			if personal {
				if one.Secret, err = r.openUnit(u); err != nil {
					return nil, err
				}
			}
			list = append(list, one)
		}
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].Code
	}
	if !personal {
		return list, r.Note(ctx, who, "ra.export", fmt.Sprintf("单位 %d 家（遮盖）", len(list)), source)
	}
	return list, r.Seen(ctx, who, Reading{Way: ByExport, Object: "units", Fields: unitFields, Count: len(list), Why: why}, source)
}

// FindUnits lists a page of units as of today.
func (r *Registrar) FindUnits(ctx context.Context, q UnitQuery) ([]Unit, error) {
	q.Today = r.today()
	return r.Store.Units(ctx, q)
}

// UnitStatus is how a unit stands today: "good", "suspended" or "expired".
func (r *Registrar) UnitStatus(u Unit) string {
	switch today := r.today(); {
	case u.Suspended:
		return "suspended"
	case today < u.Letter.From || today > u.Letter.To:
		return "expired"
	}
	return "good"
}

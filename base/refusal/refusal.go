// Package refusal names the reasons the system says no. (拒绝原因)
//
// A refusal is expected and explained to a person: which field, which clause,
// what to do about it. Any other error is a failure, logged in full and shown
// only as a reference number.
package refusal

import (
	"errors"
	"fmt"
)

// Kind says what sort of no it is. Each protocol maps kinds once, at its edge.
type Kind int

const (
	Invalid   Kind = iota + 1 // the request itself is wrong
	Forbidden                 // this person may not
	NotFound                  // there is no such thing
	Conflict                  // it has moved on meanwhile
	Limit                     // a bound was reached
)

// Reason is one way the system says no. Rooms declare theirs in reasons.go.
type Reason struct {
	Kind   Kind
	Code   string // stable, for programs: "ra.key_in_use"
	Text   string // for people, in Chinese
	Clause string // the rule behind it, when it is always the same one
	Fix    string // what the person can do, in Chinese
}

func (r *Reason) Error() string { return r.Code }

// At names the field at fault and the clause it offends.
func (r *Reason) At(field, clause string) *Refusal {
	return &Refusal{Reason: r, Field: field, Clause: clause, Fix: r.Fix}
}

// Because adds a detail that the person sees after the text. It must never
// carry a private key or an identity number.
func (r *Reason) Because(format string, args ...any) *Refusal {
	return r.At("", r.Clause).Because(format, args...)
}

// Refusal is a Reason met at one place. It is an error.
type Refusal struct {
	Reason *Reason
	Field  string
	Clause string
	Fix    string
	Detail string
}

func (f *Refusal) Error() string {
	if f.Detail == "" {
		return f.Reason.Code
	}
	return f.Reason.Code + ": " + f.Detail
}

func (f *Refusal) Unwrap() error { return f.Reason }

// Because returns a copy of f with a detail for the person.
func (f *Refusal) Because(format string, args ...any) *Refusal {
	c := *f
	c.Detail = fmt.Sprintf(format, args...)
	return &c
}

// ToFix returns a copy of f that tells the person what to do.
func (f *Refusal) ToFix(fix string) *Refusal {
	c := *f
	c.Fix = fix
	return &c
}

// Under returns a copy of f whose field is named from outside: "rows[3].csr".
func (f *Refusal) Under(prefix string) *Refusal {
	c := *f
	c.Field = prefix + f.Field
	return &c
}

// Report is a refusal as programs receive it, one line of JSON.
type Report struct {
	Code   string `json:"code"`
	Field  string `json:"field"`
	Clause string `json:"clause"`
	Fix    string `json:"fix"`
	Text   string `json:"text"`
}

// Of returns the refusal inside err, or nil when err is a failure.
func Of(err error) *Refusal {
	if f, ok := errors.AsType[*Refusal](err); ok {
		return f
	}
	if r, ok := errors.AsType[*Reason](err); ok {
		return r.At("", r.Clause)
	}
	return nil
}

// Report puts f into the words a person or a program receives.
func (f *Refusal) Report() Report {
	text := f.Reason.Text
	if f.Detail != "" {
		text += "：" + f.Detail
	}
	r := Report{f.Reason.Code, f.Field, f.Clause, f.Fix, text}
	if r.Clause == "" {
		r.Clause = f.Reason.Clause
	}
	return r
}

// FromReport rebuilds a refusal that travelled over a wire.
func FromReport(kind Kind, r Report) *Refusal {
	return &Refusal{Reason: &Reason{Kind: kind, Code: r.Code, Text: r.Text}, Field: r.Field, Clause: r.Clause, Fix: r.Fix}
}

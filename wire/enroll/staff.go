package enroll

import (
	"time"

	"github.com/hufu-pki/hufu/access"
)

// Staff is a change to the registration system's people as they decided it
// there: the content and what two of them signed. The CA checks it again.
type Staff struct {
	ID       string     `json:"id"` // of the proposal
	Matter   string     `json:"matter"`
	Content  []byte     `json:"content"`
	Evidence []Evidence `json:"evidence"`
}

type changed struct {
	Cert []byte `json:"cert,omitempty"`
}

type known struct {
	Digest []byte `json:"digest"`
}

// Member is one certificate of somebody who works, or worked, at a
// registration system.
type Member struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Roles  []access.Role `json:"roles"`
	Cert   []byte        `json:"cert"`
	Frozen bool          `json:"frozen,omitempty"`
	Ended  int64         `json:"ended,omitempty"` // Unix milliseconds
}

// Roster is the registration system's people as the CA has them on its
// register, or the word that nothing changed. (人员名册)
type Roster struct {
	Same    bool     `json:"same,omitempty"`
	Members []Member `json:"members,omitempty"`
}

// RosterOf writes people down.
func RosterOf(people []access.Person) Roster {
	var r Roster
	for _, p := range people {
		m := Member{ID: string(p.ID), Name: p.Name, Roles: p.Roles, Cert: p.Cert, Frozen: p.Disabled}
		if !p.Ended.IsZero() {
			m.Ended = p.Ended.UnixMilli()
		}
		r.Members = append(r.Members, m)
	}
	return r
}

// People reads them back.
func (r Roster) People() ([]access.Person, error) {
	var list []access.Person
	for _, m := range r.Members {
		p, err := access.PersonOf(access.PersonID(m.ID), m.Name, m.Cert, m.Roles...)
		if err != nil {
			return nil, err
		}
		if p.Disabled = m.Frozen; m.Ended != 0 {
			p.Ended = time.UnixMilli(m.Ended).UTC()
		}
		list = append(list, p)
	}
	return list, nil
}

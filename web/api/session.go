package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/base/sqldb"
)

// CookieName is the session's.
const CookieName = "hufu_session"

const (
	idleMax    = 30 * time.Minute // a desk left alone locks itself
	sessionMax = 12 * time.Hour
	crowd      = 10000
)

type session struct {
	person      access.Person
	began, seen time.Time
}

// sessions are kept in memory: after a restart everybody signs in again.
type sessions struct {
	mu sync.Mutex
	m  map[string]*session
}

func (s *sessions) find(token string, now time.Time) (access.Person, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.m[token]
	if v == nil || token == "" {
		return access.Person{}, false
	}
	if now.Sub(v.seen) > idleMax || now.Sub(v.began) > sessionMax || now.After(v.person.NotAfter) {
		delete(s.m, token)
		return access.Person{}, false
	}
	v.seen = now
	return v.person, true
}

func (s *sessions) begin(p access.Person, now time.Time) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*session{}
	}
	if len(s.m) >= crowd {
		for k, v := range s.m {
			if now.Sub(v.seen) > idleMax {
				delete(s.m, k)
			}
		}
	}
	if len(s.m) >= crowd {
		return "", Crowded.Because("%d", len(s.m))
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // crypto/rand never fails
	token := base64.RawURLEncoding.EncodeToString(b)
	s.m[token] = &session{p, now, now}
	return token, nil
}

func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, token)
}

// ActSignIn is the statement a person signs to sign in.
const ActSignIn = "session.sign-in"

const signInTitle, signInObject = "登录", "本系统控制台"

// Prepared is a statement to be signed: its text, and what has to come back.
type Prepared struct {
	Text  string    `json:"text"`
	At    time.Time `json:"at"`
	Nonce string    `json:"nonce"`
	ID    string    `json:"id,omitempty"` // of a case the act will open
	Last  int64     `json:"last,omitempty"`
}

// PreparedOf is a statement on its way to the signer.
func PreparedOf(st access.Statement) Prepared {
	return Prepared{Text: string(st.Text()), At: st.At, Nonce: st.Nonce}
}

// Me is who is signed in.
type Me struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Roles  []string `json:"roles"`
	Titles []string `json:"titles"`
	Serial string   `json:"serial"`
	Token  string   `json:"token,omitempty"`
}

func me(p access.Person, token string) Me {
	m := Me{ID: string(p.ID), Name: p.Name, Serial: p.Serial, Token: token}
	for _, r := range p.Roles {
		m.Roles, m.Titles = append(m.Roles, string(r)), append(m.Titles, r.Title())
	}
	return m
}

func (s *Site) session() {
	type certIn struct {
		Body struct {
			Cert []byte `json:"cert"`
		}
	}
	Handle(s, Op{ID: "session-prepare", Method: http.MethodPost, Path: "/api/v1/session/prepare", Summary: "登录声明", Open: true},
		func(ctx context.Context, in *certIn) (*Body[Prepared], error) {
			p, err := s.Desk.Who(ctx, in.Body.Cert)
			if err == nil {
				err = s.known(p)
			}
			if err != nil {
				return nil, s.turned(ctx, whoever(p), ActSignIn, err)
			}
			return &Body[Prepared]{PreparedOf(s.Desk.Draft(p, ActSignIn, signInTitle, signInObject, "", nil))}, nil
		})
	type claimIn struct{ Body access.Claim }
	type signedIn struct {
		Cookie string `header:"Set-Cookie"`
		Body   Me
	}
	Handle(s, Op{ID: "session-begin", Method: http.MethodPost, Path: "/api/v1/session", Summary: "登录", Open: true},
		func(ctx context.Context, in *claimIn) (*signedIn, error) {
			cmd, err := s.Desk.Verify(ctx, in.Body, ActSignIn, signInTitle, signInObject, "", nil)
			if err == nil {
				err = s.known(cmd.Who())
			}
			if err != nil {
				return nil, s.turned(ctx, whoever(cmd.Who()), ActSignIn, err)
			}
			if err := s.admit(ctx, cmd); err != nil {
				return nil, err
			}
			token, err := s.sessions.begin(cmd.Who(), s.Now())
			if err != nil {
				return nil, err
			}
			return &signedIn{s.cookie(token, int(sessionMax.Seconds())), me(cmd.Who(), token)}, nil
		})
	type signedOut struct {
		Cookie string `header:"Set-Cookie"`
	}
	Handle(s, Op{ID: "session-end", Method: http.MethodDelete, Path: "/api/v1/session", Summary: "退出登录"},
		func(ctx context.Context, _ *struct{}) (*signedOut, error) {
			token, _ := ctx.Value(tokenKey).(string)
			s.sessions.end(token)
			return &signedOut{s.cookie("", -1)}, s.note(ctx, Person(ctx), "session.sign-out", audit.Done, "")
		})
	Handle(s, Op{ID: "me", Method: http.MethodGet, Path: "/api/v1/me", Summary: "当前人员"},
		func(ctx context.Context, _ *struct{}) (*Body[Me], error) { return &Body[Me]{me(Person(ctx), "")}, nil })
}

// known refuses people of the register who have no business here: a core's
// register also has those of the systems it checks signatures for.
func (s *Site) known(p access.Person) error {
	if len(s.Staff) == 0 || slices.ContainsFunc(s.Staff, p.Holds) {
		return nil
	}
	return access.WrongRole.At("certificate", access.WrongRole.Clause).Because("%s 不是本系统的人员", p.ID)
}

// whoever is the person's id, or a mark for somebody unknown.
func whoever(p access.Person) string {
	if p.ID == "" {
		return "?"
	}
	return string(p.ID)
}

func (s *Site) cookie(token string, seconds int) string {
	c := http.Cookie{Name: s.cookieName(), Value: token, Path: s.Under + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.Secure, MaxAge: seconds}
	return c.String()
}

func (s *Site) cookieName() string {
	if s.Cookie != "" {
		return s.Cookie
	}
	return CookieName
}

// admit uses up the signed statement and writes the sign-in down, together:
// whoever has seen one go by cannot sign in with it again.
func (s *Site) admit(ctx context.Context, cmd access.Command) error {
	return s.Trail.DB.Write(ctx, func(tx *sqldb.Tx) error {
		if err := access.Spend(tx, cmd, s.Now()); err != nil {
			return err
		}
		return audit.Append(tx, s.line(ctx, cmd.Who(), ActSignIn, audit.Done, ""))
	})
}

// note writes one line to the trail in a transaction of its own.
func (s *Site) note(ctx context.Context, who access.Person, item, result, detail string) error {
	return s.Trail.Refuse(ctx, s.line(ctx, who, item, result, detail))
}

func (s *Site) line(ctx context.Context, who access.Person, item, result, detail string) audit.Entry {
	now := s.Now()
	role := ""
	if len(who.Roles) > 0 {
		role = string(who.Roles[0])
	}
	return audit.Entry{Start: now, End: now, Who: string(who.ID), Role: role, Item: item, Result: result, Source: Source(ctx), Detail: detail}
}

// turned records a refusal of authority. If the trail cannot be written the
// failure is what the caller sees.
func (s *Site) turned(ctx context.Context, who, item string, err error) error {
	f := refusal.Of(err)
	if f == nil || f.Reason.Kind != refusal.Forbidden {
		return err
	}
	if e := s.note(ctx, access.Person{ID: access.PersonID(who)}, item, f.Reason.Code, f.Detail); e != nil {
		return e
	}
	return err
}

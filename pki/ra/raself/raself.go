// Package raself is where subscribers help themselves: with the key of a
// certificate in hand they see what is theirs and ask for its renewal, freezing
// or revocation. (自助服务)
package raself

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/refusal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Under is the path the service lies at.
const Under = "/self"

const cookie = "hufu_self"

// Service offers subscribers the desk's verbs that are theirs.
type Service struct {
	Desk *ra.Registrar
	Mark string // a standing warning on every page; may be empty
	site *api.Site

	addresses, certificates limiter
}

// Limits, and why: an office behind one address signs in together in the
// morning; a person asks for a handful of things a year.
const (
	perAddress     = 120 // posts in a minute
	perCertificate = 20  // wishes prepared in an hour
)

// Handler serves pages and interface, to be mounted at Under + "/".
func (s *Service) Handler(trail *audit.Trail) (http.Handler, error) {
	s.addresses = limiter{max: perAddress, per: time.Minute}
	s.certificates = limiter{max: perCertificate, per: time.Hour}
	s.site = (&api.Site{
		Title: "虎符自助服务接口", Desk: s.Desk.Self, Trail: &audit.Trail{DB: trail.DB, Now: trail.Now}, Now: s.Desk.Now,
		Cookie: cookie, Under: Under,
	}).Start()
	s.operations()
	if err := s.pages(); err != nil {
		return nil, err
	}
	return http.StripPrefix(Under, http.HandlerFunc(s.limited)), nil
}

// limited turns an address away that posts too much.
func (s *Service) limited(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || s.addresses.allow(network(r.RemoteAddr), s.Desk.Now()) {
		s.site.Mux.ServeHTTP(w, r)
		return
	}
	status, report := api.Problem(ra.TooOften.At("address", ra.TooOften.Clause).Because("每分钟至多 %d 次", perAddress))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "60")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(report) // whoever left needs no answer
}

// network is whom a limit counts for: an address, of IPv6 the half that names
// the network.
func network(remote string) string {
	host, _, _ := net.SplitHostPort(remote)
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}

// Certificate is a pair as its holder sees it.
type Certificate struct {
	Case       string    `json:"case"`
	Serial     string    `json:"serial"`
	EncSerial  string    `json:"enc_serial,omitempty"`
	Profile    string    `json:"profile"`
	Title      string    `json:"profile_title"`
	Subject    string    `json:"subject"`
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	State      string    `json:"state"`
	StateTitle string    `json:"state_title"`
	InHand     bool      `json:"in_hand"` // its key signed in
}

// Case is a case as the subscriber it is about sees it: no names of the desk.
type Case struct {
	ID         string    `json:"id"`
	Title      string    `json:"title"`
	State      string    `json:"state"`
	StateTitle string    `json:"state_title"`
	Serial     string    `json:"serial,omitempty"`
	At         time.Time `json:"at"`
	Updated    time.Time `json:"updated"`
	Own        bool      `json:"own"` // the holder's own wish
}

// May is a wish that is open, or why it is not.
type May struct {
	Do    string `json:"do"`
	Title string `json:"title"`
	Open  bool   `json:"open"`
}

// Status is everything a subscriber sees.
type Status struct {
	Name         string        `json:"name"`
	Serial       string        `json:"serial"`
	Certificates []Certificate `json:"certificates"`
	Cases        []Case        `json:"cases"`
	May          []May         `json:"may"`
	Reminders    []ra.Reminder `json:"reminders"` // of certificates that are still good, newest first
}

// Status is what a subscriber sees.
func (s *Service) Status(ctx context.Context, who access.Person) (Status, error) {
	v := Status{Name: who.Name, Serial: who.Serial, Cases: []Case{}, Reminders: []ra.Reminder{}}
	m, err := s.Desk.Mine(ctx, who)
	if err != nil {
		return v, err
	}
	for i, rec := range m.Certificates {
		c, err := s.certificate(rec)
		if err != nil {
			return v, err
		}
		c.InHand = i == 0
		if c.State == string(ra.Issued) || c.State == string(ra.Delivered) {
			list, err := s.Desk.Store.Reminders(ctx, ra.ReminderQuery{Case: rec.ID, Limit: 1})
			if err != nil {
				return v, err
			}
			v.Reminders = append(v.Reminders, list...)
		}
		v.Certificates = append(v.Certificates, c)
	}
	for _, rec := range m.Cases {
		k := ra.Kinds[rec.Kind]
		v.Cases = append(v.Cases, Case{rec.ID, titleOf(rec), string(rec.State), k.StateTitle(rec.State), rec.SignSerial, rec.CreatedAt, rec.UpdatedAt, ra.OfHolder(rec.CreatedBy)})
	}
	for _, w := range ra.Wishes {
		v.May = append(v.May, May{w.Code, w.Title, w.Open(m.Certificates[0].State)})
	}
	return v, nil
}

func (s *Service) certificate(rec ra.Record) (Certificate, error) {
	c, err := cert.Parse(rec.Reply.Sign)
	if err != nil {
		return Certificate{}, err
	}
	out := Certificate{Case: rec.ID, Serial: rec.SignSerial, EncSerial: rec.EncSerial, Profile: rec.Profile, Title: s.Desk.InForce()[rec.Profile].Title, Subject: dn.Text(c.Subject),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, State: string(rec.State), StateTitle: ra.Kinds[rec.Kind].StateTitle(rec.State)}
	if (rec.State == ra.Issued || rec.State == ra.Delivered) && s.Desk.Now().After(c.NotAfter) {
		out.State, out.StateTitle = "expired", "已过期"
	}
	return out, nil
}

// titleOf is what a case is about, a later certificate by its purpose.
func titleOf(rec ra.Record) string {
	if ra.Issues(rec.Kind) {
		var a enroll.Application
		if enroll.Decode(rec.Content, &a) == nil {
			if p, ok := ra.PurposeOf(a.For); ok {
				return p.Title
			}
		}
	}
	return ra.Kinds[rec.Kind].Title
}

func (s *Service) operations() {
	api.Handle(s.site, api.Op{ID: "self-status", Method: http.MethodGet, Path: "/api/v1/status", Summary: "本人的证书、案件和可办事项"},
		func(ctx context.Context, _ *struct{}) (*api.Body[Status], error) {
			v, err := s.Status(ctx, api.Person(ctx))
			return &api.Body[Status]{Body: v}, err
		})
	type wishIn struct{ Body ra.Wish }
	api.Handle(s.site, api.Op{ID: "self-prepare", Method: http.MethodPost, Path: "/api/v1/requests/prepare", Summary: "持有人申请的声明（待签名）：renew 更新、freeze 冻结、revoke 撤销"},
		func(ctx context.Context, in *wishIn) (*api.Body[api.Prepared], error) {
			who := api.Person(ctx)
			if !s.certificates.allow(who.Serial, s.Desk.Now()) {
				return nil, ra.TooOften.At("certificate", ra.TooOften.Clause).Because("每张证书每小时至多 %d 次", perCertificate)
			}
			p, st, err := s.Desk.Prepare(ctx, in.Body, who, api.Source(ctx))
			if err != nil {
				return nil, s.turned(ctx, in.Body.ID, err)
			}
			out := api.PreparedOf(st)
			out.ID = p.Items[0].ID
			return &api.Body[api.Prepared]{Body: out}, nil
		})
	type askIn struct {
		Body struct {
			Order ra.Wish      `json:"order"`
			Claim access.Claim `json:"claim"`
		}
	}
	api.Handle(s.site, api.Op{ID: "self-ask", Method: http.MethodPost, Path: "/api/v1/requests", Summary: "提交已签名的持有人申请"},
		func(ctx context.Context, in *askIn) (*api.Body[Case], error) {
			rec, err := s.Desk.Ask(ctx, in.Body.Order, api.Person(ctx), in.Body.Claim, api.Source(ctx))
			if err != nil {
				return nil, s.turned(ctx, in.Body.Order.ID, err)
			}
			return &api.Body[Case]{Body: Case{rec.ID, titleOf(rec), string(rec.State), ra.Kinds[rec.Kind].StateTitle(rec.State), rec.SignSerial, rec.CreatedAt, rec.UpdatedAt, true}}, nil
		})
}

func (s *Service) turned(ctx context.Context, id string, err error) error {
	if refusal.Of(err) == nil {
		return err
	}
	return s.Desk.Turned(ctx, api.Person(ctx), "ra.ask", id, api.Source(ctx), err)
}

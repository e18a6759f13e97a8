package raapi

import (
	"context"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// StepLine is a step of a path as programs receive it.
type StepLine struct {
	Title      string    `json:"title"`
	Clause     string    `json:"clause"`
	Text       string    `json:"text"`
	Stage      ra.Stage  `json:"stage"` // past, present, ahead, passed
	Case       string    `json:"case,omitempty"`
	StateTitle string    `json:"state_title,omitempty"`
	At         time.Time `json:"at,omitzero"`
	Open       []string  `json:"open,omitempty"`
}

// WayView is where a path stands with a certificate.
type WayView struct {
	Code   string     `json:"code"`
	Title  string     `json:"title"`
	Serial string     `json:"serial"`
	Old    CaseLine   `json:"old"`
	Steps  []StepLine `json:"steps"`
	Done   bool       `json:"done"`
}

// Way shows where a path stands.
func (a *API) Way(ctx context.Context, code, serial string) (WayView, error) {
	w, err := a.Desk.Way(ctx, code, serial)
	if err != nil {
		return WayView{}, err
	}
	v := WayView{w.Guide.Code, w.Guide.Title, w.Old.SignSerial, a.Line(w.Old), nil, w.Done}
	for _, s := range w.Steps {
		v.Steps = append(v.Steps, StepLine{s.Title, s.Clause, s.Text, s.Stage, s.Case, s.StateTitle, s.At, s.Open})
	}
	return v, nil
}

func (a *API) guides(s *api.Site) {
	type wayIn struct {
		Code   string `path:"code" doc:"reissue 补办，amend 更正"`
		Serial string `query:"serial" required:"true"`
	}
	handle(a, s, api.Op{ID: "guide", Method: http.MethodGet, Path: "/api/v1/guides/{code}", Summary: "补办、更正引导：一张证书办到哪一步"},
		func(ctx context.Context, a *API, in *wayIn) (*api.Body[WayView], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.list", api.Source(ctx)); err != nil {
				return nil, err
			}
			v, err := a.Way(ctx, in.Code, in.Serial)
			return &api.Body[WayView]{Body: v}, err
		})
}

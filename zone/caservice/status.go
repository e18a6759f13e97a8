package caservice

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/web/api"
)

// Published is how far the public ledger is, as the service zone holds it.
type Published struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   string    `json:"root"`
	At     time.Time `json:"at"`
	Note   string    `json:"note"`
}

// status answers for the ledger page.
func (c Config) status(s *api.Site) {
	api.Handle(s, api.Op{ID: "status", Method: http.MethodGet, Path: "/api/v1/status", Summary: "公开账本的检查点"},
		func(ctx context.Context, _ *struct{}) (*api.Body[Published], error) {
			note, err := ledger.Dir(c.ledger()).Get(ctx, ledger.CheckpointPath)
			if errors.Is(err, fs.ErrNotExist) {
				return &api.Body[Published]{}, nil
			}
			if err != nil {
				return nil, err
			}
			cp, err := ledger.OpenCheckpoint(note, c.LedgerKey, c.Origin)
			return &api.Body[Published]{Body: Published{cp.Origin, cp.Size, base64.StdEncoding.EncodeToString(cp.Root), cp.At, string(note)}}, err
		})
}

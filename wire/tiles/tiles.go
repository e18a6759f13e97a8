// Package tiles pushes the ledger from the core outward. (账本推送)
//
// The core opens the connection; the service zone only receives, and checks
// every checkpoint before anybody can see it. Receiving twice is harmless.
package tiles

import (
	"context"

	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/wire/link"
)

const (
	pathSize = "/tiles/v1/size"
	pathPut  = "/tiles/v1/put"
	pathSeal = "/tiles/v1/seal"
)

type nothing struct{}

type size struct {
	Size int64 `json:"size"`
}

type note struct {
	Note []byte `json:"note"`
}

// Client is a target in another zone.
type Client struct{ Link *link.Client }

var _ ledger.Target = Client{}

// Size asks how far the target is.
func (c Client) Size(ctx context.Context) (int64, error) {
	var out size
	return out.Size, c.Link.Call(ctx, pathSize, nothing{}, &out)
}

// Put sends entries.
func (c Client) Put(ctx context.Context, b ledger.Batch) error {
	return c.Link.Call(ctx, pathPut, b, &nothing{})
}

// Seal sends a checkpoint over what was put.
func (c Client) Seal(ctx context.Context, n []byte) error {
	return c.Link.Call(ctx, pathSeal, note{n}, &nothing{})
}

// Mount receives into a target; sealed is called after each checkpoint.
func Mount(s *link.Server, to ledger.Target, sealed func(), peers ...string) {
	link.Handle(s, pathSize, 1<<10, func(ctx context.Context, _ string, _ nothing) (size, error) {
		n, err := to.Size(ctx)
		return size{n}, err
	}, peers...)
	link.Handle(s, pathPut, link.BodyMax, func(ctx context.Context, _ string, b ledger.Batch) (nothing, error) {
		return nothing{}, to.Put(ctx, b)
	}, peers...)
	link.Handle(s, pathSeal, 1<<20, func(ctx context.Context, _ string, n note) (nothing, error) {
		err := to.Seal(ctx, n.Note)
		if err == nil {
			sealed()
		}
		return nothing{}, err
	}, peers...)
}

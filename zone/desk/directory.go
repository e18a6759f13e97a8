package desk

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"os"
	"time"

	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/directory"
	"github.com/hufu-pki/hufu/pki/directory/ldappush"
)

// DirectoryCheck compares an external directory server with the ledger, from
// outside: with nothing but the ledger's files and its key.
type DirectoryCheck struct {
	Server ldappush.Server
	Tiles  ledger.Source
	Key    *ecdsa.PublicKey
	Repair bool
	Settle time.Duration // how long whoever publishes may take
	Now    func() time.Time
}

// Run reads the ledger into a folder of its own, compares, and restores when asked.
func (c DirectoryCheck) Run(ctx context.Context) (r ldappush.Report, err error) {
	dir, err := os.MkdirTemp("", "hufu-directory")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	model, err := directory.Open(dir, c.Now)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	f := &ledger.Follower{Source: c.Tiles, Key: c.Key}
	if _, err := c.follow(ctx, f, model); err != nil {
		return r, err
	}
	settled := false
	check := ldappush.Checker{Model: model, Server: c.Server, Now: c.Now, Steady: func(ctx context.Context, then func() error) error {
		grew, err := c.follow(ctx, f, model)
		if err != nil {
			return err
		}
		if grew || !settled { // whoever publishes has it soon
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(c.Settle):
			}
			settled = true
			if _, err := c.follow(ctx, f, model); err != nil {
				return err
			}
		}
		return then()
	}}
	return check.Check(ctx, c.Repair)
}

func (c DirectoryCheck) follow(ctx context.Context, f *ledger.Follower, model *directory.Directory) (grew bool, err error) {
	run, err := f.Next(ctx)
	if err != nil {
		return false, err
	}
	if grew = len(run.Leaves) > 0; grew {
		if err := model.Apply(ctx, f.Source, run); err != nil {
			return false, err
		}
		f.At = run.Frontier
	}
	n, err := model.Due()
	return grew || n > 0, err
}

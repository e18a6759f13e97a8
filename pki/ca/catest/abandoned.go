package catest

import (
	"testing"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/pki/ca"
)

func abandoned(t *testing.T, s ca.Store) {
	ctx, j := t.Context(), Job(5)
	if err := s.Open(ctx, []ca.Job{j}, &ca.Ask{Task: j.Task, Message: []byte("ask")}, at); err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(ctx, []ca.Job{j}, []audit.Entry{Line("ca.abandon")}); err != nil {
		t.Fatal(err)
	}
	if len(have(t, s, j.ID)) != 0 {
		t.Error("still on record")
	}
	if s.Abandon(ctx, []ca.Job{j}, nil) == nil {
		t.Error("abandoned twice")
	}
	again := Job(5)
	again.Task = 500
	if err := s.Open(ctx, []ca.Job{again}, &ca.Ask{Task: again.Task, Message: []byte("ask")}, at); err == nil {
		t.Error("its serials were reserved again")
	}
	again.Serials = Job(6).Serials
	if err := s.Open(ctx, []ca.Job{again}, &ca.Ask{Task: again.Task, Message: []byte("ask")}, at); err != nil {
		t.Errorf("the same id and key, asked anew: %v", err)
	}
	if issued := Issue(t, s, 7); s.Abandon(ctx, []ca.Job{issued}, nil) == nil {
		t.Error("an issued request was abandoned")
	}
}

// move changes the status of one certificate.

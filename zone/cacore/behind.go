package cacore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/pki/ca/castore"
)

// ErrBehind is returned when the world has seen more of the ledger than the
// database knows: it was restored from an older backup.
var ErrBehind = errors.New("CA 数据库落后于已发布的公开账本，拒绝服务")

// ask is how long the target of the ledger is left alone when it does not
// answer.
const ask = 100 * time.Millisecond

// patience is how often it is asked before somebody is told.
const patience = 30

// notBehind waits until the service zone has said how much of the ledger is
// published, and refuses to go on when that is more than the database has: the
// next signature would fork it. Nothing is signed before.
func notBehind(ctx context.Context, db *sqldb.DB, to ledger.Target, now func() time.Time) error {
	published, err := to.Size(ctx)
	for tries := 0; err != nil; published, err = to.Size(ctx) {
		if ctx.Err() != nil {
			return nil // whoever ended it says why
		}
		if tries++; tries == patience {
			slog.Warn("waiting for the service zone before anything is signed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(ask):
		}
	}
	head, err := ledger.Head(ctx, db, castore.Log)
	if err != nil || published <= head.Size() {
		return err
	}
	t := now()
	why := fmt.Sprintf("数据库有 %d 条，已发布 %d 条，缺 %d 条", head.Size(), published, published-head.Size())
	line := audit.Entry{Start: t, End: t, Who: "system:ca", Role: "machine", Item: "system.behind", Object: "核心区", Result: "ca.behind", Detail: why}
	if err := db.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) }); err != nil {
		return err
	}
	return fmt.Errorf("%w：%s；请先停止系统，用 hufu restore --missing 已发布账本目录 --to 数据目录 补回后再启动", ErrBehind, why)
}

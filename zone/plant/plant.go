// Package plant is what every zone needs to run: a database with its audit
// ledger, listeners that end cleanly. (运行环境)
package plant

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/access/staff"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/ledger"
	"github.com/hufu-pki/hufu/web/api"
)

// Group runs the parts of a zone and ends them together: the first that fails
// ends the rest.
type Group struct {
	above  context.Context // that it ends with
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	close  []func() error
	seals  []*ledger.Sealer
	files  []string // of databases
}

// Seal brings the audit ledgers' checkpoints up to what was committed by now.
func (g *Group) Seal(ctx context.Context) error {
	for _, seal := range g.seals {
		if err := seal.Seal(ctx); err != nil {
			return err
		}
	}
	return nil
}

// NewGroup begins a group that ends with ctx.
func NewGroup(ctx context.Context) *Group {
	own, cancel := context.WithCancelCause(ctx)
	return &Group{above: ctx, ctx: own, cancel: cancel}
}

// Context ends when the group does.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f until the group ends.
func (g *Group) Go(f func(ctx context.Context)) { g.wg.Go(func() { f(g.ctx) }) }

// Fail ends the group with an error.
func (g *Group) Fail(err error) { g.cancel(err) }

// AtEnd calls f once everything has stopped, last added first.
func (g *Group) AtEnd(f func() error) { g.close = append(g.close, f) }

// Wait blocks until the group has ended and cleaned up.
func (g *Group) Wait() error {
	<-g.ctx.Done()
	g.wg.Wait()
	err := context.Cause(g.ctx)
	if errors.Is(err, context.Canceled) || err == context.Cause(g.above) { //nolint:errorlint // that very one: somebody else's failure, and theirs to tell
		err = nil
	}
	for i := len(g.close) - 1; i >= 0; i-- {
		err = errors.Join(err, g.close[i]())
	}
	if sqldb.Damaged(err) {
		return fmt.Errorf("数据库 %s 已损坏或不是数据库文件；请不要再启动，保留原文件，用 hufu restore 从备份恢复（docs/manual/备份与恢复.md）：%w", strings.Join(g.files, "、"), err)
	}
	return err
}

// Listen opens a TCP address, or says in words of whoever runs the system why
// that cannot be.
func Listen(name, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	why := ""
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		why = "端口已被占用；请停止占用它的程序（ss -ltnp 可查），或换 --base-port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "本机没有这个地址；请用本机的地址作 --addr"
	case errors.Is(err, syscall.EACCES):
		why = "没有权限使用这个端口；请换 1024 以上的 --base-port"
	default:
		why = "请检查 --addr 与 --base-port（" + err.Error() + "）"
	}
	return nil, fmt.Errorf("%s不能监听 %s：%s", name, addr, why)
}

// Serve answers HTTP at addr until the group ends, letting requests finish.
func (g *Group) Serve(name, addr string, h http.Handler) error {
	l, err := Listen(name, addr)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	g.Go(func(ctx context.Context) {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close() // what has not ended by now is cut off
		}
	})
	g.Go(func(context.Context) {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.Fail(fmt.Errorf("%s: %w", name, err))
		}
	})
	return nil
}

// Database opens a zone's database and closes it at the end.
func (g *Group) Database(source string) (*sqldb.DB, error) {
	if !strings.Contains(source, "://") { // a URL may hold a password
		g.files = append(g.files, source)
	}
	db, err := sqldb.Open(g.ctx, source)
	if err != nil {
		return nil, err
	}
	g.AtEnd(db.Close)
	return db, nil
}

// Trail seals a database's audit ledger into a folder, from which it is read,
// exported and verified. While that fails for long, no act is written to the
// database.
func (g *Group) Trail(db *sqldb.DB, origin, dir string, key crypto.Signer, now func() time.Time) (files func(ctx context.Context) ([]byte, error), err error) {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("audit key is not an SM2 key")
	}
	folder := &ledger.Folder{Dir: dir, Key: pub, Origin: origin}
	s := (&ledger.Sealer{DB: db, Log: audit.Log, Origin: origin, Key: key, Targets: []ledger.Target{folder}, Now: now}).Start()
	g.seals = append(g.seals, s)
	audit.Watch(db, s.Behind)
	g.Go(s.Run)
	g.Go(func(ctx context.Context) { // acts do not wait for the seal
		tick := time.NewTicker(trailEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.Wake()
			}
		}
	})
	return func(ctx context.Context) ([]byte, error) {
		if err := s.Seal(ctx); err != nil {
			return nil, err
		}
		return Zip(dir)
	}, nil
}

// Unsealed is how long the group's audit ledgers have not been sealed.
func (g *Group) Unsealed() (most time.Duration) {
	for _, s := range g.seals {
		most = max(most, s.Behind())
	}
	return most
}

// SealCheck is the overview's line about the sealing of the audit ledger.
func (g *Group) SealCheck() api.Check {
	behind := g.Unsealed().Truncate(time.Second)
	c := api.Check{Name: "审计账本封存", Value: "正常", State: "good"}
	switch {
	case behind >= audit.SealWithin:
		c.State, c.Value, c.Advice = "bad", fmt.Sprintf("已有 %s 无法封存，暂停办理", behind), "请检查密码设备和审计目录的磁盘；恢复后自动继续（GM/T 0034 §5.3.8）"
	case behind >= 2*trailEvery:
		c.State, c.Value, c.Advice = "warn", fmt.Sprintf("已有 %s 未能封存，正在重试", behind), fmt.Sprintf("满 %s 将暂停办理；请检查密码设备和审计目录的磁盘", audit.SealWithin)
	}
	return c
}

// trailEvery is how often the audit ledger is sealed when something happened.
const trailEvery = 2 * time.Second

// Zip packs a ledger's folder. Its files are dated by the checkpoint, so the
// same state gives the same bytes.
func Zip(dir string) ([]byte, error) {
	note, err := os.ReadFile(filepath.Join(dir, ledger.CheckpointPath))
	if err != nil {
		return nil, err
	}
	cp, err := ledger.PeekCheckpoint(note)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path)[0] == '.' {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if old, err := outgrown(path); err != nil || old {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: filepath.ToSlash(name), Method: zip.Deflate, Modified: cp.At})
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	err = errors.Join(err, z.Close()) // the directory of the archive is written here
	return b.Bytes(), err
}

// outgrown reports whether a partial tile has a longer one beside it or the full
// one in its place: nobody reads it, so no verifier would miss a change in it.
func outgrown(path string) (bool, error) {
	full, ok := strings.CutSuffix(filepath.Dir(path), ".p")
	if !ok {
		return false, nil
	}
	if _, err := os.Stat(full); err == nil {
		return true, nil
	}
	width, err := strconv.Atoi(filepath.Base(path))
	if err != nil {
		return true, nil
	}
	beside, err := os.ReadDir(filepath.Dir(path))
	for _, b := range beside {
		if n, err := strconv.Atoi(b.Name()); err == nil && n > width {
			return true, nil
		}
	}
	return false, err
}

// CustodyCheck is the overview's line about custodians.
func CustodyCheck(s staff.Strength) api.Check {
	c := api.Check{Name: "份额保管人：" + s.Name}
	c.Value, c.State, c.Advice = s.Told()
	return c
}

// CustodyChecks are the overview's lines about all of them.
func CustodyChecks(count func([]access.Person) ([]staff.Strength, error), people []access.Person) (list []api.Check, err error) {
	if count == nil {
		return nil, nil
	}
	all, err := count(people)
	for _, s := range all {
		list = append(list, CustodyCheck(s))
	}
	return list, err
}

// DeviceCheck is the overview's line about a cryptographic device.
func DeviceCheck(d hsm.Device) api.Check {
	c := api.Check{Name: "密码设备", Value: d.Name(), State: "good"}
	if !d.Production() {
		c.State, c.Advice = "warn", "只供评估；生产须使用经检测认证的密码机（GM/T 0034 §5.3.2）"
	}
	return c
}

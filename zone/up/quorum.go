package up

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/cacore"
	"github.com/hufu-pki/hufu/zone/caservice"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/kmcore"
	"github.com/hufu-pki/hufu/zone/quorum"
)

// custodians of an evaluation: who holds the shares of a zone's keys. The
// registration system's keys stay under their passphrase file: it holds no CA
// key, and status goes on while the cores wait.
var custodians = map[string][]string{
	"ca": {"ca-custodian1", "ca-custodian2", "ca-custodian3", "ca-custodian4", "ca-custodian5"},
	"km": {"km-forensic1", "km-forensic2", "km-forensic3", "km-forensic4", "km-forensic5"},
}

// systems are the zones with keys of their own, and what people call them.
var systems = map[string]string{"ca": "CA", "ra": "注册系统", "km": "密钥管理系统"}

// vital are the keys without which a zone does not run: destroyed, it stays down
// and says so.
var vital = map[string][]string{
	"ca": {cacore.KeyCA, cacore.KeyServer, cacore.KeyLedger},
	"ra": {caservice.KeyServer, caservice.KeyOCSP, caservice.KeyIdentity},
	"km": {kmcore.KeyStaffCA, kmcore.KeyIdentity, kmcore.KeyMaster},
}

func (c Config) quorum(zone string) quorum.Zone {
	return quorum.Zone{Dir: c.Dir, Name: zone, Now: c.Now}
}

// shareOut shares the keys out where that was asked for and not done, with the
// custodians the ceremony made. An evaluation has their keys at hand, so it holds
// the ceremony unattended; elsewhere people do, with hufu ceremony.
func (c Config) shareOut(ctx context.Context) error {
	for _, name := range []string{"ca", "ra", "km"} {
		if err := soft.Settle(c.path(name, "keys")); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(c.path("waiting")); err != nil { // of a start that was cut off
		return err
	}
	if !c.Quorum {
		return nil
	}
	for _, name := range []string{"ca", "km"} {
		z := c.quorum(name)
		if _, err := os.Stat(c.path("secrets", name+".pass")); z.Shared() && err != nil {
			continue
		}
		plan := quorum.Plan{Threshold: threshold}
		var present []*desk.Person
		for _, id := range custodians[name] {
			who, err := desk.Open(c.path("people"), id)
			if err != nil {
				return fmt.Errorf("分管 %s 的密钥: %w", name, err)
			}
			k, err := cert.Parse(who.Cert)
			if err != nil {
				return err
			}
			plan.Custodians, present = append(plan.Custodians, k), append(present, who)
		}
		if _, err := z.Adopt(ctx, plan, present); err != nil {
			return fmt.Errorf("分管 %s 的密钥: %w", name, err)
		}
	}
	return nil
}

// keyed runs a zone once its keys are open: with its passphrase file, or after
// enough custodians have given their shares. Until then it serves nothing. A
// zone whose database is gone or whose key was destroyed stays down.
func (c Config) keyed(name string, port int, run func(ctx context.Context, ready func(), dev *soft.Device) error) zone {
	return func(ctx context.Context, ready func()) error {
		db := c.path(name, name+".db")
		if _, err := os.Stat(db); err != nil {
			return down(ctx, ready, gone(systems[name], db, err))
		}
		for _, label := range vital[name] {
			if note, dead := soft.Destroyed(c.path(name, "keys"), label); dead {
				return down(ctx, ready, fmt.Errorf("%s 的密钥 %s：%w：%s", systems[name], label, soft.ErrDestroyed, note))
			}
		}
		dev, err := c.opened(ctx, name, port)
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil // asked to end while it waited
		}
		if err != nil {
			return err
		}
		return run(ctx, ready, dev)
	}
}

func (c Config) opened(ctx context.Context, name string, port int) (*soft.Device, error) {
	if z := c.quorum(name); z.Shared() {
		return z.Wait(ctx, c.at(port))
	}
	return c.device(name)
}

package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm/soft"
	"github.com/hufu-pki/hufu/zone/desk"
	"github.com/hufu-pki/hufu/zone/plant"
)

// lock holds the whole data folder: no ceremony while the zones run.
func (z Zone) lock() (release func(), err error) {
	if Zones[z.Name] == "" {
		return nil, BadPlan.At("zone", BadPlan.Clause).Because("系统应为 ca、ra 或 km")
	}
	if _, err := os.Stat(filepath.Join(z.Dir, "hufu.json")); errors.Is(err, fs.ErrNotExist) {
		return nil, BadPlan.At("dir", BadPlan.Clause).Because("%s 不是虎符的数据目录", z.Dir).ToFix("请先用 hufu up 建立，或用 --dir 指明")
	}
	if release, err = plant.Lock(filepath.Join(z.Dir, "hufu.lock"), "hufu ceremony"); err != nil {
		return nil, err
	}
	if err := soft.Settle(z.keys()); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// Init shares the zone's keys out: from now on no passphrase file opens them.
// Those present prove that the new shares open before anything is changed.
func (z Zone) Init(ctx context.Context, p Plan, present []*desk.Person) (*Minutes, error) {
	release, err := z.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	return z.Adopt(ctx, p, present)
}

// Adopt is Init for whoever holds the folder already.
func (z Zone) Adopt(ctx context.Context, p Plan, present []*desk.Person) (*Minutes, error) {
	m, err := z.begin("init", "")
	if err != nil {
		return nil, err
	}
	if !z.Shared() {
		if err := z.check(ctx, p); err != nil {
			return nil, err
		}
		if err := z.planned(m, p, "确定份额保管人"); err != nil {
			return nil, err
		}
		if err := z.share(ctx, m, p, present); err != nil {
			return nil, err
		}
	} else if len(m.Steps) == 0 {
		return nil, Made.At("zone", Made.Clause).Because("%s", Zones[z.Name])
	}
	return m, z.finish(ctx, m, present)
}

func (z Zone) planned(m *Minutes, p Plan, what string) error {
	names := make([]string, len(p.Custodians))
	certs := make([][]byte, len(p.Custodians))
	for i, c := range p.Custodians {
		names[i], certs[i] = nameOf(c), c.Raw
	}
	return z.note(m, "plan", nil, alg.Digest(certs...), "%s：%s，共 %d 名，任意 %d 名可开启；已核对无人在被排除的岗位", what, strings.Join(names, "、"), len(names), p.Threshold)
}

// share puts the keys under the first arrangement.
func (z Zone) share(ctx context.Context, m *Minutes, p Plan, present []*desk.Person) error {
	old, err := os.ReadFile(z.secret())
	if err != nil {
		return err
	}
	defer clear(old)
	return z.move(ctx, m, old, p, present)
}

// move re-encrypts the keys under a fresh secret, once those present have shown
// that their new shares give it back.
func (z Zone) move(ctx context.Context, m *Minutes, old []byte, p Plan, present []*desk.Person) error {
	mine := slices.DeleteFunc(slices.Clone(present), func(who *desk.Person) bool {
		return !slices.ContainsFunc(p.Custodians, func(c *cert.Certificate) bool { return bytes.Equal(c.Raw, who.Cert) })
	})
	seen := map[string]bool{}
	for _, who := range mine {
		seen[string(who.Cert)] = true
	}
	if len(seen) < p.Threshold {
		return TooFew.At("holder", TooFew.Clause).Because("新保管人到场 %d 名，应有 %d 名当场证明份额可用", len(seen), p.Threshold)
	}
	if err := z.log(ctx, m, "begun", "开始重新加密密钥"); err != nil {
		return err
	}
	c, err := z.rekey(old, p, func(c Charter, fresh []byte) error {
		got, _, err := c.unseal(mine)
		defer clear(got)
		if err == nil && !bytes.Equal(got, fresh) {
			err = BadShare.At("holder", BadShare.Clause)
		}
		return err
	})
	if err != nil {
		return err
	}
	return z.dealt(m, c, mine)
}

func (z Zone) dealt(m *Minutes, c Charter, present []*desk.Person) error {
	return z.note(m, "deal", present, c.digest(), "密钥库改以新的随机口令加密，口令分为 %d 份，各以保管人的 SM2 公钥密封；到场保管人当场证明份额可用；旧密钥文件已覆写删除", len(c.Custodians))
}

// finish removes the passphrase file, signs the minutes and writes the trail.
// It is where a ceremony that was interrupted goes on.
func (z Zone) finish(ctx context.Context, m *Minutes, present []*desk.Person) error {
	c, err := z.Charter()
	if err != nil {
		return err
	}
	pass, names, err := c.unseal(slices.DeleteFunc(slices.Clone(present), func(p *desk.Person) bool { return c.of(p.Cert) == nil }))
	if err != nil {
		return err
	}
	defer clear(pass)
	d, err := z.openWith(pass)
	if err != nil {
		return err
	}
	if !m.has("deal") { // the keys were moved, the minutes were not written
		if err := z.dealt(m, c, nil); err != nil {
			return err
		}
	}
	switch err := soft.Overwrite(z.secret()); {
	case err == nil:
		if err := z.note(m, "pass", nil, nil, "口令文件已覆写删除：今后只有保管人能开启"); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	lapsed, err := z.lapsed(ctx, present)
	if err != nil {
		return err
	}
	if err := z.note(m, "end", nil, nil, "仪式结束；在场保管人：%s%s", strings.Join(names, "、"), lapsed); err != nil {
		return err
	}
	key, err := d.Signer(z.trail())
	if err != nil {
		return err
	}
	if err := z.close(m, key); err != nil {
		return err
	}
	return z.log(ctx, m, audit.Done, fmt.Sprintf("%d/%d", c.Threshold, len(c.Custodians)))
}

// Reshare replaces the arrangement: a custodian leaves or has lost their key, or
// the numbers change. The keys stay, the secret does not: old shares open nothing
// that is kept here from now on.
func (z Zone) Reshare(ctx context.Context, p Plan, reason string, present []*desk.Person) (*Minutes, error) {
	if err := z.because(reason); err != nil {
		return nil, err
	}
	release, err := z.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	was, err := z.Charter()
	if err != nil {
		return nil, err
	}
	m, err := z.begin("reshare", "")
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(m.Steps, func(s Step) bool { return s.Name == "open" }); i >= 0 && m.Steps[i].Digest != fmt.Sprintf("%x", was.digest()) {
		return m, z.finish(ctx, m, present) // the keys were moved before it was interrupted
	}
	if err := z.check(ctx, p); err != nil {
		return nil, err
	}
	holders := slices.DeleteFunc(slices.Clone(present), func(who *desk.Person) bool { return was.of(who.Cert) == nil })
	pass, _, err := was.unseal(holders)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	if _, err := z.openWith(pass); err != nil {
		return nil, err
	}
	lapsed, err := z.lapsed(ctx, holders)
	if err != nil {
		return nil, err
	}
	if err := z.note(m, "open", holders, was.digest(), "原保管人到场开启密钥，同意更换份额；原因：%s%s", reason, lapsed); err != nil {
		return nil, err
	}
	if err := z.planned(m, p, "新的份额保管人"); err != nil {
		return nil, err
	}
	if err := z.move(ctx, m, pass, p, present); err != nil {
		return nil, err
	}
	return m, z.finish(ctx, m, present)
}

// lapsed tells, for the minutes, which of those present open with a share though
// their certificate is no longer in force. They may: too few others would lose
// the keys. A system that starts takes no share of theirs.
func (z Zone) lapsed(ctx context.Context, present []*desk.Person) (string, error) {
	people, err := z.People(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, p := range present {
		c, err := cert.Parse(p.Cert)
		if err != nil {
			return "", err
		}
		why := ""
		i := slices.IndexFunc(people, func(who access.Person) bool { return bytes.Equal(who.Cert, p.Cert) })
		switch {
		case i >= 0 && !people[i].Ended.IsZero():
			why = "已撤销或已更换"
		case i >= 0 && people[i].Disabled:
			why = "已冻结"
		case z.Now().After(c.NotAfter):
			why = "已过期"
		}
		if name := nameOf(c) + "（" + why + "）"; why != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	return "；注意：下列保管人的证书已失效，仍凭所持份额开启：" + strings.Join(names, "、"), nil
}

// because bounds a reason.
func (z Zone) because(reason string) error {
	if n := utf8.RuneCountInString(strings.TrimSpace(reason)); n == 0 || n > 200 {
		return BadPlan.At("reason", BadPlan.Clause).Because("应写明原因，至多 200 字")
	}
	return nil
}

// agreed checks that super and audit administrators of the zone's system, each in
// office today, are among those who approve.
func (z Zone) agreed(ctx context.Context, approve []*desk.Person) error {
	system := z.Name
	if system == "ra" {
		system = "ca" // whose register counts
	}
	all, err := z.register(ctx, system)
	if err != nil {
		return err
	}
	need := map[string][2]access.Role{"ca": {access.CASuper, access.CAAuditAdmin}, "ra": {access.RASuper, access.RAAuditAdmin}, "km": {access.KMSuper, access.KMAuditAdmin}}[z.Name]
	for _, role := range need {
		if !slices.ContainsFunc(approve, func(p *desk.Person) bool { return z.inOffice(all, p, role) }) {
			return NotAgreed.At("approve", NotAgreed.Clause).Because("缺%s", role.Title())
		}
	}
	return nil
}

func (z Zone) inOffice(all []access.Person, p *desk.Person, role access.Role) bool {
	now := z.Now()
	return slices.ContainsFunc(all, func(who access.Person) bool {
		return bytes.Equal(who.Cert, p.Cert) && who.Holds(role) && who.Ended.IsZero() && !who.Disabled && now.After(who.NotBefore) && now.Before(who.NotAfter)
	})
}

// Destroy destroys one key of the zone for good, with the consent of its peers
// at the top and of the custodians, where there are any. (密钥销毁)
func (z Zone) Destroy(ctx context.Context, label, reason string, approve, present []*desk.Person) (*Minutes, error) {
	if err := z.because(reason); err != nil {
		return nil, err
	}
	release, err := z.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	if label == z.trail() {
		return nil, NoKey.At("label", NoKey.Clause).Because("%s 签署审计账本和本纪要，不单独销毁", label).ToFix("随系统整体退役时销毁")
	}
	if err := z.agreed(ctx, approve); err != nil {
		return nil, err
	}
	d, err := z.Open(present)
	if err != nil {
		return nil, err
	}
	key, err := d.Signer(z.trail())
	if err != nil {
		return nil, err
	}
	m, err := z.begin("destroy", label)
	if err != nil {
		return nil, err
	}
	lapsed, err := z.lapsed(ctx, present)
	if err != nil {
		return nil, err
	}
	if err := z.end(ctx, m, label, reason+lapsed, approve, present); err != nil {
		return nil, err
	}
	if err := z.close(m, key); err != nil {
		return nil, err
	}
	return m, z.log(ctx, m, audit.Done, label)
}

// end destroys the key's file, or goes on where that was interrupted.
func (z Zone) end(ctx context.Context, m *Minutes, label, reason string, approve, present []*desk.Person) error {
	data, err := os.ReadFile(filepath.Join(z.keys(), filepath.Base(label)+".key"))
	gone := errors.Is(err, fs.ErrNotExist)
	_, stone := soft.Destroyed(z.keys(), label)
	switch {
	case gone && (!stone || len(m.Steps) == 0):
		return NoKey.At("label", NoKey.Clause).Because("%.40q", label)
	case err != nil && !gone:
		return err
	}
	if !m.has("approve") {
		if err := z.note(m, "approve", append(slices.Clone(approve), present...), alg.Digest(data), "同意销毁密钥 %s；原因：%s", label, reason); err != nil {
			return err
		}
		if err := z.log(ctx, m, "begun", "销毁 "+label); err != nil {
			return err
		}
	}
	was := []byte(nil)
	if !gone {
		if was, err = soft.Destroy(z.keys(), label, fmt.Sprintf("%s，纪要 %s", z.Now().UTC().Format(time.RFC3339), m.ID)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(z.keys(), label+".key")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is still there: %w", label, err)
	}
	return z.note(m, "destroyed", nil, was, "密钥文件已以随机数覆写并删除，目录中已无此文件；启动时将说明密钥已销毁。备份中的副本须另行销毁")
}

// log writes the ceremony to the zone's trail.
func (z Zone) log(ctx context.Context, m *Minutes, result, detail string) error {
	db, err := sqldb.Open(ctx, filepath.Join(z.Dir, z.Name, z.Name+".db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := audit.Migrate(ctx, db); err != nil {
		return err
	}
	line := audit.Entry{Start: m.Begun, End: z.Now(), Who: "system:ceremony", Role: "machine", Item: "ceremony." + m.Kind, Object: m.ID, Result: result, Detail: detail}
	return db.Write(ctx, func(tx *sqldb.Tx) error { return audit.Append(tx, line) })
}

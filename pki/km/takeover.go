package km

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
	"github.com/hufu-pki/hufu/format/sealedkey"
	"github.com/hufu-pki/hufu/hsm"
)

// Archive takes over the escrowed keys of another institution's CA. (承接密钥库)
//
// Each key comes sealed to the centre's own key and is opened in the device only.
type Archive struct{ Vault *Vault }

const archiveClause = "GM/T 0034 §6.2"

// archive is what a proposal says. Keys are handover.Key lines.
type archive struct {
	CA       string   `json:"ca"`       // PEM
	Manifest string   `json:"manifest"` // SM3 of the package the certificates came in
	Keys     []string `json:"keys"`
}

// Matter is the taking over of keys: proposed by an administrator, agreed to by a
// super administrator, at most handover.KeysMax at once.
func (a *Archive) Matter() proposal.Matter {
	return proposal.Matter{
		Name: "km.takeover", Title: "承接另一机构的密钥库", Clause: archiveClause, Propose: access.KMAdmin, Confirm: access.KMSuper,
		Fields: []proposal.Field{
			{Name: "ca", Title: "被承接的 CA 证书", Kind: "pem", Need: true}, {Name: "manifest", Title: "移交清单的 SM3", Kind: "text", Need: true},
			{Name: "keys", Title: "密钥（每行一把）", Kind: "lines", Need: true, Hint: "hufu takeover check --km 写出的 km-*.json 中的 keys"},
		},
		Read: a.read, Do: a.do,
	}
}

func handed(field, format string, args ...any) error {
	return BadArchive.At(field, archiveClause).Because(format, args...)
}

// escrowed is one key read: its certificate, and the private key sealed to us.
type escrowed struct {
	*cert.Certificate
	sealed  sealedkey.Envelope
	retired bool
}

// parseArchive reads a content: every certificate is the CA's, every key for its
// certificate as far as its public half says.
func parseArchive(content []byte) (a archive, ca *cert.Certificate, list []escrowed, err error) {
	if err := strict.JSON(content, &a); err != nil {
		return a, nil, nil, handed("content", "字段为 ca、manifest、keys")
	}
	if ca, err = cert.FromPEM([]byte(a.CA)); err != nil {
		return a, nil, nil, handed("ca", "不是 PEM 格式的 SM2 证书")
	}
	if _, ok := ca.PathLen(); !ok {
		return a, nil, nil, handed("ca", "不是 CA 证书")
	}
	if len(a.Manifest) != 64 || strings.Trim(a.Manifest, "0123456789abcdef") != "" {
		return a, nil, nil, handed("manifest", "应为 64 位十六进制")
	}
	if len(a.Keys) == 0 || len(a.Keys) > handover.KeysMax {
		return a, nil, nil, handed("keys", "应为 1 至 %d 把", handover.KeysMax)
	}
	seen := map[string]bool{}
	for i, line := range a.Keys {
		k, err := handover.ReadKey(line)
		if err != nil {
			return a, nil, nil, handed("keys", "第 %d 行无法读取", i+1)
		}
		c, err := cert.Parse(k.Cert)
		if err != nil || c.SignedBy(ca) != nil {
			return a, nil, nil, handed("keys", "第 %d 行的证书不是这个 CA 签发的", i+1)
		}
		e, err := sealedkey.Parse(k.Sealed)
		if err != nil || !bytes.Equal(e.Point, c.Point) {
			return a, nil, nil, handed("keys", "第 %d 行的密钥与证书 %s 不成对", i+1, c.SerialHex())
		}
		if seen[c.SerialHex()] {
			return a, nil, nil, handed("keys", "证书 %s 重复", c.SerialHex())
		}
		seen[c.SerialHex()] = true
		list = append(list, escrowed{c, e, k.Retired})
	}
	return a, ca, list, nil
}

// home is the registered CA under which the keys are kept: it answers for their
// certificates from now on.
func (a *Archive) home() (string, error) {
	if err := a.Vault.ready(); err != nil {
		return "", err
	}
	if len(a.Vault.known) == 0 {
		return "", UnknownCA.At("ca", UnknownCA.Clause)
	}
	return a.Vault.known[0].id, nil
}

func (a *Archive) read(ctx context.Context, content []byte) (proposal.Shown, error) {
	said, ca, list, err := parseArchive(content)
	if err != nil {
		return proposal.Shown{}, err
	}
	home, err := a.home()
	if err != nil {
		return proposal.Shown{}, err
	}
	retired := 0
	for _, k := range list {
		if _, ok, err := a.Vault.Store.Record(ctx, home, k.Serial.Bytes()); err != nil {
			return proposal.Shown{}, err
		} else if ok {
			return proposal.Shown{}, Duplicate.At("keys", archiveClause).Because("证书 %s 的密钥已在库中", k.SerialHex())
		}
		if k.retired {
			retired++
		}
	}
	pairs, err := a.adopt(ctx, list) // proven before anybody signs; nothing is kept
	if err != nil {
		return proposal.Shown{}, err
	}
	canonical, err := json.Marshal(said)
	return proposal.Shown{Content: canonical, Title: dn.Text(ca.Subject), Lines: []proposal.Line{
		{Name: "被承接的 CA", Value: dn.Text(ca.Subject)}, {Name: "密钥标识", Value: fmt.Sprintf("%X", cert.KeyID(ca.Point))}, {Name: "移交清单 SM3", Value: said.Manifest},
		{Name: "密钥", Value: fmt.Sprintf("%d 把，其中 %d 把的证书已撤销，入历史库", len(pairs), retired)},
		{Name: "核对", Value: "每把私钥已在密码设备内解开，并与其证书成对"},
	}}, err
}

// adopt moves the keys under the master key in force, inside the device, which
// proves each against its certificate.
func (a *Archive) adopt(ctx context.Context, list []escrowed) ([]hsm.Pair, error) {
	v := a.Vault
	master := v.Master
	if v.Wrapping != nil {
		label, err := v.Wrapping(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the master key in force: %w", err)
		}
		master = cmp.Or(label, master)
	}
	pairs := make([]hsm.Pair, len(list))
	for i, k := range list {
		p, err := v.Device.Adopt(master, v.Identity, k.sealed.Bytes())
		if errors.Is(err, sealedkey.ErrOpen) {
			return nil, handed("keys", "证书 %s 的私钥不能由本密钥管理系统的密钥解开，或与证书不成对", k.SerialHex())
		}
		if err != nil {
			return nil, fmt.Errorf("taking a key into the device: %w", err)
		}
		pairs[i] = p
	}
	return pairs, nil
}

// do puts the keys in store, all of one proposal or none, once for a proposal.
func (a *Archive) do(ctx context.Context, r proposal.Record) ([]byte, error) {
	_, _, list, err := parseArchive(r.Content)
	if err != nil {
		return nil, err
	}
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	v := a.Vault
	now := v.Now().UTC().Truncate(time.Millisecond)
	task := Task{CA: home, No: alg.Digest([]byte("km.takeover " + r.ID)), Digest: alg.Digest(r.Content), At: now}
	if old, known, err := v.Store.Task(ctx, task.CA, task.No); err != nil || known && old.Response != nil {
		return old.Response, err
	}
	pairs, err := a.adopt(ctx, list)
	if err != nil {
		return nil, err
	}
	serials := make([][]byte, len(list))
	for i, k := range list {
		serials[i] = k.Serial.Bytes()
	}
	kept, _, err := v.Store.Begin(ctx, task, serials, pairs, func(held map[string]Record) (e Effect) {
		e.Outcome = make([]byte, len(list))
		if len(held) > 0 { // another order was carried out meanwhile
			for i := range e.Outcome {
				e.Outcome[i] = byte(Number(Duplicate))
			}
			return e
		}
		for _, k := range list {
			name := ""
			if n, err := dn.Parse(k.Subject); err == nil {
				name = n.CN
			}
			e.Take = append(e.Take, Record{State: InUse, CA: home, Serial: k.Serial.Bytes(), From: k.NotBefore, To: k.NotAfter, UserName: name, SealedTo: []byte{}, Task: task.No, TakenAt: now})
			if k.retired {
				e.Retire = append(e.Retire, k.Serial.Bytes())
			}
		}
		e.Lines = []audit.Entry{{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.takeover", Object: r.ID, Result: audit.Done, Detail: fmt.Sprintf("%d 把", len(list))}}
		return e
	})
	if err != nil {
		return nil, err
	}
	if kept.Outcome[0] != 0 {
		return nil, Duplicate.At("keys", archiveClause)
	}
	task.Response = fmt.Appendf(nil, "%d", len(list))
	line := audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: "km.takeover.done", Object: r.ID, Result: audit.Done}
	return v.Store.Finish(ctx, task, line)
}

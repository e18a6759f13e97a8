package ca

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/csr"
)

// A CA joins another root by having its own key and name certified there: what
// it issued before and after is then trusted under both. (加入上级根)

// JoinRequest is a request for the CA's own name and key, DER, typed as its
// certificate is.
func (is *Issuer) JoinRequest() ([]byte, error) {
	is = is.Current()
	path, ok := is.Cert.PathLen()
	if !ok {
		return nil, fmt.Errorf("the CA's own certificate is no CA's")
	}
	return csr.New(is.Cert.Subject, is.Key, cert.CA(path), cert.KeyUsage(cert.UsageCA))
}

// Prepare makes the next key of the CA, without using it, and a request for the
// CA's own name and that key, DER, to be sent to another root. The order that
// takes the answer goes on with Do.
func (r *Rollover) Prepare(ctx context.Context, order string) ([]byte, error) {
	if err := r.free(ctx, order); err != nil {
		return nil, err
	}
	key, err := r.begin(ctx, order)
	if err != nil {
		return nil, err
	}
	heir := r.Issuer.Heir(key.key, r.Issuer.Current().Cert) // the same name and path length
	path, ok := heir.Cert.PathLen()
	if !ok {
		return nil, fmt.Errorf("the CA's own certificate is no CA's")
	}
	return csr.New(heir.Cert.Subject, heir.Key, cert.CA(path), cert.KeyUsage(cert.UsageCA))
}

// Free refuses to begin a change of the key while another is under way.
func (r *Rollover) Free(ctx context.Context) error { return r.free(ctx, "") }

// Waiting is the order whose key does not sign yet, and that key's point; empty
// if there is none.
func (r *Rollover) Waiting(ctx context.Context) (order string, point []byte, err error) {
	all, err := r.Store.Successions(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, s := range all {
		if s.DER != nil {
			continue
		}
		key, err := r.Device.Signer(s.Label)
		if errors.Is(err, fs.ErrNotExist) {
			return s.Order, nil, nil
		}
		if err != nil {
			return "", nil, err
		}
		return s.Order, pointOf(key), nil
	}
	return "", nil, nil
}

// chainMax bounds what stands above a joined CA: no root has more levels.
const chainMax = 5

// policyConstraints may be critical and binds nothing we issue: each of our
// certificates names its policy.
var policyConstraints = asn1.ObjectIdentifier{2, 5, 29, 36}

// CheckJoined checks what another root returned: the certificate first, then
// those above it up to a self-signed one. It is what validators will check of
// the chain (RFC 5280 §6.1), and that it is about this CA.
//
// It is for the key that signs now or, where one is given, for the next.
func (is *Issuer) CheckJoined(chain []*cert.Certificate, next []byte) error {
	if len(chain) < 2 || len(chain) > chainMax {
		return BadJoin.At("chain", "RFC 5280 §6.1").Because("应有本机构的证书和其上至根的各级证书，共 2 至 %d 张", chainMax)
	}
	is = is.Current()
	own, root := chain[0], chain[len(chain)-1]
	point := is.Cert.Point
	if next != nil {
		point = next
	}
	switch {
	case next != nil && !bytes.Equal(own.Point, next):
		return BadJoin.At("certificate", "GM/T 0034 §8.2.4").Because("公钥不是待启用的新密钥的公钥")
	case !bytes.Equal(own.Point, point):
		return BadJoin.At("certificate", "GM/T 0034 §8.2.4").Because("公钥不是运营 CA 的公钥")
	case !bytes.Equal(own.Subject, is.Cert.Subject):
		return BadJoin.At("certificate", "GM/T 0043 §6.2.1g").Because("主体与运营 CA 的不逐字节相同")
	case next != nil && bytes.Equal(root.Raw, is.Root.Raw) && len(chain) == 2: // the institution's own, which is offline
	case bytes.Equal(own.Raw, is.Cert.Raw) || bytes.Equal(root.Raw, is.Root.Raw):
		return BadJoin.At("chain", "GM/T 0034 §8.2.4").Because("这是本机构自己的根")
	case bytes.Equal(root.Subject, is.Root.Subject):
		return BadJoin.At("chain", "GM/T 0034 §8.2.4").Because("根的名称与本机构的根相同")
	}
	if err := is.checkUse(own); err != nil {
		return err
	}
	for i, c := range chain {
		field := "chain"
		if i == 0 {
			field = "certificate"
		}
		path, isCA := c.PathLen()
		above := c
		if i+1 < len(chain) {
			above = chain[i+1]
		}
		now := is.Now()
		switch {
		case now.Before(c.NotBefore) || now.After(c.NotAfter):
			return BadJoin.At(field, "RFC 5280 §6.1.3").Because("第 %d 张证书的有效期为 %s 至 %s", i+1, c.NotBefore.Format("2006-01-02"), c.NotAfter.Format("2006-01-02"))
		case !isCA || !signs(c):
			return BadJoin.At(field, "RFC 5280 §4.2.1.9").Because("第 %d 张证书不是 CA 证书", i+1)
		case path >= 0 && path < i:
			return BadJoin.At(field, "RFC 5280 §4.2.1.9").Because("第 %d 张证书的路径长度为 %d，其下却有 %d 级 CA", i+1, path, i)
		case c.SignedBy(above) != nil:
			return BadJoin.At(field, "RFC 5280 §6.1.3").Because("第 %d 张证书不是其上一级所签", i+1)
		}
	}
	return nil
}

// checkUse refuses a certificate that would bind what this CA issues in ways it
// does not check.
func (is *Issuer) checkUse(own *cert.Certificate) error {
	known := []asn1.ObjectIdentifier{cert.BasicConstraints, cert.KeyUsageID, cert.Policies, policyConstraints}
	for _, e := range own.Extensions {
		if e.ID.Equal(cert.NameConstraints) || e.Critical && !slices.ContainsFunc(known, e.ID.Equal) {
			return BadJoin.At("certificate", "RFC 5280 §4.2").Because("证书带有本系统签发时不核对的扩展 %v", e.ID)
		}
	}
	want, _ := is.Cert.PathLen()
	if got, ok := own.PathLen(); ok && got >= 0 && (want < 0 || got < want) {
		return BadJoin.At("certificate", "RFC 5280 §4.2.1.9").Because("路径长度 %d 小于运营 CA 现有的", got)
	}
	return nil
}

// signs reports whether a key may sign certificates and revocation lists.
func signs(c *cert.Certificate) bool {
	e, ok := c.Extension(cert.KeyUsageID)
	var bits asn1.BitString
	rest, err := asn1.Unmarshal(e.Value, &bits)
	return ok && err == nil && len(rest) == 0 && bits.At(5) == 1 && bits.At(6) == 1 // keyCertSign, cRLSign
}

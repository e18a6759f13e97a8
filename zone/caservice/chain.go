package caservice

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/record"
	"github.com/hufu-pki/hufu/pki/ca"
	"github.com/hufu-pki/hufu/pki/va"
)

// keys are the CA's certificates from its own root, one for each key, oldest
// first.
func (c Config) keys(resp *va.Responder) []*cert.Certificate {
	own, err := cert.Parse(c.Chain[0])
	if err != nil {
		return nil
	}
	return resp.Keys(own.Subject)
}

// wards are the certificates of CAs taken over, by the name of their full list.
func wards(resp *va.Responder) map[string]*cert.Certificate {
	all := resp.Lists()
	maps.DeleteFunc(all, func(scope string, c *cert.Certificate) bool {
		n, rest := ca.ReadScope(scope)
		return c == nil || n < ca.WardFirst || rest != "full"
	})
	return all
}

// newer serves, where certificates look for their issuer, what another root
// issued for a key of the CA, or else its own root; the first key's own lies at
// ca-own.cer, and the cross certificates of the n-th change of the key at
// new-with-old-n.cer and old-with-new-n.cer.
func (c Config) newer(resp *va.Responder) func(name string) []byte {
	return func(name string) []byte {
		keys := c.keys(resp)
		for n, k := range keys {
			chain := resp.Joined(k.Raw)
			switch {
			case n == 0 && name == "ca.cer" && len(chain) > 0:
				return chain[0]
			case n == len(keys)-1 && name == "joined-root.cer" && len(chain) > 0:
				return chain[len(chain)-1]
			case n > 0 && name == ca.IssuerFile(k.Point) && len(chain) > 0:
				return chain[0]
			case n > 0 && name == ca.IssuerFile(k.Point):
				return k.Raw
			case n > 0 && name == fmt.Sprintf("new-with-old-%d.cer", n):
				return cross(resp, k, keys[n-1])
			case n > 0 && name == fmt.Sprintf("old-with-new-%d.cer", n):
				return cross(resp, keys[n-1], k)
			}
		}
		for _, w := range wards(resp) {
			if name == ca.IssuerFile(w.Point) {
				return w.Raw
			}
		}
		return nil
	}
}

// cross is the certificate one key of the CA has from another.
func cross(resp *va.Responder, of, by *cert.Certificate) []byte {
	for _, c := range resp.Cross(of.Subject) {
		if bytes.Equal(c.Point, of.Point) && c.SignedBy(by) == nil {
			return c.Raw
		}
	}
	return nil
}

// chain is what stands above a certificate: the CA's own for the key that signed
// it, then the root.
func (c Config) chain(resp *va.Responder) func(der []byte) [][]byte {
	return func(der []byte) [][]byte {
		if issued, err := cert.Parse(der); err == nil {
			if own := resp.Own(issued); own != nil {
				return [][]byte{own.Raw, c.Chain[1]}
			}
		}
		return slices.Clone(c.Chain)
	}
}

// chains are what a package carries: the joined chain, if there is one, and the
// institution's own.
func (c Config) chains(resp *va.Responder) func(der []byte) [][]byte {
	return func(der []byte) [][]byte {
		own := c.chain(resp)(der)
		return append(resp.Joined(own[0]), own...)
	}
}

// kin are the certificates of the CA's keys that did not sign a certificate.
func (c Config) kin(resp *va.Responder) func(der []byte) [][]byte {
	return func(der []byte) (list [][]byte) {
		own := c.chain(resp)(der)[0]
		for _, k := range c.keys(resp) {
			if !bytes.Equal(k.Raw, own) {
				list = append(list, k.Raw)
			}
		}
		return list
	}
}

// shards are the newest lists by shard, of every key.
func (c Config) shards(resp *va.Responder) func() map[int]record.CRL {
	return func() map[int]record.CRL {
		lists := map[int]record.CRL{}
		for _, n := range ca.Everywhere(max(len(c.keys(resp))-1, 0), ca.ShardsMax) {
			if l, ok := resp.CRL(ca.ScopeOf(n)); ok && n >= 0 {
				lists[n] = l
			}
		}
		return lists
	}
}

package directory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/ldapmsg"
	"github.com/hufu-pki/hufu/format/record"
)

// containers are what lies below a CA's organisation. Everything in them is
// made from the ledger.
var containers = []string{"CA", "CRL", "ARL", "Users"}

// Attributes that hold lists.
const (
	attrList  = "certificateRevocationList;binary"
	attrARL   = "authorityRevocationList;binary"
	attrDelta = "deltaRevocationList;binary"
)

// place is where a list of some scope lies.
type place struct{ cn, ou, attr string }

// placeOf reads a scope: "full", "shard-3", "arl", and with "delta" before it
// the changes since such a list: "delta", "delta-shard-3". Those of a later key
// of the CA have "k1-" before all that, and so has the name of their entry.
func placeOf(scope string) place {
	if key, rest, ok := strings.Cut(scope, "-"); ok && len(key) > 1 && key[0] == 'k' && strings.Trim(key[1:], "0123456789") == "" {
		p := placeOf(rest)
		p.cn = key + "-" + p.cn
		return p
	}
	p := place{"crl", "CRL", attrList}
	rest, delta := strings.CutPrefix(scope, "delta")
	if delta {
		rest, p.attr = strings.TrimPrefix(rest, "-"), attrDelta
	}
	if shard, ok := strings.CutPrefix(rest, "shard-"); ok {
		p.cn = "crl" + shard
	}
	if rest == "arl" {
		p.cn, p.ou = "arl", "ARL"
		if !delta {
			p.attr = attrARL
		}
	}
	return p
}

// ListPlace is where a stranger finds the list of a scope: the cn of its entry
// and the attribute it is in.
func ListPlace(scope string) (cn, attribute string) {
	p := placeOf(scope)
	return p.cn, p.attr
}

func (d *Directory) listName(p place) string {
	return fmt.Sprintf("CN=%s,OU=%s,%s", p.cn, p.ou, d.base())
}

func (d *Directory) authorityName(n dn.Name) string {
	return fmt.Sprintf("CN=%s,OU=CA,%s", escape(n.CN), d.base())
}

// distinct leaves out values that a directory takes for the same.
func distinct(values []string) (list []string) {
	for _, v := range values {
		if !slices.ContainsFunc(list, func(have string) bool { return fold(have) == fold(v) }) {
			list = append(list, v)
		}
	}
	return list
}

// Key folds a distinguished name: two names of one entry have one key.
func Key(name string) (string, bool) {
	rdns, ok := parseDN(name)
	return strings.Join(rdns, ","), ok
}

// Len is how many entries there are; they are numbered from 0, parents before
// children, and keep their numbers while the directory is open.
func (d *Directory) Len() uint32 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return uint32(len(d.place))
}

// Entry is an entry as the ledger has it now.
func (d *Directory) Entry(id uint32) (name string, attrs []ldapmsg.Attribute, err error) {
	body, err := d.read(id)
	if err != nil {
		return "", nil, err
	}
	return ldapmsg.ReadEntry(body)
}

// Containers are the names of the organisation's entry and of the containers
// below it; none before the ledger has named a CA.
func (d *Directory) Containers() (organisation string, below []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.org == "" {
		return "", nil
	}
	for _, ou := range containers {
		below = append(below, "OU="+ou+","+d.base())
	}
	return d.base(), below
}

// Touched are the entries that an entry of the ledger had a part in. The
// directory must have applied it. What is not published in full is in none.
func (d *Directory) Touched(e record.Entry) ([]uint32, error) {
	var names []string
	switch e.Kind {
	case record.KindAuthority:
		c, err := cert.Parse(e.Body)
		if err != nil {
			return nil, err
		}
		n, err := dn.Parse(c.Subject)
		if err != nil {
			return nil, err
		}
		org, below := d.Containers()
		names = append(append([]string{Suffix, org}, below...), d.authorityName(n))
	case record.KindCertificate:
		c, err := record.ParseCertificate(e.Body)
		if err != nil || !c.Public {
			return nil, err
		}
		return d.bySerial(c.Serial), nil
	case record.KindStatus:
		s, err := record.ParseStatus(e.Body)
		if err != nil {
			return nil, err
		}
		return d.bySerial(s.Serial), nil
	case record.KindRelease:
		r, err := record.ParseRelease(e.Body)
		if err != nil {
			return nil, err
		}
		return d.bySerial(r.Serial), nil
	case record.KindCRL:
		l, err := record.ParseCRL(e.Body)
		if err != nil {
			return nil, err
		}
		names = []string{d.listName(placeOf(l.Scope))}
	}
	var ids []uint32
	for _, n := range names {
		if id, ok := d.Find(n); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (d *Directory) bySerial(serial []byte) []uint32 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.serial(cert.SerialHex(serial))
}

// Package takeover looks through what an institution hands over when another
// takes its business over, and packs what fits. (业务承接)
//
// It changes nothing and asks nobody. What it says is judged again by the
// systems that take the package.
package takeover

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/format/alg"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
	"github.com/hufu-pki/hufu/format/dn"
	"github.com/hufu-pki/hufu/format/handover"
)

// Options of a check.
type Options struct {
	Pass   []byte            // opens key files; nil when none is at hand
	KM     *cert.Certificate // the key centre keys are sealed to; nil where none are packed
	Now    time.Time
	Limits Limits // the package's own where zero
}

// checker judges a folder.
type checker struct {
	folder
	Options
	ca      found
	chain   []found
	list    *crl.List
	listed  map[string]crl.Entry
	bySN    map[string]*kept
	byPoint map[string][]*kept
}

// kept is a certificate that fits.
type kept struct {
	found
	use, serial string
	pair        *kept
	key         string // file of its private key
	sealed      []byte // that key, sealed to the key centre
	row         string // of the registration sheet
}

// Check looks through a folder.
func Check(dir string, o Options) (*Report, error) {
	if o.Limits == (Limits{}) {
		o.Limits = Limits{filesMax, depthMax}
	}
	r := &Report{Totals: map[string]*Total{}, Items: []Item{}, Cannot: []string{}}
	c := &checker{folder: folder{report: r, limits: o.Limits}, Options: o, bySN: map[string]*kept{}, byPoint: map[string][]*kept{}}
	if err := c.read(dir); err != nil {
		return nil, err
	}
	for _, step := range []func() error{c.findCA, c.findList, c.judge, c.pairs, c.missing, c.archive, c.registry, c.pack, c.packKeys} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.Items, func(a, b Item) int {
		return strings.Compare(a.Kind+"\x00"+a.File+"\x00"+a.Serial, b.Kind+"\x00"+b.File+"\x00"+b.Serial)
	})
	return r, nil
}

// findCA takes the CA that issued most of the certificates, and what stands
// above it.
func (c *checker) findCA() error {
	votes := map[string]int{}
	for _, u := range c.certs {
		votes[string(u.Issuer)]++
	}
	most := 0
	for _, a := range c.cas {
		if n := votes[string(a.Subject)]; n > most {
			most, c.ca = n, a
		}
	}
	if c.ca.Certificate == nil {
		return NoCA.At("ca", NoCA.Clause)
	}
	c.report.CA, c.report.KeyID = dn.Text(c.ca.Subject), strings.ToUpper(hex.EncodeToString(cert.KeyID(c.ca.Point)))
	in := map[string]bool{string(c.ca.Raw): true}
	c.report.fit("ca", c.ca.file, c.ca.SerialHex())
	for at := c.ca; !bytes.Equal(at.Issuer, at.Subject); {
		i := slices.IndexFunc(c.cas, func(a found) bool { return !in[string(a.Raw)] && at.SignedBy(a.Certificate) == nil })
		if i < 0 || len(c.chain) == handover.ChainMax {
			c.report.misfit("ca", at.file, at.SerialHex(), "找不到能验证其签名的上级证书")
			break
		}
		at = c.cas[i]
		in[string(at.Raw)] = true
		c.chain = append(c.chain, at)
		c.report.fit("ca", at.file, at.SerialHex())
	}
	for _, a := range c.cas {
		if !in[string(a.Raw)] {
			in[string(a.Raw)] = true
			c.report.misfit("ca", a.file, a.SerialHex(), "不在被承接 CA 的证书链上")
		}
	}
	return nil
}

// findList takes the CA's newest full list.
func (c *checker) findList() error {
	newest := -1
	for i, l := range c.lists {
		why := ""
		switch {
		case !bytes.Equal(l.Issuer, c.ca.Subject):
			why = "签发者不是被承接的 CA"
		case !signedBy(l.List, c.ca.Certificate):
			why = "签名不能由被承接 CA 的公钥验证"
		case l.Base != nil:
			why = "是增量列表；需要全量列表"
		case l.Number == nil || !l.Number.IsInt64() || l.Number.Sign() <= 0:
			why = "没有编号，或编号超出 63 位"
		}
		if why != "" {
			c.report.misfit("crl", l.file, "", why)
			continue
		}
		if newest >= 0 && l.Number.Cmp(c.lists[newest].Number) <= 0 {
			c.report.misfit("crl", l.file, "", "不是最新的一份")
			continue
		}
		if newest >= 0 {
			c.report.misfit("crl", c.lists[newest].file, "", "不是最新的一份")
		}
		newest = i
	}
	if newest < 0 {
		return NoList.At("crl", NoList.Clause)
	}
	l := c.lists[newest]
	c.report.fit("crl", l.file, "")
	c.list, c.listed = l.List, map[string]crl.Entry{}
	for _, e := range l.Entries {
		c.listed[cert.SerialHex(append([]byte{0}, e.Serial...))] = e
	}
	c.report.ListNumber, c.report.ListUntil = l.Number.Int64(), l.NextUpdate
	return nil
}

// use is what a certificate's key is for; empty when it is for neither or both.
func use(u *cert.Certificate) string {
	e, ok := u.Extension(cert.KeyUsageID)
	if !ok || len(e.Value) < 4 {
		return "sign"
	}
	const sign, enc = 0xC0, 0x38 // of RFC 5280 §4.2.1.3
	switch bits := e.Value[3]; {
	case bits&sign != 0 && bits&enc == 0:
		return "sign"
	case bits&enc != 0 && bits&sign == 0:
		return "enc"
	}
	return "sign" // one key for both: there is no other half
}

// judge keeps the certificates that fit.
func (c *checker) judge() error {
	count := map[string]map[string]bool{}
	for _, u := range c.certs {
		sn := u.SerialHex()
		if count[sn] == nil {
			count[sn] = map[string]bool{}
		}
		count[sn][string(u.Raw)] = true
	}
	for _, u := range c.certs {
		sn, why := u.SerialHex(), ""
		e, indexed := c.index[sn]
		_, revoked := c.listed[sn]
		switch {
		case !bytes.Equal(u.Issuer, c.ca.Subject):
			why = "签发者不是被承接的 CA"
		case u.SignedBy(c.ca.Certificate) != nil:
			why = "签名不能由被承接 CA 的公钥验证"
		case len(u.Serial.Bytes()) == 0 || len(u.Serial.Bytes()) > 20:
			why = "序列号应为 1 至 20 字节的正数"
		case len(count[sn]) > 1:
			why = "序列号重复：两张不同的证书"
		case c.index != nil && !indexed:
			why = "CA 数据库（index.txt）中没有这张证书"
		case indexed && e.revoked && !revoked && u.NotAfter.After(c.Now):
			why = "CA 数据库记为已撤销，撤销列表中没有：请移交方签发新的列表"
		case indexed && !e.revoked && revoked:
			why = "撤销列表中已撤销，CA 数据库记为有效：请移交方核实"
		}
		if why != "" {
			c.report.misfit("certificate", u.file, sn, why)
			continue
		}
		if c.bySN[sn] != nil {
			continue // the same bytes in a second place
		}
		k := &kept{found: u, use: use(u.Certificate), serial: sn}
		c.bySN[sn], c.byPoint[string(u.Point)] = k, append(c.byPoint[string(u.Point)], k)
		c.report.fit("certificate", u.file, sn)
		if c.report.Certificates++; revoked {
			c.report.Revoked++
		}
	}
	return nil
}

// pairs finds the other half of each encryption certificate: the holder's signing
// certificate that began nearest to it, within a day.
func (c *checker) pairs() error {
	bySubject := map[string][]*kept{}
	for _, k := range sorted(c.bySN) {
		if k.use == "sign" {
			bySubject[string(k.Subject)] = append(bySubject[string(k.Subject)], k)
		}
	}
	for _, k := range sorted(c.bySN) {
		if k.use != "enc" {
			continue
		}
		var best *kept
		for _, s := range bySubject[string(k.Subject)] {
			if d := distance(s, k); s.pair == nil && d <= 24*time.Hour && (best == nil || d < distance(best, k)) {
				best = s
			}
		}
		if best != nil {
			k.pair, best.pair = best, k
		}
	}
	return nil
}

func distance(a, b *kept) time.Duration { return a.NotBefore.Sub(b.NotBefore).Abs() }

// missing tells what index and list name and nobody handed over.
func (c *checker) missing() error {
	here := map[string]bool{}
	for _, u := range c.certs {
		here[u.SerialHex()] = true
	}
	for _, sn := range slices.Sorted(keys(c.index)) {
		if !here[sn] {
			c.report.misfit("index", "index.txt", sn, "第 "+itoa(c.index[sn].line)+" 行：没有证书文件")
		}
	}
	for _, sn := range slices.Sorted(keys(c.listed)) {
		if !here[sn] && c.index[sn].line == 0 {
			c.report.misfit("crl", "", sn, "列表中的证书没有移交")
		}
	}
	return nil
}

// pack makes the package of what fits.
func (c *checker) pack() error {
	m := handover.Manifest{Version: 1, CA: c.ca.Raw, ListNumber: c.report.ListNumber, Certificates: c.report.Certificates, Revoked: c.report.Revoked}
	for _, a := range c.chain {
		m.Chain = append(m.Chain, a.Raw)
	}
	add := func(kind string, body []byte, n int) {
		m.Pieces = append(m.Pieces, handover.Piece{Kind: kind, SM3: handover.Digest(body), Count: n})
		c.report.pieces = append(c.report.pieces, body)
	}
	for raw := range slices.Chunk(c.rawList(), handover.PieceMax) {
		add(handover.List, raw, 0)
	}
	var order []handover.Certificate
	for _, k := range sorted(c.bySN) { // both of a pair together, the signing certificate first
		switch {
		case k.pair != nil && k.use == "enc":
		case k.pair != nil:
			order = append(order, handover.Certificate{DER: k.Raw, Use: "sign", Pair: k.pair.serial}, handover.Certificate{DER: k.pair.Raw, Use: "enc", Pair: k.serial})
		default:
			order = append(order, handover.Certificate{DER: k.Raw, Use: k.use})
		}
	}
	for len(order) > 0 {
		n, size := 0, 0
		for n < len(order) && n < handover.CertificatesMax {
			step := 1
			if order[n].Pair != "" {
				step = 2
			}
			for _, o := range order[n : n+step] {
				size += len(o.DER)*4/3 + 100
			}
			if n > 0 && (size > handover.PieceMax || n+step > handover.CertificatesMax) {
				break
			}
			n += step
		}
		body, err := json.Marshal(order[:n])
		if err != nil {
			return err
		}
		add(handover.Certificates, body, n)
		order = order[n:]
	}
	if len(m.Pieces) > handover.PiecesMax {
		return TooMuch.At("certificates", TooMuch.Clause).Because("超过 %d 段", handover.PiecesMax)
	}
	body, err := m.Bytes()
	if err != nil {
		return err
	}
	c.report.Manifest = handover.Digest(body)
	c.report.pieces = slices.Insert(c.report.pieces, 0, body)
	c.cannot()
	return nil
}

func (c *checker) rawList() []byte {
	for _, l := range c.lists {
		if l.List == c.list {
			return l.raw
		}
	}
	return nil
}

// cannot tells what will be missing.
func (c *checker) cannot() {
	r := c.report
	if !r.Key {
		r.Cannot = append(r.Cannot,
			fmt.Sprintf("没有移交 CA 私钥：撤销列表不能续签，状态只能按第 %d 号列表查询，至 %s；OCSP 不答复这些证书；此后的撤销、冻结不能公布", r.ListNumber, r.ListUntil.Local().Format("2006-01-02 15:04")))
	}
	lone := 0
	for _, k := range c.bySN {
		if k.use == "enc" && k.key == "" {
			lone++
		}
	}
	if lone > 0 {
		r.Cannot = append(r.Cannot, fmt.Sprintf("%d 张加密证书没有移交私钥：不能恢复", lone))
	}
}

func sorted(m map[string]*kept) []*kept {
	list := make([]*kept, 0, len(m))
	for _, sn := range slices.Sorted(keys(m)) {
		list = append(list, m[sn])
	}
	return list
}

func keys[V any](m map[string]V) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func signedBy(l *crl.List, by *cert.Certificate) bool {
	return alg.Verify(by.PublicKey(), l.RawTBS, l.Signature) == nil
}

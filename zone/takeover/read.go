package takeover

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/format/crl"
)

// Bounds of a folder, and why.
const (
	filesMax = 1_000_000 // one file for each certificate and key of a large institution
	depthMax = 6
	fileMax  = 256 << 20 // octets: a bundle of the same
	totalMax = 8 << 30
	smallMax = 20 << 20 // octets of what is no certificate and no list
	blockMax = 2_000_000
)

var (
	signedData   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	signedDataGM = asn1.ObjectIdentifier{1, 2, 156, 10197, 6, 1, 4, 2, 2}
)

// found is a certificate of the folder.
type found struct {
	file string
	*cert.Certificate
}

// file is one that is looked at later.
type file struct {
	name string
	data []byte
}

// folder is what was read.
type folder struct {
	report *Report
	cas    []found
	certs  []found
	lists  []struct {
		file string
		raw  []byte
		*crl.List
	}
	keys   []file
	sheets []file
	index  map[string]indexed // by serial; nil without an index
	total  int64
	files  int
	limits Limits
}

// Limits may be lowered by tests.
type Limits struct{ Files, Depth int }

// indexed is one line of an OpenSSL CA database.
type indexed struct {
	line    int
	revoked bool
	at      time.Time
	reason  int
}

var errBound = errors.New("bound")

// read takes in a folder.
func (f *folder) read(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.Count(name, string(filepath.Separator))+1 > f.limits.Depth {
				return TooMuch.At(name, TooMuch.Clause).Because("文件夹超过 %d 层", f.limits.Depth)
			}
			if d.Name() == "evidence" && name != "." { // documents of persons: not opened
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			f.report.misfit("file", name, "", "不是普通文件，未读取")
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f.files++
		f.total += info.Size()
		switch {
		case f.files > f.limits.Files:
			return TooMuch.At(name, TooMuch.Clause).Because("文件超过 %d 个", f.limits.Files)
		case f.total > totalMax:
			return TooMuch.At(name, TooMuch.Clause).Because("合计超过 %d GiB", totalMax>>30)
		case info.Size() > fileMax:
			f.report.misfit("file", name, "", "文件过大，未读取")
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return f.sort(name, data)
	})
}

// sort finds out what a file is, by its name where that is a custom of the
// field and by its content otherwise.
func (f *folder) sort(name string, data []byte) error {
	base, ext := strings.ToLower(filepath.Base(name)), strings.ToLower(filepath.Ext(name))
	switch {
	case base == "index.txt":
		f.readIndex(name, data)
	case ext == ".old" || ext == ".attr" || ext == ".pass" || base == "serial" || base == "crlnumber" || ext == ".txt" || ext == ".md":
	case ext == ".csv" || ext == ".xlsx":
		if len(data) > smallMax {
			f.report.misfit("file", name, "", "文件过大，未读取")
			return nil
		}
		f.sheets = append(f.sheets, file{name, data})
	case ext == ".p12" || ext == ".pfx" || ext == ".key" || ext == ".p8" || ext == ".sealed" || bytes.Contains(data[:min(len(data), 64<<10)], []byte("PRIVATE KEY-----")):
		if len(data) > smallMax>>4 {
			f.report.misfit("file", name, "", "文件过大，未读取")
			return nil
		}
		f.keys = append(f.keys, file{name, data})
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return f.readPEM(name, data)
	default:
		f.readDER(name, data)
	}
	return nil
}

func (f *folder) readPEM(name string, data []byte) error {
	for n := 0; len(bytes.TrimSpace(data)) > 0; n++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if n == 0 {
				f.report.misfit("file", name, "", "PEM 无法读取")
			}
			return nil
		}
		if n > blockMax {
			return TooMuch.At(name, TooMuch.Clause).Because("超过 %d 段", blockMax)
		}
		f.readDER(name, block.Bytes)
		data = rest
	}
	return nil
}

// readDER reads a certificate, a list, or certificates in PKCS#7.
func (f *folder) readDER(name string, der []byte) {
	if l, err := crl.Parse(der); err == nil {
		f.lists = append(f.lists, struct {
			file string
			raw  []byte
			*crl.List
		}{name, der, l})
		return
	}
	if inside, ok := certsOnly(der); ok {
		for _, one := range inside {
			f.certificate(name, one)
		}
		return
	}
	f.certificate(name, der)
}

func (f *folder) certificate(name string, der []byte) {
	c, err := cert.Parse(der)
	if err != nil {
		why, serial := "不是证书、撤销列表、私钥或表格，或格式有误", ""
		if other, e := x509.ParseCertificate(der); e == nil {
			why, serial = "公钥不是 SM2", cert.SerialHex(append([]byte{0}, other.SerialNumber.Bytes()...))
		}
		kind := "file"
		if serial != "" {
			kind = "certificate"
		}
		f.report.misfit(kind, name, serial, why)
		return
	}
	if _, ok := c.PathLen(); ok {
		f.cas = append(f.cas, found{name, c})
		return
	}
	f.certs = append(f.certs, found{name, c})
}

// certsOnly reads the certificates of a signed message, PKCS#7 or GM/T 0010.
func certsOnly(der []byte) (list [][]byte, ok bool) {
	s := cryptobyte.String(der)
	var info, body, signed, certs cryptobyte.String
	var id asn1.ObjectIdentifier
	if !s.ReadASN1(&info, tag.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&id) || !id.Equal(signedData) && !id.Equal(signedDataGM) {
		return nil, false
	}
	explicit := tag.Tag(0).ContextSpecific().Constructed()
	var has bool
	if !info.ReadASN1(&body, explicit) || !body.ReadASN1(&signed, tag.SEQUENCE) || !signed.SkipASN1(tag.INTEGER) || !signed.SkipASN1(tag.SET) ||
		!signed.SkipASN1(tag.SEQUENCE) || !signed.ReadOptionalASN1(&certs, &has, explicit) {
		return nil, false
	}
	for !certs.Empty() {
		var one cryptobyte.String
		if len(list) > blockMax || !certs.ReadASN1Element(&one, tag.SEQUENCE) {
			return nil, false
		}
		list = append(list, one)
	}
	return list, true
}

// readIndex reads OpenSSL's index.txt: state, end, revocation[,reason], serial,
// file, name.
func (f *folder) readIndex(name string, data []byte) {
	f.index = map[string]indexed{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		p := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(p) < 4 || p[0] == "" {
			f.report.misfit("index", name, "", "第 "+itoa(n)+" 行无法读取")
			continue
		}
		e := indexed{line: n, revoked: p[0] == "R"}
		if e.revoked {
			at, reason, _ := strings.Cut(p[2], ",")
			var err error
			if e.at, err = time.Parse("060102150405Z", at); err != nil {
				f.report.misfit("index", name, p[3], "第 "+itoa(n)+" 行的撤销时间无法读取")
			}
			e.reason = crl.Reasons[strings.Split(reason, ",")[0]]
		}
		serial := strings.ToUpper(p[3])
		if _, twice := f.index[serial]; twice {
			f.report.misfit("index", name, serial, "第 "+itoa(n)+" 行的序列号重复")
			continue
		}
		f.index[serial] = e
	}
}

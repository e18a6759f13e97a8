package takeover

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// Report is what fits and what does not. It holds no personal data: a row of a
// sheet is named by its line and the serial in it.
type Report struct {
	CA           string            `json:"ca"`     // subject
	KeyID        string            `json:"key_id"` // of the CA
	Key          bool              `json:"key"`    // the CA's private key is among the files and is its key
	ListNumber   int64             `json:"list_number"`
	ListUntil    time.Time         `json:"list_until"`
	Certificates int               `json:"certificates"` // that fit
	Revoked      int               `json:"revoked"`      // of them
	Totals       map[string]*Total `json:"totals"`
	Items        []Item            `json:"items"`
	Cannot       []string          `json:"cannot"` // what cannot be served, and why
	Manifest     string            `json:"manifest"`

	pieces   [][]byte
	archives [][]byte
}

// Total counts one kind of items.
type Total struct {
	Fit    int `json:"fit"`
	Misfit int `json:"misfit"`
}

// Item is one thing handed over.
type Item struct {
	Kind   string `json:"kind"` // ca, crl, certificate, index, key, ra, file
	File   string `json:"file"`
	Serial string `json:"serial,omitempty"`
	Fits   bool   `json:"fits"`
	Why    string `json:"why,omitempty"`
}

// Kinds are what people call the kinds of items.
var Kinds = map[string]string{"ca": "CA 证书", "crl": "撤销列表", "certificate": "用户证书", "index": "CA 数据库", "key": "密钥", "ra": "注册资料", "file": "文件"}

func (r *Report) add(i Item) {
	t := r.Totals[i.Kind]
	if t == nil {
		t = &Total{}
		r.Totals[i.Kind] = t
	}
	if i.Fits {
		t.Fit++
	} else {
		t.Misfit++
	}
	r.Items = append(r.Items, i)
}

func (r *Report) misfit(kind, file, serial, why string) {
	r.add(Item{Kind: kind, File: file, Serial: serial, Why: why})
}

func (r *Report) fit(kind, file, serial string) {
	r.add(Item{Kind: kind, File: file, Serial: serial, Fits: true})
}

// Misfits counts what does not fit.
func (r *Report) Misfits() (n int) {
	for _, t := range r.Totals {
		n += t.Misfit
	}
	return n
}

// Pieces are the package: the manifest first.
func (r *Report) Pieces() [][]byte { return r.pieces }

// Archives are contents for the key centre: the keys that fit, sealed to it.
func (r *Report) Archives() [][]byte { return r.archives }

// CSV writes every item for a spreadsheet.
func (r *Report) CSV(to io.Writer) error {
	w := csv.NewWriter(to)
	_ = w.Write([]string{"\ufeff种类", "文件", "序列号", "结果", "原因"}) // Error tells
	for _, i := range r.Items {
		said := "不符"
		if i.Fits {
			said = "符合"
		}
		_ = w.Write([]string{Kinds[i.Kind], i.File, i.Serial, said, i.Why})
	}
	w.Flush()
	return w.Error()
}

// Print shows the report to people: what does not fit, item by item.
func (r *Report) Print(to io.Writer) {
	fmt.Fprintf(to, "被承接的 CA：%s\n密钥标识：%s\n撤销列表：第 %d 号，至 %s\n用户证书：%d 张符合，其中已撤销 %d 张\n", r.CA, r.KeyID, r.ListNumber, r.ListUntil.Local().Format("2006-01-02 15:04"), r.Certificates, r.Revoked)
	for _, kind := range slices.Sorted(keys(r.Totals)) {
		fmt.Fprintf(to, "%s：符合 %d，不符 %d\n", Kinds[kind], r.Totals[kind].Fit, r.Totals[kind].Misfit)
	}
	for _, i := range r.Items {
		if !i.Fits {
			fmt.Fprintf(to, "不符  %s  %s  %s  %s\n", Kinds[i.Kind], i.File, i.Serial, i.Why)
		}
	}
	for _, c := range r.Cannot {
		fmt.Fprintf(to, "不能提供：%s\n", c)
	}
	fmt.Fprintf(to, "移交清单 SM3：%s\n", r.Manifest)
}

func itoa(n int) string { return strconv.Itoa(n) }

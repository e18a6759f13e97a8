package raevidence

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
)

// caseFile is case.json: the course of a case.
type caseFile struct {
	ID         string      `json:"id"`
	Kind       string      `json:"kind"`
	Title      string      `json:"title"`
	State      string      `json:"state"`
	StateTitle string      `json:"state_title"`
	Events     []eventFile `json:"events"`
}

// eventFile is one step. A signed one has its statement, signature and signer's
// certificate in files of its number, and ties the content of the case to the
// statement's digest.
type eventFile struct {
	Number int        `json:"number"`
	At     string     `json:"at"`
	Who    string     `json:"who"`
	Name   string     `json:"name"`
	Did    string     `json:"did"`
	Title  string     `json:"title"`
	From   string     `json:"from"`
	To     string     `json:"to"`
	Note   string     `json:"note"`
	Signed bool       `json:"signed"`
	Item   *itemFile  `json:"item,omitempty"`
	Proof  *proofFile `json:"proof,omitempty"`
}

type itemFile struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Seq    int    `json:"seq"`
	Digest string `json:"digest"`
}

type proofFile struct {
	Index int      `json:"index"`
	Count int      `json:"count"`
	Path  []string `json:"path"`
}

func putCase(f folder, rec ra.Record) error {
	k := ra.Kinds[rec.Kind]
	dir := "cases/" + rec.ID + "/"
	f.put(dir+"content.json", rec.Content)
	c := caseFile{ID: rec.ID, Kind: rec.Kind, Title: k.Title, State: string(rec.State), StateTitle: k.StateTitle(rec.State), Events: []eventFile{}}
	for i, e := range rec.Events {
		c.Events = append(c.Events, eventOf(k, i+1, e))
		if len(e.Signed.Signature) == 0 {
			continue
		}
		name := fmt.Sprintf("%s%02d", dir, i+1)
		f.put(name+".txt", e.Signed.Text)
		f.put(name+".sig", e.Signed.Signature)
		f.put(name+".pem", cert.PEM(e.Signed.Cert))
	}
	return f.putJSON(dir+"case.json", c)
}

func eventOf(k casework.Kind, number int, e casework.Event) eventFile {
	out := eventFile{
		Number: number, At: e.At.UTC().Format(time.RFC3339Nano), Who: string(e.Who), Name: e.Name, Did: string(e.Did), Title: k.ActTitle(e.Did),
		From: string(e.From), To: string(e.To), Note: e.Note,
	}
	if out.Signed = len(e.Signed.Signature) > 0; out.Signed {
		out.Item = &itemFile{e.Item.Kind, e.Item.ID, e.Item.Seq, hex.EncodeToString(e.Item.Digest)}
		out.Proof = &proofFile{e.Proof.Index, e.Proof.Count, hexes(e.Proof.Path)}
	}
	return out
}

func hexes(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = hex.EncodeToString(b)
	}
	return out
}

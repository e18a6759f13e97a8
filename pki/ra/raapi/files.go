package raapi

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/casework"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/web/api"
)

// Search are the parameters of a list of cases.
type Search struct {
	State   string    `query:"state" enum:"drafted,submitted,reviewed,seconded,thirded,approved,issued,delivered,rejected,revoked,done,discarded,issued-held,delivered-held,superseded"`
	Kind    string    `query:"kind" enum:"ra.issue,ra.issue2,ra.issue3,ra.recover,ra.revoke,ra.freeze,ra.unfreeze,ra.unit"`
	Profile string    `query:"profile"`
	Batch   string    `query:"batch"`
	Q       string    `query:"q" doc:"姓名、案件编号、序列号、批次或统一社会信用代码；居民身份证号码见 number"`
	Number  string    `query:"number" maxLength:"64" doc:"证件号码的查询键，由 POST /api/v1/cases/number 换取"`
	From    time.Time `query:"from"`
	To      time.Time `query:"to"`
	After   string    `query:"after"`
	Limit   int       `query:"limit" maximum:"200"`
}

func (f Search) query() ra.Query {
	return ra.Query{State: casework.State(f.State), Kind: f.Kind, Profile: f.Profile, Batch: f.Batch, Text: f.Q, Blind: Unkey(f.Number), From: f.From, To: f.To, After: f.After, Limit: f.Limit}
}

// EvidenceLine is a kept file as programs receive it.
type EvidenceLine struct {
	Digest string `json:"digest"`
	Name   string `json:"name"`
	Size   int    `json:"size"`
}

func (a *API) evidence(s *api.Site) {
	type fileIn struct {
		Name    string `query:"name" doc:"文件名"`
		RawBody []byte
	}
	handle(a, s, api.Op{ID: "evidence", Method: http.MethodPost, Path: "/api/v1/evidence", Summary: "收存身份查验材料（密封保存，返回 SM3 摘要）", MaxBody: ra.EvidenceMax + 1024},
		func(ctx context.Context, a *API, in *fileIn) (*api.Body[EvidenceLine], error) {
			e, err := a.Desk.AddEvidence(ctx, in.Name, in.RawBody, api.Person(ctx), api.Source(ctx))
			if err != nil {
				return nil, a.Desk.Turned(ctx, api.Person(ctx), "ra.evidence", "", api.Source(ctx), err)
			}
			return &api.Body[EvidenceLine]{Body: EvidenceLine{hex.EncodeToString(e.Digest), e.Name, e.Size}}, nil
		})
	type digestIn struct {
		Digest string `path:"digest"`
	}
	handle(a, s, api.Op{ID: "evidence-read", Method: http.MethodGet, Path: "/api/v1/evidence/{digest}", Summary: "查阅身份查验材料（记入审计）"},
		func(ctx context.Context, a *API, in *digestIn) (*api.File, error) {
			who, err := a.Reader(ctx, api.Person(ctx), ra.ReadAct, api.Source(ctx))
			if err != nil {
				return nil, err
			}
			digest, err := hex.DecodeString(in.Digest)
			if err != nil {
				return nil, ra.NoEvidence.At("digest", ra.NoEvidence.Clause)
			}
			e, data, err := a.Desk.ReadEvidence(ctx, digest, who, api.Source(ctx))
			return api.Attachment(e.Name, "application/octet-stream", data), err
		})
}

func (a *API) certificates(s *api.Site) {
	type serialIn struct {
		Serial string `path:"serial" doc:"十六进制序列号"`
	}
	handle(a, s, api.Op{ID: "certificate", Method: http.MethodGet, Path: "/api/v1/certificates/{serial}", Summary: "一张证书（PEM）"},
		func(ctx context.Context, a *API, in *serialIn) (*api.File, error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.certificate", api.Source(ctx)); err != nil {
				return nil, err
			}
			serial := strings.ToUpper(in.Serial)
			rec, err := a.Desk.Store.BySerial(ctx, serial)
			if err != nil {
				return nil, err
			}
			der := rec.Reply.Sign
			if serial == rec.EncSerial {
				der = rec.Reply.Enc
			}
			return api.Attachment(serial+".pem", "application/x-pem-file", cert.PEM(der)), nil
		})
}

// table is a CSV file that spreadsheets open as UTF-8 and never as formulas.
func table(name string, rows [][]string) (*api.File, error) {
	var b bytes.Buffer
	b.WriteString("\ufeff")
	w := csv.NewWriter(&b)
	for _, row := range rows {
		for i, v := range row {
			if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
				row[i] = "'" + v
			}
		}
		if err := w.Write(row); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return api.Attachment(name, "text/csv; charset=utf-8", b.Bytes()), w.Error()
}

// BatchView is a sheet with what became of its rows.
type BatchView struct {
	ra.Batch
	Waiting []string               `json:"waiting"` // drafts not yet submitted
	Counts  map[casework.State]int `json:"counts"`
	Held    bool                   `json:"paused"` // its approved cases wait
}

// Batch returns a sheet with what became of its rows.
func (a *API) Batch(ctx context.Context, id string) (BatchView, error) {
	b, err := a.Desk.Store.Batch(ctx, id)
	if err != nil {
		return BatchView{}, err
	}
	v := BatchView{Batch: b}
	if v.Waiting, err = a.Desk.Waiting(ctx, id); err != nil {
		return v, err
	}
	p, err := a.Desk.Progress(ctx, id)
	v.Counts, v.Held = p.Counts, p.Held
	return v, err
}

func (a *API) batches(s *api.Site) {
	type batchIn struct {
		ID string `path:"id"`
	}
	handle(a, s, api.Op{ID: "batch", Method: http.MethodGet, Path: "/api/v1/batches/{id}", Summary: "批次的逐行结果"},
		func(ctx context.Context, a *API, in *batchIn) (*api.Body[BatchView], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.batch", api.Source(ctx)); err != nil {
				return nil, err
			}
			v, err := a.Batch(ctx, in.ID)
			return &api.Body[BatchView]{Body: v}, err
		})
	type pageIn struct {
		After string `query:"after"`
		Limit int    `query:"limit" maximum:"200"`
	}
	handle(a, s, api.Op{ID: "batches", Method: http.MethodGet, Path: "/api/v1/batches", Summary: "批次清单"},
		func(ctx context.Context, a *API, in *pageIn) (*api.Body[[]ra.Batch], error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.batch", api.Source(ctx)); err != nil {
				return nil, err
			}
			if in.Limit <= 0 {
				in.Limit = 50
			}
			list, err := a.Desk.Store.Batches(ctx, nil, in.After, in.Limit)
			return &api.Body[[]ra.Batch]{Body: list}, err
		})
	handle(a, s, api.Op{ID: "batch-csv", Method: http.MethodGet, Path: "/api/v1/batches/{id}/rows.csv", Summary: "批次逐行结果（CSV）"},
		func(ctx context.Context, a *API, in *batchIn) (*api.File, error) {
			if _, err := a.Reader(ctx, api.Person(ctx), "ra.batch", api.Source(ctx)); err != nil {
				return nil, err
			}
			b, err := a.Desk.Store.Batch(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			rows := [][]string{{"行", "案件编号", "代码", "字段", "说明", "依据", "处理"}}
			for _, r := range b.Rows {
				line := []string{strconv.Itoa(r.Line), r.ID, "", "", "", "", ""}
				if no := r.Refusal; no != nil {
					line = []string{strconv.Itoa(r.Line), "", no.Code, no.Field, no.Text, no.Clause, no.Fix}
				}
				rows = append(rows, line)
			}
			return table(b.ID+".csv", rows)
		})
	handle(a, s, api.Op{ID: "sheet-sample", Method: http.MethodGet, Path: "/api/v1/sheets/sample.csv", Summary: "批量表格样例"},
		func(_ context.Context, a *API, _ *struct{}) (*api.File, error) {
			return table("hufu-sample.csv", [][]string{
				{"profile", "C", "ST", "L", "O", "OU", "CN", "identity_kind", "identity_number", "csr"},
				{"person-dual", "CN", "北京市", "北京市", "某某局（样例）", "办公室", "张三（样例）", "resident-id", "11010519491231002X", "在此粘贴证书请求（PEM，或不含换行的 Base64）"},
			})
		})
}

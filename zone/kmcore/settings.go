package kmcore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/strict"
	"github.com/hufu-pki/hufu/casework/proposal"
	"github.com/hufu-pki/hufu/format/cert"
	"github.com/hufu-pki/hufu/hsm"
	"github.com/hufu-pki/hufu/pki/km"
	"github.com/hufu-pki/hufu/pki/km/kmstore"
	"github.com/hufu-pki/hufu/web/api"
)

// Bounds of what operators may order, and why.
const (
	makeMax = 100_000   // some minutes of a device's work
	markMax = 1_000_000 // a year's need of a large institution
)

// pool are the changes to the key store that people order.
type pool struct {
	vault  *km.Vault
	keeper *km.Keeper
	store  *kmstore.Store
	device hsm.Device
	now    func() time.Time
}

type marks struct {
	Low  int `json:"low"`
	High int `json:"high"`
}

type count struct {
	Count int `json:"count"`
}

type reason struct {
	Reason string `json:"reason"`
}

const poolClause = "GM/T 0034 §6.2.3"

func (p *pool) matters() []proposal.Matter {
	number := func(name, title string) proposal.Field {
		return proposal.Field{Name: name, Title: title, Kind: "number", Need: true}
	}
	why := proposal.Field{Name: "reason", Title: "原因", Kind: "long", Need: true}
	return []proposal.Matter{
		{
			Name: "km.marks", Title: "设置备用库上下限", Clause: poolClause, Propose: access.KMOperator, Confirm: access.KMAdmin,
			Fields: []proposal.Field{number("low", "下限（对）"), number("high", "补至（对）")}, Current: p.current, Read: p.readMarks, Do: p.setMarks,
		},
		{
			Name: "km.make", Title: "按需生成密钥对", Clause: poolClause, Propose: access.KMOperator, Fields: []proposal.Field{number("count", "数量（对）")},
			Read: p.readCount, Do: p.makePairs,
		},
		{
			Name: "km.drill", Title: "可恢复性演练", Clause: "GM/T 0034 §6.2.9", Propose: access.KMOperator, Fields: []proposal.Field{number("count", "抽样数量（对）")},
			Read: p.readCount, Do: p.drill,
		},
		{
			Name: "km.master", Title: "更换主密钥并重新加密密钥库", Clause: "GM/T 0034 §8.2.4", Propose: access.KMAdmin, Confirm: access.KMSuper, Fields: []proposal.Field{why},
			Read: p.readReason, Do: p.master,
		},
	}
}

func (p *pool) current(ctx context.Context) (map[string]string, error) {
	s, err := p.vault.Status(ctx)
	return map[string]string{"low": strconv.Itoa(s.Low), "high": strconv.Itoa(s.High)}, err
}

// shown checks a content that was decoded and puts it in canonical form.
func shown(v any, title string, lines ...proposal.Line) (proposal.Shown, error) {
	canonical, err := json.Marshal(v)
	return proposal.Shown{Content: canonical, Title: title, Lines: lines}, err
}

func (p *pool) readMarks(_ context.Context, content []byte) (proposal.Shown, error) {
	var m marks
	if err := strict.JSON(content, &m); err != nil {
		return proposal.Shown{}, km.BadMarks.At("content", poolClause).Because("字段为 low、high 两个整数")
	}
	if m.Low < 1 || m.High < m.Low || m.High > markMax {
		return proposal.Shown{}, km.BadMarks.At("low", poolClause).Because("应为 1 ≤ 下限 ≤ 补至 ≤ %d", markMax)
	}
	return shown(m, fmt.Sprintf("%d / %d", m.Low, m.High), proposal.Line{Name: "下限", Value: strconv.Itoa(m.Low)}, proposal.Line{Name: "补至", Value: strconv.Itoa(m.High)})
}

func (p *pool) setMarks(ctx context.Context, r proposal.Record) ([]byte, error) {
	var m marks
	if err := json.Unmarshal(r.Content, &m); err != nil {
		return nil, err
	}
	return nil, p.store.SetMarks(ctx, m.Low, m.High, p.line("km.marks", r.ID, fmt.Sprintf("%d %d", m.Low, m.High)))
}

func (p *pool) line(item, id, detail string) audit.Entry {
	now := p.now()
	return audit.Entry{Start: now, End: now, Who: "system:km", Role: "machine", Item: item, Object: id, Result: audit.Done, Detail: detail}
}

func (p *pool) readCount(_ context.Context, content []byte) (proposal.Shown, error) {
	var c count
	if err := strict.JSON(content, &c); err != nil || c.Count < 1 || c.Count > makeMax {
		return proposal.Shown{}, km.BadMarks.At("count", poolClause).Because("应为 1 至 %d 的整数", makeMax)
	}
	return shown(c, fmt.Sprintf("%d 对", c.Count), proposal.Line{Name: "数量", Value: strconv.Itoa(c.Count)})
}

// makePairs may make more than was asked when it is interrupted, never fewer:
// spare pairs harm nobody.
func (p *pool) makePairs(ctx context.Context, r proposal.Record) ([]byte, error) {
	var c count
	if err := json.Unmarshal(r.Content, &c); err != nil {
		return nil, err
	}
	return nil, p.vault.Make(ctx, c.Count)
}

func (p *pool) drill(ctx context.Context, r proposal.Record) ([]byte, error) {
	var c count
	if err := json.Unmarshal(r.Content, &c); err != nil {
		return nil, err
	}
	t, err := p.keeper.Drill(ctx, c.Count)
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

func (p *pool) readReason(_ context.Context, content []byte) (proposal.Shown, error) {
	var w reason
	if err := strict.JSON(content, &w); err != nil || strings.TrimSpace(w.Reason) == "" || len(w.Reason) > 600 {
		return proposal.Shown{}, km.BadMarks.At("reason", "GM/T 0034 §8.2.4").Because("应写明原因，至多 200 字")
	}
	return shown(w, w.Reason, proposal.Line{Name: "原因", Value: w.Reason})
}

// master makes a master key, puts it in force for new pairs and moves the
// archive under it while answering goes on. Interrupted, it goes on.
func (p *pool) master(ctx context.Context, r proposal.Record) ([]byte, error) {
	label := "km-master-" + strings.ToLower(r.ID)
	if _, err := p.device.Wrap(label, []byte("probe"), nil); err != nil {
		if err := p.device.NewMaster(label); err != nil {
			return nil, fmt.Errorf("making a master key: %w", err)
		}
	}
	if err := p.store.SetMaster(ctx, label, p.line("km.master", r.ID, label)); err != nil {
		return nil, err
	}
	n, err := p.keeper.Rewrap(ctx, label)
	return []byte(strconv.Itoa(n)), err
}

// Key is what may be seen of a pair.
type Key struct {
	Serial   string    `json:"serial"`
	State    string    `json:"state"`
	CA       string    `json:"ca"`
	Name     string    `json:"name"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	TakenAt  time.Time `json:"taken_at"`
	Retired  time.Time `json:"retired_at"`
	Master   string    `json:"master"`
	PointSM3 string    `json:"point"`
}

// queries are what operators and auditors look up.
func (p *pool) queries(site *api.Site, cas []string) {
	type serialIn struct {
		Serial string `path:"serial"`
	}
	api.Handle(site, api.Op{ID: "key", Method: http.MethodGet, Path: "/api/v1/keys/{serial}", Summary: "按加密证书序列号查密钥（不含私钥）"},
		func(ctx context.Context, in *serialIn) (*api.Body[Key], error) {
			serial, err := hex.DecodeString(strings.ToLower(in.Serial))
			if err != nil {
				return nil, km.NoRecord.At("serial", km.NoRecord.Clause)
			}
			for _, ca := range cas {
				r, ok, err := p.store.Record(ctx, ca, serial)
				if err != nil {
					return nil, err
				}
				if ok {
					k := Key{cert.SerialHex(serial), r.State.Title(), ca, r.UserName, r.From, r.To, r.TakenAt, r.RetiredAt, r.Pair.Private.Master, hex.EncodeToString(cert.KeyID(r.Pair.Point))}
					return &api.Body[Key]{Body: k}, nil
				}
			}
			return nil, km.NoRecord.At("serial", km.NoRecord.Clause)
		})
	api.Handle(site, api.Op{ID: "drills", Method: http.MethodGet, Path: "/api/v1/drills", Summary: "可恢复性演练记录"},
		func(ctx context.Context, _ *struct{}) (*api.Body[[]km.Tally], error) {
			list, err := p.store.Tallies(ctx, 100)
			return &api.Body[[]km.Tally]{Body: list}, err
		})
}

// drillCheck is the overview's line about the newest drill.
func (p *pool) drillCheck(ctx context.Context) (api.Check, error) {
	list, err := p.store.Tallies(ctx, 1)
	c := api.Check{Name: "可恢复性演练", Value: "尚未进行", State: "warn", Advice: "每小时自动抽样；也可由业务操作员提议演练"}
	if err != nil || len(list) == 0 {
		return c, err
	}
	t := list[0]
	c = api.Check{Name: "可恢复性演练", Value: fmt.Sprintf("%s 抽样 %d 对，全部可恢复", t.At.In(time.FixedZone("", 8*3600)).Format("2006-01-02 15:04"), t.Checked), State: "good"}
	if len(t.Failed) > 0 {
		c.State, c.Value, c.Advice = "bad", fmt.Sprintf("%d 对无法恢复：%s", len(t.Failed), strings.Join(t.Failed[:min(3, len(t.Failed))], " ")), km.Unrecoverable.Fix
	}
	return c, nil
}

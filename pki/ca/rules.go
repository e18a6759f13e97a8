package ca

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/profile"
)

// Rule is one version of a profile, or of the settings, that people decided.
type Rule struct {
	Kind    string // "profile:" and its name, or "settings"
	Version int
	Body    []byte // JSON
	Order   string // what people decided
	At      time.Time
}

// Kinds of rules.
const (
	ProfileRule  = "profile:"
	SettingsRule = "settings"
)

// RuleStore keeps rules. Old versions stay.
type RuleStore interface {
	// Rules returns them, oldest first.
	Rules(ctx context.Context) ([]Rule, error)
	// AddRule puts one on record, once for an order; a version on record already is
	// refused (RuleStale).
	AddRule(ctx context.Context, r Rule, line audit.Entry) error
}

// Settings are what the CA's people may set. (CA 设置)
type Settings struct {
	CRLDays  int `json:"crl_days"`  // how long a list is good for
	CRLHours int `json:"crl_hours"` // how old one may grow before it is signed anew although nothing changed
	Shards   int `json:"shards"`    // partitions for new certificates; those before keep theirs
}

// ShardsMax bounds the partitions: the low octet of the serial names one.
const ShardsMax = 256

// usual are the settings of a CA whose people set nothing.
var usual = Settings{CRLDays: int(crlLife / (24 * time.Hour)), CRLHours: int(crlFresh / time.Hour), Shards: Shards}

// Follows refuses settings that cannot be the next ones.
func (s Settings) Follows(old Settings) error {
	switch {
	case s.CRLDays < 1 || s.CRLDays > 30:
		return BadRule.At("crl_days", "GM/T 0034 §5.3.4").Because("应为 1 至 30 天")
	case s.CRLHours < 1 || 2*s.CRLHours > 24*s.CRLDays:
		return BadRule.At("crl_hours", "GM/T 0034 §5.3.4").Because("应至少 1 小时，至多为有效期的一半")
	case s.Shards < old.Shards || s.Shards > ShardsMax:
		return BadRule.At("shards", "RFC 5280 §5.2.5").Because("应为 %d 至 %d：写入证书的分片只能增加", old.Shards, ShardsMax)
	case s == old:
		return BadRule.At("content", BadRule.Clause).Because("与现行设置相同")
	}
	return nil
}

// Rules are the profiles and settings in force, over those the product comes with.
type Rules struct {
	Store RuleStore
	Base  profile.Set

	now atomic.Pointer[inForce]
}

type inForce struct {
	set      profile.Set
	every    map[string]profile.Profile // by name and version
	settings Settings
	number   int
	at       time.Time
	list     []Rule
}

func versioned(name string, version int) string { return fmt.Sprintf("%s/%d", name, version) }

// Load reads what is on record, at the start and after each change.
func (r *Rules) Load(ctx context.Context) error {
	list, err := r.Store.Rules(ctx)
	if err != nil {
		return err
	}
	f := &inForce{set: maps.Clone(r.Base), every: map[string]profile.Profile{}, settings: usual, number: 1, list: list}
	for _, p := range r.Base {
		f.every[versioned(p.Name, p.Version)] = p
	}
	for _, one := range list {
		name, isProfile := strings.CutPrefix(one.Kind, ProfileRule)
		if !isProfile {
			if err := json.Unmarshal(one.Body, &f.settings); err != nil {
				return fmt.Errorf("settings %d: %w", one.Version, err)
			}
			continue
		}
		p, err := profile.Parse(one.Body)
		if err != nil || p.Name != name || p.Version != one.Version {
			return fmt.Errorf("profile %s version %d on record: %w", name, one.Version, err)
		}
		f.set[name], f.every[versioned(name, p.Version)] = p, p
		f.number, f.at = f.number+1, one.At
	}
	r.now.Store(f)
	return nil
}

// Edition is the profiles in force, numbered.
func (r *Rules) Edition() profile.Edition {
	f := r.now.Load()
	return profile.EditionOf(f.set, f.number, f.at)
}

// Settings are those in force, and which version they are; 0 for the usual ones.
func (r *Rules) Settings() (s Settings, version int) {
	f := r.now.Load()
	for _, one := range f.list {
		if one.Kind == SettingsRule {
			version = one.Version
		}
	}
	return f.settings, version
}

// Profile is a version of a profile.
func (r *Rules) Profile(name string, version int) (profile.Profile, bool) {
	p, ok := r.now.Load().every[versioned(name, version)]
	return p, ok
}

// History is every rule on record, oldest first.
func (r *Rules) History() []Rule { return r.now.Load().list }

// profiles are those in force.
func (is *Issuer) profiles() profile.Set {
	if is.Rules == nil {
		return is.Profiles
	}
	return is.Rules.now.Load().set
}

// profileOf is the profile of a request: that in force for a new one, that of
// its day for one on record.
func (is *Issuer) profileOf(name string, version int, known bool) (profile.Profile, bool) {
	if known && is.Rules != nil {
		return is.Rules.Profile(name, version)
	}
	p, ok := is.profiles()[name]
	return p, ok && p.Version == version
}

func (is *Issuer) settings() Settings {
	if is.Rules == nil {
		return usual
	}
	return is.Rules.now.Load().settings
}

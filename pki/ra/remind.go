package ra

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/format/cert"
)

// Reminder is that a certificate runs out within some days: a record, made once
// for each number of days the institution chose. It is no letter: whoever sends
// letters takes them from the folder they are dropped into. (到期提醒)
type Reminder struct {
	Case     string    `json:"case"`
	Days     int       `json:"days"`
	Serial   string    `json:"serial"`
	Title    string    `json:"title"`
	Profile  string    `json:"profile"`
	NotAfter time.Time `json:"not_after"`
	At       time.Time `json:"at"`
	Dropped  bool      `json:"dropped"` // a file for the mailer has been written
}

// LetterOf stands in place of a profile where a unit's letter runs out.
const LetterOf = "unit-letter"

// ReminderQuery lists reminders, newest first. Empty fields match all.
type ReminderQuery struct {
	Case    string
	Within  []string // bodies that took the cases; nil for all
	Pending bool     // not dropped yet
	After   *Reminder
	Limit   int
}

// ReminderStore keeps reminders.
type ReminderStore interface {
	// Expiring lists, in order of their ids, cases whose certificates are good, and
	// those a unit's present letter came with unless the unit is suspended, that
	// end after from and not after to and have no reminder of so many days.
	Expiring(ctx context.Context, from, to time.Time, days, limit int) ([]Record, error)
	// Remind records reminders, each with its line of the trail. One that is on
	// record is passed over, its line as well.
	Remind(ctx context.Context, list []Reminder, lines []audit.Entry) error
	Reminders(ctx context.Context, q ReminderQuery) ([]Reminder, error)
	// Drop marks that a reminder's file has been written.
	Drop(ctx context.Context, r Reminder) error
}

// Bounds of reminders: how far ahead, and how many numbers of days.
const (
	RemindDaysMax = 400
	remindTimes   = 10
)

// RemindDays checks the days before the end on which people are reminded: whole,
// rising, and not more than the longest certificates have a use for.
func RemindDays(days []int) error {
	ok := len(days) > 0 && len(days) <= remindTimes
	for i, d := range days {
		ok = ok && d > 0 && d <= RemindDaysMax && (i == 0 || d > days[i-1])
	}
	if !ok {
		return BadField.At("remind-days", "GM/T 0034 §12.2").Because("%v", days).ToFix(fmt.Sprintf("请给出至多 %d 个由小到大的天数，每个 1 至 %d", remindTimes, RemindDaysMax))
	}
	return nil
}

// Remind records what has come within the days given, rising. A certificate gets
// the reminder of the nearest number only: one seen late is not reminded of
// every number at once.
func (r *Registrar) Remind(ctx context.Context, days []int) (n int, err error) {
	now := r.Now().UTC()
	from := now
	for _, d := range days {
		to := now.AddDate(0, 0, d)
		for {
			list, err := r.Store.Expiring(ctx, from, to, d, PageMax)
			if err != nil || len(list) == 0 {
				if err != nil {
					return n, err
				}
				break
			}
			if err := r.remind(ctx, list, d, now); err != nil {
				return n, err
			}
			n += len(list)
		}
		from = to
	}
	return n, nil
}

func (r *Registrar) remind(ctx context.Context, list []Record, days int, now time.Time) error {
	var fresh []Reminder
	var lines []audit.Entry
	for _, rec := range list {
		if rec.Kind == UnitKind.Name {
			c, err := UnitChangeOf(rec.Content)
			if err != nil {
				return fmt.Errorf("reading %s: %w", rec.ID, err)
			}
			fresh = append(fresh, Reminder{Case: rec.ID, Days: days, Title: rec.Title, Profile: LetterOf, NotAfter: c.Letter.End(), At: now})
			line := r.line(machine.Who(), "ra.remind", rec.ID, "")
			line.Detail = fmt.Sprintf("单位 %s 的授权书 %d 天内到期，有效期至 %s", c.Code, days, c.Letter.To)
			lines = append(lines, line)
			continue
		}
		c, err := cert.Parse(rec.Reply.Sign)
		if err != nil {
			return fmt.Errorf("reading the certificate of %s: %w", rec.ID, err)
		}
		fresh = append(fresh, Reminder{rec.ID, days, rec.SignSerial, rec.Title, rec.Profile, c.NotAfter, now, false})
		line := r.line(machine.Who(), "ra.remind", rec.ID, "")
		line.Serial, line.Detail = rec.SignSerial, fmt.Sprintf("%d 天内到期，有效期至 %s", days, c.NotAfter.UTC().Format(time.DateOnly))
		lines = append(lines, line)
	}
	return r.Store.Remind(ctx, fresh, lines)
}

// Reminders lists reminders, people by the first character of their name.
func (r *Registrar) Reminders(ctx context.Context, q ReminderQuery) ([]Reminder, error) {
	list, err := r.Store.Reminders(ctx, q)
	for i := range list {
		list[i].Title = r.called(list[i].Title, list[i].Profile)
	}
	return list, err
}

// ExportReminders lists reminders, newest first and at most ExportMax. With the
// names of people it needs a reason, which is on the trail before they are
// handed out.
func (r *Registrar) ExportReminders(ctx context.Context, personal bool, reason string, who access.Person, source string) ([]Reminder, error) {
	why, err := takes(who, personal, reason)
	if err != nil {
		return nil, err
	}
	var list []Reminder
	for q := (ReminderQuery{Limit: PageMax}); len(list) < ExportMax; q.After = &list[len(list)-1] {
		page, err := r.Store.Reminders(ctx, q)
		if err != nil {
			return nil, err
		}
		if list = append(list, page...); len(page) < q.Limit {
			break
		}
	}
	if personal {
		people := 0
		for _, m := range list {
			if r.Personal(m.Profile) {
				people++
			}
		}
		if err := r.Seen(ctx, who, Reading{Way: ByExport, Object: "reminders", Fields: []string{"subject.CN"}, Count: people, Why: why}, source); err != nil {
			return nil, err
		}
		return list, nil
	}
	for i := range list {
		list[i].Title = r.called(list[i].Title, list[i].Profile)
	}
	return list, r.Note(ctx, who, "ra.export", fmt.Sprintf("到期提醒 %d 条（遮盖）", len(list)), source)
}

// File names a reminder's file: the same reminder, the same name.
func (m Reminder) File() string { return fmt.Sprintf("%s-%d.txt", m.Case, m.Days) }

// Letter is a reminder as the mailer finds it: headers it may use, a blank line,
// the text. No document number is in it.
func (m Reminder) Letter(self string) []byte {
	title := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, m.Title)
	if m.Days == Invited {
		return fmt.Appendf(nil, "收件人: %s\n案件编号: %s\n证书序列号: %s\n有效期至: %s\n提醒: 邀请更新\n\n%s：\n\n本机构正在集中更新证书。请生成新的密钥，用现有证书（签名证书序列号 %s，有效期至 %s，北京时间）登录 %s 提出更新申请；或把新的证书请求交所在单位，由经办人一并提交。\n",
			title, m.Case, m.Serial, m.NotAfter.UTC().Format(time.RFC3339), title, m.Serial, m.NotAfter.In(beijing).Format("2006年1月2日"), self)
	}
	if m.Profile == LetterOf {
		return fmt.Appendf(nil, "收件人: %s\n案件编号: %s\n有效期至: %s\n提醒: %d 天内到期\n\n%s：\n\n贵单位的授权书将于 %s（北京时间）到期。到期后不能再据以申请证书，已签发的证书不受影响。\n\n请重新出具授权书，由经办人到注册机构变更单位登记。\n",
			title, m.Case, m.NotAfter.UTC().Format(time.RFC3339), m.Days, title, m.NotAfter.In(beijing).Format("2006年1月2日"))
	}
	return fmt.Appendf(nil, "收件人: %s\n案件编号: %s\n证书序列号: %s\n有效期至: %s\n提醒: %d 天内到期\n\n%s：\n\n您的数字证书（签名证书序列号 %s）将于 %s（北京时间）到期。到期后不能再用，也不能自助更新。\n\n请在到期前办理更新：用现有证书登录 %s，生成新的密钥并签名提出申请；或携身份证件到注册机构办理。不再使用的不必办理。\n",
		title, m.Case, m.Serial, m.NotAfter.UTC().Format(time.RFC3339), m.Days, title, m.Serial, m.NotAfter.In(beijing).Format("2006年1月2日 15时04分"), self)
}

// beijing is the time people here live by.
var beijing = time.FixedZone("北京时间", 8*60*60)

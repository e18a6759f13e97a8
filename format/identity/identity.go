// Package identity checks the numbers of identity documents. (身份证件)
//
// Only form and check digits: whether the document is genuine is the registrar's
// work. A number is shown to people masked.
package identity

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

// Kinds of documents and what people call them.
var Kinds = map[string]string{
	"resident-id": "居民身份证", "passport": "护照", "military-id": "军官证",
	"credit-code": "统一社会信用代码", "organisation-code": "组织机构代码", "device-number": "设备编号",
}

// Errors of this package, for people.
var (
	ErrKind   = errors.New("证件类型不在目录中")
	ErrForm   = errors.New("号码格式不符")
	ErrCheck  = errors.New("号码校验位不符")
	ErrPlace  = errors.New("号码中的地区代码无效")
	ErrPeriod = errors.New("号码中的出生日期无效")
)

// looks is how the number of a resident's card is written, right or wrong.
var looks = regexp.MustCompile(`^[0-9]{17}[0-9Xx]$`)

// Looks reports whether a text looks like the number of a resident's card: it
// then belongs in no address and no log.
func Looks(text string) bool { return looks.MatchString(strings.TrimSpace(text)) }

// forms are of numbers without a check digit: passports are of every state
// (ICAO Doc 9303 has letters and digits), officers' have Han characters.
var forms = map[string]*regexp.Regexp{
	"passport":      regexp.MustCompile(`^[A-Za-z0-9]{5,20}$`),
	"military-id":   regexp.MustCompile(`^[\p{Han}A-Za-z0-9]{4,40}$`),
	"device-number": regexp.MustCompile(`^[\p{Han}A-Za-z0-9][\p{Han}A-Za-z0-9._:/#-]{3,39}$`),
}

// provinces are the first two digits of GB/T 2260, and those of residents of
// Hong Kong, Macao and Taiwan.
var provinces = regexp.MustCompile(`^(1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])`)

// Check checks a number of a kind; today bounds birth dates.
func Check(kind, number string, today time.Time) error {
	switch kind {
	case "resident-id":
		return residentID(number, today)
	case "credit-code":
		return creditCode(number)
	case "organisation-code":
		return organisationCode(number)
	}
	if form, ok := forms[kind]; !ok {
		return ErrKind
	} else if !form.MatchString(number) {
		return ErrForm
	}
	return nil
}

// residentID is GB 11643.
func residentID(n string, today time.Time) error {
	if len(n) != 18 {
		return ErrForm
	}
	weights := [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}
	sum := 0
	for i, w := range weights {
		if n[i] < '0' || n[i] > '9' {
			return ErrForm
		}
		sum += w * int(n[i]-'0')
	}
	if n[17] != "10X98765432"[sum%11] && (n[17] != 'x' || "10X98765432"[sum%11] != 'X') {
		return ErrCheck
	}
	if place := strings.TrimPrefix(n[:3], "9"); !provinces.MatchString(place) { // 9 and the province: foreigners with permanent residence
		return ErrPlace
	}
	born, err := time.Parse("20060102", n[6:14])
	if err != nil || born.Year() < 1900 || born.After(today) {
		return ErrPeriod
	}
	return nil
}

// creditCode is GB 32100-2015.
func creditCode(n string) error {
	const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	weights := [17]int{1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28}
	if len(n) != 18 {
		return ErrForm
	}
	sum := 0
	for i := range 18 {
		v := strings.IndexByte(alphabet, n[i])
		if v < 0 {
			return ErrForm
		}
		if i < 17 {
			sum += v * weights[i]
		}
	}
	if alphabet[(31-sum%31)%31] != n[17] {
		return ErrCheck
	}
	return nil
}

// organisationCode is GB 11714.
func organisationCode(n string) error {
	n = strings.ReplaceAll(n, "-", "")
	if len(n) != 9 {
		return ErrForm
	}
	sum := 0
	for i, w := range [8]int{3, 7, 9, 10, 5, 8, 4, 2} {
		v := strings.IndexByte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", n[i])
		if v < 0 {
			return ErrForm
		}
		sum += v * w
	}
	if "0X987654321"[sum%11] != n[8] { // 11−0 is 11, written 0; 11−1 is 10, written X
		return ErrCheck
	}
	return nil
}

// Mask hides the middle of a number: of ten characters or more the first three
// and the last two are shown (110*************2X), of four to nine the first
// and the last, of fewer none.
func Mask(number string) string {
	r := []rune(number)
	head, tail := 3, 2
	switch {
	case len(r) < 4:
		head, tail = 0, 0
	case len(r) < 10:
		head, tail = 1, 1
	}
	for i := head; i < len(r)-tail; i++ {
		r[i] = '*'
	}
	return string(r)
}

package cert

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
)

// UnmarshalJSON reads {"kind":"dns","value":"…"}, "dns:…", or a bare name,
// address or e-mail address.
func (a *AltName) UnmarshalJSON(data []byte) error {
	type plain AltName
	if len(data) > 0 && data[0] == '{' {
		return json.Unmarshal(data, (*plain)(a))
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return errors.New("want a string such as dns:www.example.cn, or an object with kind and value")
	}
	if kind, value, ok := strings.Cut(s, ":"); ok {
		switch kind = strings.ToLower(kind); kind {
		case "dns", "ip", "email":
			*a = AltName{kind, value}
			return nil
		}
	}
	_, err := netip.ParseAddr(s)
	switch {
	case err == nil:
		*a = AltName{"ip", s}
	case strings.Contains(s, "@"):
		*a = AltName{"email", s}
	default:
		*a = AltName{"dns", s}
	}
	return nil
}

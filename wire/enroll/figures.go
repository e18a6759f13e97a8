package enroll

import "time"

// Figure counts what was issued under a profile for a body on a day: one for each
// pair or single certificate. Each is expired, revoked or valid. (业务量)
type Figure struct {
	Profile string `json:"profile"`
	Body    string `json:"body,omitempty"`
	Day     int64  `json:"day"` // since 1970-01-01, in Beijing
	Issued  int64  `json:"issued"`
	Expired int64  `json:"expired"` // without having been revoked
	Revoked int64  `json:"revoked"` // or on hold
	Valid   int64  `json:"valid"`
}

// Date is the day as people write it.
func (f Figure) Date() string { return time.Unix(f.Day*86400, 0).UTC().Format(time.DateOnly) }

type since struct {
	Since int64 `json:"since"` // Unix seconds
}

type figures struct {
	At      int64    `json:"at"` // Unix seconds
	Figures []Figure `json:"figures"`
}

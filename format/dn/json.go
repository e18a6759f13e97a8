package dn

import (
	"encoding/json"
	"fmt"
)

// MarshalJSON writes one unit as a string, several as a list.
func (u Units) MarshalJSON() ([]byte, error) {
	if len(u) == 1 {
		return json.Marshal(u[0])
	}
	return json.Marshal([]string(u))
}

// UnmarshalJSON reads a string or a list of strings.
func (u *Units) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*u = nil
		if one != "" {
			*u = Units{one}
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(data, &many); err != nil {
		return fmt.Errorf("OU: want a string or a list of strings: %w", err)
	}
	*u = many
	return nil
}

package rastore

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/pki/ra"
	"github.com/hufu-pki/hufu/wire/enroll"
)

// Figures count what was issued since a time, as it stands at another.
func (s *Store) Figures(ctx context.Context, since, now time.Time) ([]enroll.Figure, error) {
	rows, err := s.DB.Query(ctx, `SELECT profile, body, (began + 28800) / 86400, COUNT(*),
		SUM(CASE WHEN state NOT IN ($1, $2, $3, $4) AND not_after < $5 THEN 1 ELSE 0 END), SUM(CASE WHEN state IN ($1, $2, $3, $4) THEN 1 ELSE 0 END),
		SUM(CASE WHEN state NOT IN ($1, $2, $3, $4) AND not_after >= $5 THEN 1 ELSE 0 END)
		FROM cases WHERE began > 0 AND began >= $6 GROUP BY profile, body, (began + 28800) / 86400 ORDER BY 3, 1, 2`,
		string(ra.Revoked), string(ra.Superseded), string(ra.IssuedHeld), string(ra.DeliveredHeld), now.Unix()*1000, max(0, since.Unix()))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []enroll.Figure
	for rows.Next() {
		var f enroll.Figure
		if err := rows.Scan(&f.Profile, &f.Body, &f.Day, &f.Issued, &f.Expired, &f.Revoked, &f.Valid); err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, rows.Err()
}

package castore

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/wire/enroll"
)

// Figures count what was issued at registration systems' request since a time, as
// it stands now: one for each pair or single certificate, by profile, body and day.
func (s *Store) Figures(ctx context.Context, since, now time.Time) ([]enroll.Figure, error) {
	rows, err := s.DB.Query(ctx, `SELECT c.profile, j.body, (c.not_before + 28800) / 86400, COUNT(*),
		SUM(CASE WHEN c.revoked = $1 AND c.not_after < $2 THEN 1 ELSE 0 END), SUM(CASE WHEN c.revoked <> $1 THEN 1 ELSE 0 END), SUM(CASE WHEN c.revoked = $1 AND c.not_after >= $2 THEN 1 ELSE 0 END)
		FROM certificate c JOIN job j ON j.id = c.job WHERE c.use <> 'enc' AND c.not_before >= $3
		GROUP BY c.profile, j.body, (c.not_before + 28800) / 86400 ORDER BY 3, 1, 2`, false, now.Unix(), max(0, since.Unix()))
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

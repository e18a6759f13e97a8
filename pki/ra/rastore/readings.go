package rastore

import (
	"context"
	"time"

	"github.com/hufu-pki/hufu/access"
	"github.com/hufu-pki/hufu/audit"
	"github.com/hufu-pki/hufu/base/sqldb"
	"github.com/hufu-pki/hufu/pki/ra"
)

// daySeconds is a day of the statistic, in UTC.
const daySeconds = 24 * 60 * 60

// Read counts a reading of personal data and writes its line.
func (s *Store) Read(ctx context.Context, r ra.Reading, line audit.Entry) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`INSERT INTO personal_read (who, day, way, times, people, last) VALUES ($1, $2, $3, 1, $4, $5)
			ON CONFLICT (who, day, way) DO UPDATE SET times = personal_read.times + 1, people = personal_read.people + excluded.people, last = excluded.last`,
			string(r.Who), r.At.Unix()/daySeconds, r.Way, r.Count, r.At.UnixMilli())
		if err != nil {
			return err
		}
		return audit.Append(tx, line)
	})
}

// Readings sums them by person and way.
func (s *Store) Readings(ctx context.Context, from, to time.Time) ([]ra.ReadCount, error) {
	rows, err := s.DB.Query(ctx, `SELECT who, way, SUM(times), SUM(people), MAX(last) FROM personal_read WHERE day >= $1 AND day <= $2 GROUP BY who, way ORDER BY who, way`,
		from.Unix()/daySeconds, to.Unix()/daySeconds)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []ra.ReadCount
	for rows.Next() {
		var c ra.ReadCount
		var who string
		var last int64
		if err := rows.Scan(&who, &c.Way, &c.Times, &c.Cases, &last); err != nil {
			return nil, err
		}
		c.Who, c.Last = access.PersonID(who), time.UnixMilli(last).UTC()
		list = append(list, c)
	}
	return list, rows.Err()
}

package raself

import (
	"sync"
	"time"
)

// crowd bounds how many are counted at once; beyond it counting begins anew
// rather than turning everybody away.
const crowd = 20000

// limiter lets each name do something so many times in a period.
type limiter struct {
	max int
	per time.Duration

	mu    sync.Mutex
	since map[string]time.Time
	count map[string]int
}

func (l *limiter) allow(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since == nil || len(l.since) >= crowd {
		l.since, l.count = map[string]time.Time{}, map[string]int{}
	}
	if now.Sub(l.since[name]) >= l.per {
		l.since[name], l.count[name] = now, 0
	}
	l.count[name]++
	return l.count[name] <= l.max
}

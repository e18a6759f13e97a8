package va

import "time"

const (
	// ttl is how long an answer holds unless told otherwise: relying parties may
	// keep it so long, and a key in a device signs each live certificate at most
	// twice in that time.
	ttl = time.Hour
	// extendedWithin is how lately the ledger must have been read for a serial it
	// does not name to count as never issued: longer than an issued certificate
	// is on its way, and short enough that a stopped reader says unknown instead.
	extendedWithin = 10 * time.Second
	// cacheMax bounds the presigned answers kept: about 1.2 KB each, 40 MB in all.
	cacheMax = 32 << 10
	// cacheShards keep readers on several cores from one lock.
	cacheShards = 64
	// seats bounds signatures made at once: a device has so many sessions, and
	// more waiting than that only makes everybody late.
	seats = 64
	// seatWait is how long a question waits for a seat before tryLater.
	seatWait = 2 * time.Second
	// authoritiesMax bounds the CA certificates of one institution; their number
	// is one octet in the index.
	authoritiesMax = 255
	// scopesMax bounds the revocation lists known by name: shards and a few more.
	scopesMax = 4096
	// headerMax bounds the header of a snapshot.
	headerMax = 64 << 20
	// pollEvery is how often the ledger is looked at unless told otherwise; a
	// revocation must be seen within a second.
	pollEvery = 250 * time.Millisecond
	// repeatAfter is when a trouble that lasts is logged again.
	repeatAfter = time.Minute
)

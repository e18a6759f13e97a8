package ca

import "time"

// Bounds, and why.
const (
	// Shards is the number of partitions of the revocation list. It is written
	// into certificates, so it can grow but never shrink: sixteen keep each
	// partition small for a CA of a few million certificates.
	Shards = 16

	// backdate is how long before issue a certificate begins, so that relying
	// parties whose clock is behind accept it.
	backdate = time.Minute

	// crlLife is how long a revocation list is good for; crlFresh is how old one
	// may grow before it is signed anew although nothing changed.
	crlLife  = 7 * 24 * time.Hour
	crlFresh = 24 * time.Hour

	// arlFresh is how old the root's list, which is good for a year, may grow.
	arlFresh = 30 * 24 * time.Hour

	// fullPatient is the size from which a full list is not signed anew at each
	// change but at most every fullFresh: a list of a million entries has 40 MB.
	// Shards and the delta list show a change at once whatever the size.
	fullPatient = 4 << 20
	fullFresh   = 10 * time.Minute
)

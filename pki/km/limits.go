package km

import "time"

// Bounds, and why.
const (
	// window is how far the clocks of CA and key centre may be apart. A message
	// already on record may be sent again at any time.
	window = 5 * time.Minute

	// fillBatch is how many pairs are stored at once: enough to hide the flush,
	// few enough that an allocation in the queue waits some milliseconds only.
	fillBatch = 512

	// beginTries bounds the tries of one message. The second try brings pairs of
	// its own, so a third is needed only when the device failed to count.
	beginTries = 3

	// lookEvery is how often the pool is looked at when nobody wakes it.
	lookEvery = time.Minute

	// sweepEvery is how often pairs whose certificate has ended move to the
	// history, sweepBatch how many at once.
	sweepEvery = time.Hour
	sweepBatch = 1000

	// answerKept is how long a stored answer is kept for a CA that asks again.
	// Later the pair is sealed anew; the pair itself is kept for good
	// (GM/T 0034 §9.2.2: more than 10 years).
	answerKept = 30 * 24 * time.Hour
)

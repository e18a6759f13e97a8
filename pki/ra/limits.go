package ra

// Bounds, and why.
const (
	// FormMax bounds one application in JSON: a request of 32 KB in PEM, and names.
	FormMax = 128 << 10

	// PageMax bounds one page of a list.
	PageMax = 200

	// ActMax is how many cases one signature may cover: a reader can still look
	// through them before signing.
	ActMax = 5000

	// NoteMax bounds a reason or opinion, in characters.
	NoteMax = 500
)

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

	// EvidenceMax bounds one evidence file: a few pages scanned in colour.
	EvidenceMax = 10 << 20

	// ExportMax bounds the lines of one exported list.
	ExportMax = 50000

	// nameMax bounds a file name, in bytes: what file systems take.
	nameMax = 255

	// NoteMax bounds a reason or opinion, in characters.
	NoteMax = 500
)

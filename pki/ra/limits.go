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

	// WordMax bounds a name or a version somebody gives, in characters: a request
	// travels to the CA with sixty-three others in one message.
	WordMax = 64

	// checkYears bounds how old a check of an identity may be, in years: twice the
	// longest validity, for what is renewed without being checked again.
	checkYears = 10

	// FilesMax is how many files an identity check may name.
	FilesMax = 20
)

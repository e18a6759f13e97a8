package raevidence

import _ "embed"

//go:embed readme.txt
var readme string

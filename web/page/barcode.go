package page

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/code128"
)

// barcodeMax bounds the text of a bar code: more would not fit on a page.
const barcodeMax = 48

// bars draws a text of ASCII as a bar code of Code 128 (GB/T 18347), which the
// cheapest scanner reads as if it had been typed. A module is one pixel, 0.26 mm
// on paper, and must not be scaled. Anything else draws nothing.
func bars(text string) template.HTML {
	if text == "" || len(text) > barcodeMax {
		return ""
	}
	code, err := code128.Encode(text)
	if err != nil {
		return ""
	}
	const quiet, high = 10, 44 // modules on either side, as the standard asks
	wide := code.Bounds().Dx() + 2*quiet
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="bars" viewBox="0 0 %d %d" width="%d" height="%d" preserveAspectRatio="none" role="img" aria-label="条码 %s" shape-rendering="crispEdges"><path fill="#000" d="`,
		wide, high, wide, high, template.HTMLEscapeString(text))
	for x := 0; x < code.Bounds().Dx(); {
		n := run(code, x)
		if dark(code, x) {
			fmt.Fprintf(&b, "M%d 0h%dv%dh-%dz", quiet+x, n, high, n)
		}
		x += n
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()) // numbers, and text that is escaped
}

func dark(code barcode.Barcode, x int) bool {
	r, _, _, _ := code.At(x, 0).RGBA()
	return r == 0
}

// run is how many modules from x on have one colour.
func run(code barcode.Barcode, x int) int {
	n := 1
	for x+n < code.Bounds().Dx() && dark(code, x+n) == dark(code, x) {
		n++
	}
	return n
}

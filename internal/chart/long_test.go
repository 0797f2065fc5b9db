// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"weir/internal/chart"
)

// TestLongNames draws names that are as long as packets let them be: what a picture takes
// does not grow with what it does not show.
func TestLongNames(t *testing.T) {
	b := &chart.Bars{}
	for i := range 100 {
		b.Rows = append(b.Rows, chart.Bar{Label: fmt.Sprint(i, strings.Repeat("日本\x1b[", 50_000)), Value: int64(i)})
	}
	text := func(w io.Writer, p chart.Picture) error { return chart.Text(w, p, chart.Screen{Width: 200}) }
	for name, write := range map[string]func(io.Writer, chart.Picture) error{"text": text, "SVG": chart.SVG, "PNG": chart.PNG} {
		var out bytes.Buffer
		if err := write(&out, b); err != nil {
			t.Fatal(err)
		}
		if out.Len() == 0 || out.Len() > 20_000*len(b.Rows) {
			t.Errorf("%s of long names has %d bytes", name, out.Len())
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/chart"
	"weir/internal/term"
)

var update = flag.Bool("update", false, "rewrite the pictures in testdata")

// hostile is a name as the wire may have it.
const hostile = "\x1b[31mred\x1b[0m</text><script>alert(1)</script>&\u202egpj.exe\x00\xff 日本"

// pictures returns one of every kind, and those that are hard to draw.
func pictures() map[string]chart.Picture {
	heading := func(title, note string) chart.Heading {
		return chart.Heading{Title: title, Note: note, Unit: "flows", Empty: "no flows"}
	}
	// Of a working day, at least.
	busy := func(hour int) float64 {
		return 40 + 900*math.Exp(-math.Pow(float64(hour)-14, 2)/18) + 300*math.Exp(-math.Pow(float64(hour)-9, 2)/2)
	}
	hours := func(value func(hour int) float64) *chart.Columns {
		c := &chart.Columns{Heading: heading("Flows by hour of the day", "Average of 7 days, 2026-03-02 to 2026-03-08"), Axis: "hour of the day (Europe/Paris)"}
		c.Unit = "average flows"
		for h := range 24 {
			c.Values = append(c.Values, value(h))
			c.Labels = append(c.Labels, fmt.Sprintf("%02d", h))
		}
		return c
	}
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	series := func(n int, step time.Duration, value func(i int) float64) *chart.Columns {
		c := &chart.Columns{
			Heading: heading("Flows per slot of 1h", "2026-03-02 00:00 to 2026-03-09 00:00"), Axis: "time (UTC)",
			Start: day, Step: step, Zone: time.UTC,
		}
		for i := range n {
			c.Values = append(c.Values, value(i))
		}
		return c
	}
	bars := func(rows ...chart.Bar) *chart.Bars {
		return &chart.Bars{Heading: heading("Top proto, dport by flows", "The first 10"), Rows: rows}
	}
	services := []string{"udp, 53", "tcp, 443", "tcp, 80", "icmp, (none)", "tcp, 22", "udp, 123", "tcp, 3389", "(none)", "tcp, 8443", "udp, 5353"}
	var top, many []chart.Bar
	for i, s := range services {
		top = append(top, chart.Bar{Label: s, Missing: s == "(none)", Value: int64(123456 / (i + 1) / (i + 1))})
	}
	for i := range 100 {
		many = append(many, chart.Bar{Label: fmt.Sprintf("10.0.%d.%d", i/7, i), Value: int64(5000 - 49*i)})
	}
	heat := func(value func(day, hour int) float64) *chart.Heat {
		h := &chart.Heat{
			Heading: heading("Flows by weekday and hour", "Average of 14 days, 2026-03-02 to 2026-03-15"), Axis: "hour of the day (Europe/Paris)",
			Rows: []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"},
		}
		h.Unit = "average flows"
		for d := range 7 {
			row := make([]float64, 24)
			for hour := range row {
				row[hour] = value(d, hour)
			}
			h.Cells = append(h.Cells, row)
		}
		for hour := range 24 {
			h.Columns = append(h.Columns, fmt.Sprintf("%02d", hour))
		}
		return h
	}
	long := strings.Repeat("a-very-long-name.", 12) + "example.com"
	spike := func(at int) func(int) float64 {
		return func(i int) float64 {
			if i == at {
				return 48_123_456
			}
			return float64(i%5) * 3
		}
	}
	one := func(int) float64 { return 1 }
	none := func(int) float64 { return 0 }
	empty := hours(none)
	empty.Title = "Flows by hour of the day of " + hostile
	return map[string]chart.Picture{
		"hours":       hours(busy),
		"hours-spike": hours(spike(23)),
		"hours-few":   hours(func(h int) float64 { return float64(h%3) / 7 }),
		"hours-dst": hours(func(h int) float64 {
			if h == 2 {
				return math.NaN()
			}
			return busy(h)
		}),
		"empty":       empty,
		"series":      series(168, time.Hour, func(i int) float64 { return math.Round(busy(i%24) * (1 - float64(i/24/5)*0.7)) }),
		"series-one":  series(1, time.Hour, one),
		"series-days": series(90, 24*time.Hour, func(i int) float64 { return float64(1000 + 13*i%400 - i%7*100) }),
		"series-long": series(8760, time.Hour, func(i int) float64 { return math.Round(busy(i%24) * (1 + math.Sin(float64(i)/1400))) }),
		"series-peak": series(48, time.Hour, spike(40)),
		"top":         bars(top...),
		"top-one":     bars(chart.Bar{Label: "tcp, 443", Value: 1}),
		"top-none":    bars(),
		"top-zero":    bars(chart.Bar{Label: "tcp, 443"}, chart.Bar{Label: "udp, 53"}),
		"top-many":    bars(many...),
		"top-names": bars(
			chart.Bar{Label: long, Value: 9_223_372_036_854_775_807}, chart.Bar{Label: hostile, Value: 1_234_567_890_123},
			chart.Bar{Label: strings.Repeat("日本語の名前", 20), Value: 3}, chart.Bar{Label: "(none)", Missing: true, Value: 2},
		),
		"heat": heat(func(d, h int) float64 { return busy(h) * (1 - float64(d/5)*0.8) }),
		"heat-days": heat(func(d, h int) float64 {
			if d > 2 {
				return math.NaN()
			}
			return float64(h * d)
		}),
		"heat-spike": heat(func(d, h int) float64 {
			if d == 4 && h == 12 {
				return 1_250_000
			}
			return float64(d + h)
		}),
		"heat-none": heat(func(int, int) float64 { return 0 }),
	}
}

// screens are those that pictures are kept of.
func screens() map[string]chart.Screen {
	return map[string]chart.Screen{
		"80": {Width: 80}, "40": {Width: 40}, "80-ascii": {Width: 80, ASCII: true}, "40-ascii": {Width: 40, ASCII: true},
		"60-color": {Width: 60, Color: true},
	}
}

// TestText compares pictures with those that somebody has looked at.
func TestText(t *testing.T) {
	for name, p := range pictures() {
		for screen, s := range screens() {
			t.Run(name+" "+screen, func(t *testing.T) {
				var b bytes.Buffer
				if err := chart.Text(&b, p, s); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join("testdata", screen, name+".txt")
				if *update {
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), b.String()); diff != "" {
					t.Errorf("picture (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestTextFits draws everything at every width: no line is wider, and nothing is there that a terminal acts on.
func TestTextFits(t *testing.T) {
	for name, p := range pictures() {
		for width := chart.MinWidth; width <= chart.MaxWidth+10; width += 1 + width/30 {
			for _, ascii := range []bool{false, true} {
				var b bytes.Buffer
				if err := chart.Text(&b, p, chart.Screen{Width: width, ASCII: ascii}); err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(b.String()) {
					line = strings.TrimSuffix(line, "\n")
					if n := term.StringWidth(line); n > width || n > chart.MaxWidth {
						t.Errorf("%s at %d columns: a line of %d: %q", name, width, n, line)
					}
					if term.Escape(line) != line {
						t.Errorf("%s: not escaped: %q", name, line)
					}
					if ascii && strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
						t.Errorf("%s: not ASCII: %q", name, line)
					}
				}
			}
		}
	}
	err := chart.Text(io.Discard, pictures()["heat"], chart.Screen{Width: chart.MinWidth - 1})
	if err == nil || err.Error() != "29 columns are too narrow for a picture: it needs 30" {
		t.Errorf("Text of a narrow terminal = %v, want an error", err)
	}
}

// TestSVG reads the pictures as a browser does: they are well-formed, with texts as texts, none outside.
func TestSVG(t *testing.T) {
	for name, p := range pictures() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := chart.SVG(&b, p); err != nil {
				t.Fatal(err)
			}
			type text struct {
				X    int    `xml:"x,attr"`
				Y    int    `xml:"y,attr"`
				Text string `xml:",chardata"`
			}
			var svg struct {
				XMLName xml.Name
				Width   int    `xml:"width,attr"`
				Height  int    `xml:"height,attr"`
				Role    string `xml:"role,attr"`
				Title   string `xml:"title"`
				Desc    string `xml:"desc"`
				Rects   []struct {
					X, Y int
					W    int `xml:"width,attr"`
					H    int `xml:"height,attr"`
				} `xml:"rect"`
				Texts []text `xml:"text"`
			}
			if err := xml.Unmarshal(b.Bytes(), &svg); err != nil {
				t.Fatal(err)
			}
			if svg.XMLName.Local != "svg" || svg.Role != "img" || svg.Title == "" || svg.Desc == "" || svg.Width != chart.Width || svg.Height < chart.Height {
				t.Errorf("root %v, role %q, title %q, desc %q, %d x %d", svg.XMLName, svg.Role, svg.Title, svg.Desc, svg.Width, svg.Height)
			}
			if len(svg.Rects) < 2 || len(svg.Texts) < 3 {
				t.Errorf("%d rectangles and %d texts only", len(svg.Rects), len(svg.Texts))
			}
			for _, r := range svg.Rects {
				if r.W <= 0 || r.H <= 0 {
					t.Errorf("rectangle %+v is empty", r)
				}
			}
			for _, x := range svg.Texts {
				if x.X < 0 || x.X > svg.Width || x.Y < 10 || x.Y > svg.Height-5 || x.Text == "" || term.Escape(x.Text) != x.Text {
					t.Errorf("text %+v", x)
				}
			}
			if s := b.String(); strings.Contains(s, "<script") || strings.ContainsAny(s, "\x1b\x00\u202e\ufffd") || strings.Contains(s, "NaN") {
				t.Errorf("not escaped:\n%s", s)
			}
		})
	}
}

// TestPNG reads the pictures: they have the size, and something is on them.
func TestPNG(t *testing.T) {
	for name, p := range pictures() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := chart.PNG(&b, p); err != nil {
				t.Fatal(err)
			}
			if dir := os.Getenv("WEIR_PICTURES"); dir != "" { // to look at
				if err := os.WriteFile(filepath.Join(dir, name+".png"), b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			img, err := png.Decode(&b)
			if err != nil {
				t.Fatal(err)
			}
			size := img.Bounds().Size()
			if want := (image.Point{chart.Width, chart.Height}); name != "top-many" && size != want || size.X != want.X || size.Y < want.Y {
				t.Errorf("size %v, want %v", size, want)
			}
			drawn := 0
			for y := 128; y < size.Y; y += 3 {
				for x := 0; x < size.X; x += 3 {
					if img.At(x, y) != img.At(0, 0) {
						drawn++
					}
				}
			}
			if drawn < 100 {
				t.Errorf("%d of a ninth of the pixels are drawn below the heading", drawn)
			}
			// Nothing runs into the margin.
			for y := range size.Y {
				for _, x := range []int{0, 4, size.X - 5, size.X - 1} {
					if img.At(x, y) != img.At(0, 0) {
						t.Fatalf("pixel %d, %d is drawn", x, y)
					}
				}
			}
		})
	}
}

func TestSI(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.142857: "0.14", 0.5: "0.5", 9.996: "10", 12.34: "12.3", 999.4: "999", 999.6: "1k", 1234: "1.23k",
		12_345: "12.3k", 123_456: "123k", 999_600: "1M", 5e9: "5G", math.MaxInt64: "9.22E", 0.001: "0.001", -1500: "-1.5k",
	} {
		if got := chart.SI(v); got != want {
			t.Errorf("SI(%v) = %q, want %q", v, got, want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/sensor"
	"weir/internal/traffic"
)

// number is how many times a test does what it does: as a variable of the
// environment says, or else normal, or few with -short.
func number(t *testing.T, variable string, normal, few int) int {
	t.Helper()
	if text := os.Getenv(variable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s=%q is no positive number", variable, text)
		}
		return n
	}
	if testing.Short() {
		return few
	}
	return normal
}

// generated returns a capture of every kind of traffic and its number of packets.
func generated(tb testing.TB, seed uint64, packets int) ([]byte, int64) {
	tb.Helper()
	var b bytes.Buffer
	totals, err := traffic.Write(&b, traffic.Spec{Seed: seed, Packets: packets})
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), totals.Packets
}

// pipeline reads with cfg to the end, and checks that nothing is left over or
// unaccounted for. It returns the records, sorted, without the uids.
func pipeline(tb testing.TB, cfg capture.Config) ([]string, capture.Stats, []capture.File) {
	tb.Helper()
	r, err := capture.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	c := newCollector()
	p, err := sensor.New(sensor.Config{Workers: 1, Sinks: []sensor.Sink{c}, Memory: sensor.MinMemory})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	if err := p.Run(ctx, r); err != nil {
		tb.Fatal(err)
	}
	checkBooks(tb, strings.Join(cfg.Inputs, " "), r.Stats(), p.Stats())
	return c.anonymous(), r.Stats(), r.Files()
}

// anonymous returns the records without uids, which depend on the beginning of the
// file as well.
func (c *collector) anonymous() []string {
	parents := regexp.MustCompile(`\[[^\]]*\]`)
	list := make([]string, 0, len(c.conns)+len(c.intel))
	for _, line := range c.conns {
		_, line, _ = strings.Cut(line, " ")
		list = append(list, parents.ReplaceAllStringFunc(line, func(uids string) string {
			return strconv.Itoa(len(strings.Fields(uids)))
		}))
	}
	for _, line := range c.intel {
		parts := strings.SplitN(line, " ", 3)
		list = append(list, parts[0]+" "+parts[2])
	}
	slices.Sort(list)
	return list
}

// cutCapture cuts a capture file at random offsets. What is read of it must be what
// is read of a file that ends with the last record that is whole, and where the cut
// lies inside a record, that must be reported.
func cutCapture(t *testing.T, name string, whole []byte, rng *rand.Rand, cuts int) {
	t.Helper()
	list, _ := records(whole)
	if len(list) == 0 {
		t.Fatalf("%s: no records", name)
	}
	type outcome struct {
		records []string
		stats   capture.Stats
	}
	known := map[int]outcome{}
	path := filepath.Join(t.TempDir(), "cut")
	open := func(b []byte) (list []string, in capture.Stats, damage *capture.DamageError) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		list, in, files := pipeline(t, capture.Config{Inputs: []string{path}, Seed: 1})
		return list, in, files[0].Truncated
	}
	for range cuts {
		at := list[0].to + rng.IntN(list[len(list)-1].to-list[0].to+1)
		last, _ := slices.BinarySearchFunc(list, at+1, func(s span, at int) int { return cmp.Compare(s.to, at) })
		end := list[last-1].to
		want, ok := known[end]
		if !ok {
			var damage *capture.DamageError
			if want.records, want.stats, damage = open(whole[:end]); damage != nil {
				t.Errorf("%s: of its first %d bytes, whole records: %v", name, end, damage)
			}
			known[end] = want
		}
		got, in, damage := open(whole[:at])
		if diff := gocmp.Diff(want.records, got); diff != "" {
			t.Errorf("%s cut at byte %d: other records than of %d bytes (-want +got):\n%.2000s", name, at, end, diff)
		}
		if in.Packets != want.stats.Packets || in.Rejected != want.stats.Rejected {
			t.Errorf("%s cut at byte %d: %d packets, want %d; or other reasons", name, at, in.Packets, want.stats.Packets)
		}
		switch {
		case at == end && damage != nil:
			t.Errorf("%s cut at byte %d, between records: reported %v", name, at, damage)
		case at != end && (damage == nil || !damage.Cut || damage.Offset != int64(end)):
			t.Errorf("%s cut at byte %d: reported %v, want a record cut that begins at %d", name, at, damage, end)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// TestCut cuts generated captures in the two formats at random offsets;
// $WEIR_CUTS says how many.
func TestCut(t *testing.T) {
	cuts, captures := number(t, "WEIR_CUTS", 20, 2), uint64(3)
	if testing.Short() {
		captures = 1
	}
	for seed := range captures {
		b, _ := generated(t, 30+seed, 1500)
		cutCapture(t, "generated pcap", b, rand.New(rand.NewPCG(seed, 1)), cuts)
		cutCapture(t, "generated pcapng", pcapng(b), rand.New(rand.NewPCG(seed, 2)), cuts)
	}
}

// TestCutCorpus does the same with 50 of the public captures: those whose hashed
// paths are the lowest among the ones with at least 10 packets that are not
// damaged. A file of another compression than none is cut as it is without.
func TestCutCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: reads captures some thousand times")
	}
	names, _, err := capture.Expand([]string{corpus})
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no captures in " + corpus)
	}
	if err != nil {
		t.Fatal(err)
	}
	order := func(name string) string {
		sum := sha256.Sum256([]byte("cut 6 " + strings.TrimPrefix(filepath.ToSlash(name), corpus)))
		return string(sum[:])
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(order(a), order(b)) })
	cuts, done := number(t, "WEIR_CUTS", 20, 1), 0
	for _, name := range names {
		b := content(t, name)
		list, packets := records(b)
		if packets < 10 || list[len(list)-1].to != len(b) {
			continue
		}
		cutCapture(t, name, b, rand.New(rand.NewPCG(uint64(done), 6)), cuts)
		if done++; done == 50 {
			break
		}
	}
	if done == 0 {
		t.Errorf("none of %d captures is sound and has 10 packets", len(names))
	}
	t.Logf("%d captures cut at %d offsets each", done, cuts)
}

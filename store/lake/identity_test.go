// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/store/lake"
)

// identify makes the input that a file's content is known by.
func identify(t *testing.T, name string, content []byte) lake.Input {
	t.Helper()
	head, n, err := lake.SumHead(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := lake.SumPrefix(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return lake.Input{Name: name, Sum: sum, Head: head, HeadLen: n, Size: int64(len(content))}
}

func TestCheck(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 10_000)
	other := append(append([]byte(nil), big[:len(big)-1]...), 'X')
	small := []byte("a log of one line\n")
	m := &lake.Manifest{Imports: []lake.Import{
		{ID: "1", Options: "tcp", Inputs: []lake.Input{identify(t, "other.pcap", other), identify(t, "big.pcap", big)}},
		{ID: "2", Options: "", Inputs: []lake.Input{identify(t, "small.log", small)}},
		{ID: "3", Options: "", Inputs: []lake.Input{{Name: "eth0"}}},
		{ID: "4", Options: "", Inputs: []lake.Input{identify(t, "empty", nil)}},
		{ID: "5", Options: "", Inputs: []lake.Input{identify(t, "part.pcap", big[:70_000])}},
	}}
	for _, tc := range []struct {
		name, options string
		content       []byte
		want          lake.Knowledge
		id, known     string
		sums          []int64 // lengths asked for
	}{
		{"unknown", "", []byte("something else"), lake.New, "", "", nil},
		{"unknown and long", "", bytes.Repeat([]byte("x"), 100_000), lake.New, "", "", []int64{18}},
		{"known", "tcp", big, lake.Known, "1", "big.pcap", []int64{160_000}},
		{"known, other options", "udp", big, lake.Differs, "1", "big.pcap", []int64{160_000}},
		{"same length, same head", "tcp", append(append([]byte(nil), big[:len(big)-1]...), 'Y'), lake.Grown, "5", "part.pcap", []int64{160_000, 18, 70_000}},
		{"grown", "tcp", append(append([]byte(nil), big...), "more"...), lake.Grown, "1", "big.pcap", []int64{160_000}},
		{"cut", "tcp", big[:69_000], lake.New, "", "", []int64{18}},
		{"small", "", small, lake.Known, "2", "small.log", nil},
		{"small one grown", "", append(append([]byte(nil), small...), "2\n"...), lake.Grown, "2", "small.log", []int64{18}},
		{"small one grown a lot", "", append(append([]byte(nil), small...), big...), lake.Grown, "2", "small.log", []int64{18}},
		{"empty", "", nil, lake.Known, "4", "empty", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := identify(t, tc.name, tc.content)
			in.Sum = ""
			var sums []int64
			got, err := m.Check([]lake.Input{{Name: "-"}, in}, tc.options, func(i int, n int64) (string, error) {
				if i != 1 {
					t.Errorf("asked for the sum of input %d", i)
				}
				sums = append(sums, n)
				return lake.SumPrefix(bytes.NewReader(tc.content), n)
			})
			if err != nil {
				t.Fatalf("Check() = %v", err)
			}
			if got[0].Knowledge != lake.New {
				t.Errorf("an input without head is %v, want new", got[0].Knowledge)
			}
			id := ""
			if got[1].Import != nil {
				id = got[1].Import.ID
			}
			if got[1].Knowledge != tc.want || id != tc.id || got[1].Name != tc.known {
				t.Errorf("Check() = %v of %s %q, want %v of %s %q",
					got[1].Knowledge, id, got[1].Name, tc.want, tc.id, tc.known)
			}
			if diff := cmp.Diff(tc.sums, sums); diff != "" {
				t.Errorf("sums asked for (-want +got):\n%s", diff)
			}
		})
	}
	in := identify(t, "big.pcap", big)
	_, err := m.Check([]lake.Input{in}, "", func(int, int64) (string, error) { return "", io.ErrUnexpectedEOF })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Check() = %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

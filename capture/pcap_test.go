// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"weir/capture"
	"weir/internal/flow"
)

// numbered returns a frame of a connection of its own.
func numbered(i int) []byte {
	return eth(0x0800, ip4(a4, b4, 17, udp(1000+i, 53, bytes.Repeat([]byte{byte(i)}, i%50))))
}

// ports returns what tells the packets of numbered frames apart.
func ports(packets []flow.Packet) []int {
	var n []int
	for i := range packets {
		n = append(n, int(packets[i].Sport)-1000)
	}
	return n
}

func upTo(n int) []int {
	var s []int
	for i := range n {
		s = append(s, i)
	}
	return s
}

func TestPcapVariants(t *testing.T) {
	const at = 1_700_000_000_123_456_789
	for _, tc := range []struct {
		name  string
		order binary.AppendByteOrder
		nano  bool
		edit  func(b []byte) []byte
		want  flow.Time
	}{
		{name: "little endian", order: binary.LittleEndian, want: at / 1000 * 1000},
		{name: "big endian", order: binary.BigEndian, want: at / 1000 * 1000},
		{name: "nanoseconds", order: binary.LittleEndian, nano: true, want: at},
		{name: "nanoseconds big endian", order: binary.BigEndian, nano: true, want: at},
		{name: "minor 0", order: binary.LittleEndian, want: at / 1000 * 1000, edit: func(b []byte) []byte { b[6] = 0; return b }},
		{name: "minor 1", order: binary.BigEndian, want: at / 1000 * 1000, edit: func(b []byte) []byte { b[7] = 1; return b }},
		{name: "snap length 0", order: binary.LittleEndian, want: at / 1000 * 1000, edit: func(b []byte) []byte { copy(b[16:20], zeros(4)); return b }},
		{name: "snap length 1", order: binary.LittleEndian, want: at / 1000 * 1000, edit: func(b []byte) []byte { b[16], b[17] = 1, 0; return b }},
		{
			name: "kuznetzov", order: binary.LittleEndian, want: at / 1000 * 1000,
			edit: func(b []byte) []byte {
				copy(b, []byte{0x34, 0xcd, 0xb2, 0xa1})
				out := append([]byte(nil), b[:24]...)
				for b = b[24:]; len(b) > 0; {
					n := int(binary.LittleEndian.Uint32(b[8:]))
					out = append(append(append(out, b[:16]...), zeros(8)...), b[16:16+n]...)
					b = b[16+n:]
				}
				return out
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newPcapOrder(1, tc.order, tc.nano).add(at, numbered(0)).add(at, numbered(1)).buf
			if tc.edit != nil {
				b = tc.edit(b)
			}
			res := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", b)}})
			if diff := cmp.Diff(upTo(2), ports(res.packets)); diff != "" {
				t.Fatalf("packets (-want +got):\n%s", diff)
			}
			if got := res.packets[0].TS; got != tc.want {
				t.Errorf("TS = %d, want %d", got, tc.want)
			}
			if res.files[0].Truncated != nil {
				t.Errorf("Truncated = %v, want nil", res.files[0].Truncated)
			}
		})
	}
}

// Old versions had the two lengths the other way round.
func TestPcapSwappedLengths(t *testing.T) {
	b := newPcap(101).addWire(1e18, plain4()[:30], 33).add(1e18, plain4()).buf
	b[6] = 2
	binary.LittleEndian.PutUint32(b[24+8:], 33)
	binary.LittleEndian.PutUint32(b[24+12:], 30)
	res := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", b)}})
	if len(res.packets) != 2 || string(res.packets[0].Payload) != "he" || res.packets[0].PayloadLen != 5 {
		t.Errorf("got %d packets, rejected %v", len(res.packets), rejected(res.stats))
	}
}

// cutTest reads content cut at every byte and wants the packets of whole records
// and the offset of the first incomplete one. ends are the offsets where records
// end; the first is where they begin.
func cutTest(t *testing.T, content []byte, ends []int) {
	t.Helper()
	for cut := 1; cut <= len(content); cut++ {
		whole, offset := 0, 0
		for _, end := range ends {
			if end <= cut {
				offset = end
			}
		}
		for _, end := range ends[1:] {
			if end <= cut {
				whole++
			}
		}
		for _, blockSize := range []int{0, 100} {
			res := read(t, capture.Config{
				Inputs: []string{"-"}, Stdin: bytes.NewReader(content[:cut]), BlockSize: blockSize,
			})
			if got := len(res.packets); got != whole {
				t.Fatalf("cut at %d: %d packets, want %d", cut, got, whole)
			}
			damage := res.files[0].Truncated
			if offset == cut {
				if damage != nil {
					t.Fatalf("cut at %d, between records: %v", cut, damage)
				}
				continue
			}
			if damage == nil || !damage.Cut || damage.Offset != int64(offset) {
				t.Fatalf("cut at %d: %v, want a cut at %d", cut, damage, offset)
			}
			if res.stats.Damaged != 1 || res.files[0].Size != int64(cut) {
				t.Fatalf("cut at %d: Damaged = %d, Size = %d", cut, res.stats.Damaged, res.files[0].Size)
			}
		}
	}
}

func TestPcapCut(t *testing.T) {
	f := newPcap(1)
	ends := []int{len(f.buf)}
	for i := range 6 {
		f.add(1e18, numbered(i*7))
		ends = append(ends, len(f.buf))
	}
	cutTest(t, f.buf, ends)
}

func TestPcapGarbage(t *testing.T) {
	f := newPcap(1)
	for i := range 20 {
		f.add(1e18, numbered(i))
	}
	at := len(f.buf)
	b := append(f.buf, bytes.Repeat([]byte{0xff}, 700_000)...)
	path := write(t, "x.pcap", b)
	res := read(t, capture.Config{Inputs: []string{path}})
	if diff := cmp.Diff(upTo(20), ports(res.packets)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	got := res.files[0]
	if d := got.Truncated; d == nil || d.Cut || d.Offset != int64(at) || !strings.Contains(d.Error(), fmt.Sprintf("malformed at byte %d", at)) {
		t.Errorf("Truncated = %v, want malformed at %d", d, at)
	}
	// The hash is that of the whole content all the same.
	id, err := capture.Identify(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.Sum != id.Sum || got.Size != int64(len(b)) {
		t.Errorf("Sum = %x of %d bytes, want %x of %d", got.Sum, got.Size, id.Sum, len(b))
	}
}

// A record may be larger than a block.
func TestSmallBlocks(t *testing.T) {
	f := newPcap(1)
	big := eth(0x0800, ip4(a4, b4, 17, udp(1003, 53, zeros(60_000))))
	for i := range 40 {
		if i == 3 {
			f.add(1e18, big)
			continue
		}
		f.add(1e18, numbered(i))
	}
	for _, size := range []int{1, 16, 63, 1000, 70_000} {
		res := read(t, capture.Config{
			Inputs: []string{"-"}, Stdin: bytes.NewReader(f.buf), BlockSize: size, Blocks: 2,
		})
		if diff := cmp.Diff(upTo(40), ports(res.packets)); diff != "" {
			t.Errorf("block size %d: packets (-want +got):\n%s", size, diff)
		}
		for i := range res.packets {
			p := &res.packets[i]
			if want := bytes.Repeat([]byte{byte(i)}, i%50); i != 3 && !bytes.Equal(p.Payload, want) {
				t.Fatalf("block size %d: payload %d = %x, want %x", size, i, p.Payload, want)
			}
		}
	}
}

func gz(tb testing.TB, parts ...[]byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&buf)
		if _, err := w.Write(p); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return buf.Bytes()
}

func zst(tb testing.TB, parts ...[]byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	var b []byte
	for _, p := range parts {
		b = w.EncodeAll(p, b)
	}
	return b
}

func TestCompressed(t *testing.T) {
	f := newPcap(1)
	for i := range 100 {
		f.add(1e18, numbered(i))
	}
	half := len(f.buf) / 2
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}
	plain := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", f.buf)}})
	for _, tc := range []struct {
		name    string
		content []byte
	}{
		{"gzip", gz(t, f.buf)},
		{"gzip members", gz(t, f.buf[:half], f.buf[half:])},
		{"zstd", zst(t, f.buf)},
		{"zstd frames", zst(t, f.buf[:half], f.buf[half:])},
		{"zstd skippable", cat(skippable, zst(t, f.buf))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, stdin := range []bool{false, true} {
				cfg := capture.Config{Inputs: []string{write(t, "x", tc.content)}}
				if stdin {
					cfg = capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(tc.content)}
				}
				res := read(t, cfg)
				if diff := cmp.Diff(upTo(100), ports(res.packets)); diff != "" {
					t.Errorf("packets (-want +got):\n%s", diff)
				}
				if res.files[0].Sum != plain.files[0].Sum || res.files[0].Truncated != nil {
					t.Errorf("file = %+v, want the sum of the plain one", res.files[0])
				}
				if res.stats.Read != int64(len(tc.content)) {
					t.Errorf("Read = %d, want %d", res.stats.Read, len(tc.content))
				}
			}
			for cut := 4; cut < len(tc.content); cut += 53 {
				res := read(t, capture.Config{Inputs: []string{write(t, "x", tc.content[:cut])}})
				n := len(res.packets)
				if diff := cmp.Diff(upTo(n), ports(res.packets)); diff != "" {
					t.Fatalf("cut at %d: packets (-want +got):\n%s", cut, diff)
				}
				// A cut between frames cuts the capture, or only its header.
				if res.files[0].Truncated == nil && n != 100 {
					t.Errorf("cut at %d: no damage, but %d packets", cut, n)
				}
			}
		})
	}
	damaged := gz(t, f.buf)
	damaged[len(damaged)-6] ^= 1
	res := read(t, capture.Config{Inputs: []string{write(t, "x", damaged)}})
	if d := res.files[0].Truncated; len(res.packets) != 100 || d == nil || d.Cut || !strings.Contains(d.Error(), "gzip: ") {
		t.Errorf("wrong gzip checksum: %d packets, %v", len(res.packets), d)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := dir + "/" + name
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.pcap", newPcap(1).add(1e18, numbered(0)).buf)
	if err := os.Mkdir(dir+"/none", 0o700); err != nil {
		t.Fatal(err)
	}
	version := newPcap(1).buf
	version[6] = 9
	for _, tc := range []struct {
		name   string
		inputs []string
		filter string
		want   string
		usage  bool
	}{
		{"missing", []string{dir + "/missing"}, "", "stat " + dir + "/missing: no such file or directory", false},
		{"missing second", []string{good, dir + "/missing"}, "", "no such file", false},
		{"empty", []string{file("empty", nil)}, "", "open " + dir + "/empty: empty file", false},
		{"text", []string{file("text", []byte("hello, world"))}, "", "open " + dir + "/text: not a capture file", false},
		{"compressed text", []string{file("text.gz", gz(t, []byte("hello, world")))}, "", "not a capture file", false},
		{"compressed nothing", []string{file("empty.gz", gz(t, nil))}, "", "empty file", false},
		{"second is text", []string{good, dir + "/text"}, "", "not a capture file", false},
		{"directory without captures", []string{dir + "/none"}, "", "no captures", false},
		{"version", []string{file("version", version)}, "", "pcap version 2.9 is not supported", false},
		{"none", nil, "", "no capture given", true},
		{"stdin twice", []string{"-", "-"}, "", "more than once", true},
		{"no stdin", []string{"-"}, "", "no standard input", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := capture.Open(capture.Config{Inputs: tc.inputs, Filter: tc.filter})
			if err == nil {
				_ = r.Close()
				t.Fatalf("Open(%q) works, want error %q", tc.inputs, tc.want)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open(%q) = %q, want one line with %q", tc.inputs, err, tc.want)
			}
			if bad := new(capture.UsageError); errors.As(err, &bad) != tc.usage {
				t.Errorf("Open(%q) = %v is a usage error: %t, want %t", tc.inputs, err, !tc.usage, tc.usage)
			}
		})
	}
	if os.Getuid() != 0 {
		if err := os.Mkdir(dir+"/secret", 0o000); err != nil {
			t.Fatal(err)
		}
		if _, err := capture.Open(capture.Config{Inputs: []string{dir + "/secret"}}); !os.IsPermission(err) {
			t.Errorf("unreadable directory: %v, want a permission error", err)
		}
	}
}

func TestHeaderOnly(t *testing.T) {
	res := read(t, capture.Config{Inputs: []string{write(t, "x", newPcap(1).buf)}})
	if len(res.packets) != 0 || res.stats.Packets != 0 || res.files[0].Truncated != nil || res.files[0].Size != 24 {
		t.Errorf("empty capture: %+v", res)
	}
}

// A hostile length costs no memory and ends the file.
func TestHostileLengths(t *testing.T) {
	for _, n := range []uint32{capture.MaxFrame + 1, 1 << 30, 0x7fffffff, 0xffffffff} {
		b := newPcap(1).add(1e18, numbered(0)).add(1e18, numbered(1)).buf
		second := 24 + 16 + len(numbered(0))
		binary.LittleEndian.PutUint32(b[second+8:], n)
		res := read(t, capture.Config{Inputs: []string{write(t, "x", b)}})
		if d := res.files[0].Truncated; len(res.packets) != 1 || d == nil || d.Offset != int64(second) {
			t.Errorf("captured length %d: %d packets, %v, want 1, malformed at %d", n, len(res.packets), d, second)
		}
	}
	b := newPcap(1).addWire(1e18, zeros(capture.MaxFrame), capture.MaxFrame).buf
	if res := read(t, capture.Config{Inputs: []string{write(t, "x", b)}}); res.stats.Packets != 1 {
		t.Errorf("frame of the largest size: %d packets, want 1", res.stats.Packets)
	}
}

func TestTimesOutOfOrder(t *testing.T) {
	// The frame that is rejected moves the time, too.
	f := newPcap(1).add(3e18, numbered(0)).add(1e9, numbered(1)).add(3e18+1e9, eth(0x0806, zeros(28))).
		add(2e18, numbered(2)).add(3e18+5e9, numbered(3))
	p := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", f.buf)}}).packets
	for i, want := range []flow.Time{3e18, 3e18, 3e18 + 1e9, 3e18 + 5e9} {
		if p[i].Now != want {
			t.Errorf("packet %d: Now = %d, want %d", i, p[i].Now, want)
		}
	}
	for i, want := range []flow.Time{3e18, 1e9, 2e18, 3e18 + 5e9} {
		if p[i].TS != want {
			t.Errorf("packet %d: TS = %d, want %d", i, p[i].TS, want)
		}
	}
}

// What is lost is warned about: damage for each file, a link type only once.
func TestWarnings(t *testing.T) {
	var log bytes.Buffer
	f := newPcap(187).add(1e18, zeros(60)).add(1e18, zeros(60))
	path := write(t, "x.pcap", f.buf[:len(f.buf)-1])
	read(t, capture.Config{
		Inputs: []string{path, write(t, "y.pcap", f.buf)}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for _, want := range []string{
		`level=WARN msg="packets of a link type are skipped" link_type="BLUETOOTH_HCI_H4 (187)" reason="it is not supported"`,
		`level=WARN msg="capture is damaged, what came before is kept" file=` + path + ` offset=100 packets=1`,
	} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("log has %q %d times, want once:\n%s", want, n, log.String())
		}
	}
}

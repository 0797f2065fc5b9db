// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"weir/capture"
)

// span is a record of a capture file.
type span struct {
	from, to int
	packet   bool
}

// records finds the records of a capture file and counts its packets, sharing
// nothing with the reader that is tested: it stops at the first record that is
// incomplete or makes no sense.
func records(content []byte) (list []span, packets int) {
	if len(content) >= 12 && string(content[:4]) == "\n\r\r\n" {
		return recordsNG(content)
	}
	if len(content) < 24 {
		return nil, 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	if content[0] == 0xa1 {
		order = binary.BigEndian
	}
	header := 16
	if order.Uint32(content) == 0xa1b2cd34 {
		header = 24
	}
	swapped := order.Uint16(content[6:]) < 4
	list = []span{{0, 24, false}}
	for at := 24; at+header <= len(content); {
		size, wire := order.Uint32(content[at+8:]), order.Uint32(content[at+12:])
		if swapped {
			size = min(size, wire)
		}
		end := at + header + int(size)
		if size > 262144 || end > len(content) {
			break
		}
		list = append(list, span{at, end, true})
		packets++
		at = end
	}
	return list, packets
}

func recordsNG(content []byte) (list []span, packets int) {
	var order binary.ByteOrder = binary.LittleEndian
	for at := 0; at+12 <= len(content); {
		if string(content[at:at+4]) == "\n\r\r\n" {
			order = binary.LittleEndian
			if content[at+8] == 0x1a {
				order = binary.BigEndian
			}
			if at+16 <= len(content) && order.Uint16(content[at+12:]) != 1 {
				break // another format than version 1
			}
		}
		kind, size := order.Uint32(content[at:]), int(order.Uint32(content[at+4:]))
		end := at + size
		if size < 12 || size%4 != 0 || end > len(content) || int(order.Uint32(content[end-4:])) != size {
			break
		}
		packet := kind == 2 || kind == 3 || kind == 6
		if packet {
			packets++
		}
		list = append(list, span{at, end, packet})
		at = end
	}
	return list, packets
}

// content reads a capture file as it is without compression, as far as that goes.
func content(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	var unpacked io.Reader
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		if unpacked, err = gzip.NewReader(bytes.NewReader(b)); err != nil {
			tb.Fatal(err)
		}
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(bytes.NewReader(b))
		if err != nil {
			tb.Fatal(err)
		}
		defer z.Close()
		unpacked = z
	default:
		return b
	}
	b, _ = io.ReadAll(unpacked) // what is damaged ends early
	return b
}

// pcapng returns the packets of a pcap file of microseconds, as pcapng of Ethernet
// with a block of another kind among them.
func pcapng(pcap []byte) []byte {
	block := func(kind uint32, body []byte) []byte {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		size := uint32(12 + len(body))
		b := binary.LittleEndian.AppendUint32(nil, kind)
		b = append(binary.LittleEndian.AppendUint32(b, size), body...)
		return binary.LittleEndian.AppendUint32(b, size)
	}
	out := block(0x0a0d0d0a, []byte("\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	out = append(out, block(1, []byte{1, 0, 0, 0, 0, 0, 0, 0})...)
	list, _ := records(pcap)
	for i, r := range list {
		if !r.packet {
			continue
		}
		b := pcap[r.from:r.to]
		at := uint64(binary.LittleEndian.Uint32(b))*1e6 + uint64(binary.LittleEndian.Uint32(b[4:]))
		body := make([]byte, 4, 20+len(b))
		body = binary.LittleEndian.AppendUint32(body, uint32(at>>32))
		body = binary.LittleEndian.AppendUint32(body, uint32(at))
		out = append(out, block(6, append(append(body, b[8:16]...), b[16:]...))...)
		if i%50 == 0 {
			out = append(out, block(5, make([]byte, 12))...) // statistics
		}
	}
	return out
}

// TestRecords checks that the reader finds as many packets in generated files, of
// each format, as the count that shares nothing with it, and as were written.
func TestRecords(t *testing.T) {
	plain, want := generated(t, 21, 3000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"x.pcap": plain, "x.pcapng": pcapng(plain), "x.pcap.gz": packed.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, n := records(content(t, path))
		_, in, _ := pipeline(t, capture.Config{Inputs: []string{path}})
		if int64(n) != want || in.Packets != uint64(want) {
			t.Errorf("%s: %d packets counted, %d read, want %d", name, n, in.Packets, want)
		}
	}
}

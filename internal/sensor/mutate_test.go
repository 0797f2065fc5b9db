// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"weir/capture"
)

// mutation is one packet as it is changed.
type mutation struct {
	data []byte
	wire uint32
}

// mutate changes a packet eight times. others are packets of the same capture; the
// result may share memory with neither.
func mutate(rng *rand.Rand, p mutation, others [][]byte) []mutation {
	out := []mutation{p}
	for range 8 {
		m := &out[0]
		n := len(m.data)
		if n == 0 {
			m.data = bytes.Clone(others[rng.IntN(len(others))])
			m.wire = max(m.wire, uint32(len(m.data)))
			continue
		}
		switch rng.IntN(7) {
		case 0: // a bit
			m.data[rng.IntN(n)] ^= 1 << rng.IntN(8)
		case 1: // a byte
			m.data[rng.IntN(n)] = byte(rng.Uint32())
		case 2: // a byte of the headers, to what is special
			special := []byte{0, 1, 4, 5, 0x7f, 0x80, 0xc0, 0xff}
			m.data[rng.IntN(min(n, 90))] = special[rng.IntN(len(special))]
		case 3: // cut, on the wire as well or only as captured
			m.data = m.data[:rng.IntN(n+1)]
			if rng.IntN(2) == 0 {
				m.wire = uint32(len(m.data))
			}
		case 4: // a length, a count, an offset: two bytes that lie
			if n < 2 {
				continue
			}
			at := rng.IntN(n - 1)
			if rng.IntN(2) == 0 {
				at = rng.IntN(min(n-1, 90))
			}
			lies := []uint16{
				0, 1, 0xffff, 0x7fff, 0x8000, uint16(n), uint16(n - at), uint16(n - at + 1), uint16(n - at - 1),
				binary.BigEndian.Uint16(m.data[at:]) + 1, binary.BigEndian.Uint16(m.data[at:]) - 1,
			}
			binary.BigEndian.PutUint16(m.data[at:], lies[rng.IntN(len(lies))])
		case 5: // the same once more
			if len(out) < 4 {
				out = append(out, mutation{bytes.Clone(m.data), m.wire})
			}
		case 6: // the beginning of this one and the end of another
			other := others[rng.IntN(len(others))]
			m.data = append(m.data[:rng.IntN(n+1)], other[rng.IntN(len(other)+1):]...)
			if len(m.data) > 65535 {
				m.data = m.data[:65535]
			}
			m.wire = max(m.wire, uint32(len(m.data)))
		}
	}
	return out
}

// mutateCapture makes a pcap of the packets of another one, each followed by what
// becomes of it when it is changed eight times, and runs it through the pipeline.
// It returns the number of changed packets. The packets as they were keep the
// connections alive, so that the changed ones come to states that are rare.
func mutateCapture(t *testing.T, name string, pcap []byte, rng *rand.Rand, limit int) int {
	t.Helper()
	var order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	} = binary.LittleEndian
	if pcap[0] == 0xa1 {
		order = binary.BigEndian
	}
	list, _ := records(pcap)
	first := 1 + rng.IntN(max(1, len(list)-limit))
	list = list[first:min(len(list), first+limit)]
	var others [][]byte
	for _, r := range list {
		others = append(others, pcap[r.from+16:r.to])
	}
	file := bytes.Clone(pcap[:24])
	written, mutated := uint64(0), 0
	add := func(header []byte, m mutation) {
		file = append(file, header[:8]...)
		file = order.AppendUint32(file, uint32(len(m.data)))
		file = order.AppendUint32(file, m.wire)
		file = append(file, m.data...)
		written++
	}
	for _, r := range list {
		header, data := pcap[r.from:r.from+16], pcap[r.from+16:r.to]
		wire := max(order.Uint32(header[12:]), uint32(len(data)))
		if rng.IntN(4) > 0 {
			add(header, mutation{data, wire})
		}
		for _, m := range mutate(rng, mutation{bytes.Clone(data), wire}, others) {
			add(header, m)
		}
		mutated++
	}
	begun := time.Now()
	_, in, files := pipeline(t, capture.Config{
		Inputs: []string{"-"}, Stdin: bytes.NewReader(file), Checksums: rng.IntN(4) == 0,
	})
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("%s: %d packets took %v", name, written, took)
	}
	if in.Packets != written || files[0].Truncated != nil {
		t.Errorf("%s: %d packets read of %d: %v", name, in.Packets, written, files[0].Truncated)
	}
	if t.Failed() {
		t.FailNow()
	}
	return mutated
}

// TestMutations sends changed packets through the whole pipeline: nothing panics,
// every packet is accounted for, and none takes for ever. $WEIR_MUTATIONS says how
// many. Half of them are generated ones; the others are those of the public
// captures, of all link types, if there are any.
func TestMutations(t *testing.T) {
	total := number(t, "WEIR_MUTATIONS", 40_000, 4_000)
	var names []string
	if !testing.Short() {
		var err error
		if names, _, err = capture.Expand([]string{corpus}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	done := 0
	for seed := uint64(0); done < total/2 || len(names) == 0 && done < total; seed++ {
		b, _ := generated(t, 60+seed, 4000)
		done += mutateCapture(t, "generated", b, rand.New(rand.NewPCG(seed, 8)), 4000)
	}
	ours := done
	// Files in which packets can be replaced: pcap with the usual record header.
	var usable [][]byte
	for _, name := range names {
		b := content(t, name)
		magic := []byte{0xd4, 0xc3, 0xb2, 0xa1}
		list, packets := records(b)
		if packets == 0 || list[0].to != 24 {
			continue
		}
		if bytes.HasPrefix(b, magic) && b[6] == 4 || bytes.HasPrefix(b, []byte{0xa1, 0xb2, 0xc3, 0xd4}) && b[7] == 4 {
			usable = append(usable, b)
		}
	}
	rng := rand.New(rand.NewPCG(6, 8))
	for len(usable) > 0 && done < total {
		b := usable[rng.IntN(len(usable))]
		done += mutateCapture(t, "public", b, rng, 500)
	}
	t.Logf("%d packets changed, %d of them generated, the others of %d captures", done, ours, len(usable))
}

// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/internal/sensor"
)

// The helpers of this file make captures from scripts and show what the whole
// pipeline says about them.

// scripted is a capture: one line for each packet, such as
//
//	0.1 > SA +0 1 payload
//
// that is: seconds, direction (> from A), TCP flags, sequence number relative to
// the sender's initial one, acknowledgment relative to the peer's, and payload, a
// Go string or x30 for thirty bytes. Flags may also be "udp", without numbers.
type scripted struct {
	aport, bport uint16
	text         string
}

const (
	scriptA = 1000
	scriptB = 5000
)

// write writes the capture into the test's directory.
func (s *scripted) write(t *testing.T) string {
	t.Helper()
	le := binary.LittleEndian
	out := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0}
	for line := range strings.Lines(s.text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		at, packet := s.packet(t, line)
		out = le.AppendUint32(out, uint32(1_700_000_000+at/1e6))
		out = le.AppendUint32(out, uint32(at%1e6))
		out = le.AppendUint32(out, uint32(len(packet)))
		out = le.AppendUint32(out, uint32(len(packet)))
		out = append(out, packet...)
	}
	name := filepath.Join(t.TempDir(), "script.pcap")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// packet makes the IPv4 packet of a line, and its time in microseconds.
func (s *scripted) packet(t *testing.T, line string) (at int64, packet []byte) {
	t.Helper()
	field := func() string {
		first, rest, _ := strings.Cut(line, " ")
		line = rest
		return first
	}
	seconds, err := strconv.ParseFloat(field(), 64)
	if err != nil {
		t.Fatal(err)
	}
	at = int64(seconds*1e6 + 0.5)
	back, flags := field() == "<", field()
	number := func() uint32 {
		n, err := strconv.ParseInt(field(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	var seq, ack uint32
	if flags != "udp" {
		seq, ack = number(), number()
	}
	payload := []byte(line)
	if n, err := strconv.Atoi(strings.TrimPrefix(line, "x")); err == nil && line[0] == 'x' {
		payload = slices.Repeat([]byte("x"), n)
	} else if strings.HasPrefix(line, `"`) {
		text, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("payload %s: %v", line, err)
		}
		payload = []byte(text)
	}

	be := binary.BigEndian
	src, dst, sport, dport := []byte{10, 0, 0, 1}, []byte{10, 0, 0, 2}, s.aport, s.bport
	seq, ack = seq+scriptA, ack+scriptB
	if back {
		src, dst, sport, dport = dst, src, dport, sport
		seq, ack = seq-scriptA+scriptB, ack-scriptB+scriptA
	}
	l4 := be.AppendUint16(be.AppendUint16(nil, sport), dport)
	proto := byte(17)
	if flags == "udp" {
		l4 = be.AppendUint16(l4, uint16(8+len(payload)))
		l4 = append(l4, 0, 0)
	} else {
		proto = 6
		bits := byte(0)
		for i, c := range "FSRPAU" {
			if strings.ContainsRune(flags, c) {
				bits |= 1 << i
			}
		}
		if bits&0x10 == 0 {
			ack = 0
		}
		l4 = be.AppendUint32(be.AppendUint32(l4, seq), ack)
		l4 = append(l4, 5<<4, bits, 0x20, 0, 0, 0, 0, 0)
		if bits&0x20 != 0 { // the urgent pointer
			l4[19] = 1
		}
	}
	l4 = append(l4, payload...)
	packet = append([]byte{0x45, 0}, be.AppendUint16(nil, uint16(20+len(l4)))...)
	packet = append(packet, 0, 0, 0x40, 0, 64, proto, 0, 0)
	packet = append(append(append(packet, src...), dst...), l4...)
	return at, packet
}

// said is what a pipeline says about a capture.
type said struct {
	conns, intel []string
	kinds        []flow.KindInfo
}

func (s *said) Connections(b *flow.ConnBatch) error {
	for i := range b.Conns {
		c := &b.Conns[i]
		from := "A"
		if c.Src == flow.Addr4([4]byte{10, 0, 0, 2}) {
			from = "B"
		}
		missed := ""
		if c.Missed > 0 {
			missed = fmt.Sprintf(" missed %d", c.Missed)
		}
		service := ""
		if c.Service != "" {
			service = " " + c.Service
		}
		s.conns = append(s.conns, fmt.Sprintf("%s %s %s pkts %d/%d bytes %d/%d dur %v%s%s", from, c.State, c.History,
			c.CSPkts, c.SCPkts, c.CSPayload, c.SCPayload, time.Duration(c.Duration())*time.Microsecond, missed, service))
	}
	return nil
}

func (s *said) Intel(b *flow.IntelBatch) error {
	for i := range b.Recs {
		r := &b.Recs[i]
		text := s.kinds[r.Kind].Name
		for _, name := range []string{"query", "method", "host", "uri", "status_code", "response_body_len", "server_name"} {
			for a, info := range s.kinds[r.Kind].Attrs {
				if info.Column != name || !b.Has(i, a) {
					continue
				}
				if len(b.Bytes(i, a)) > 0 {
					text += " " + string(b.Bytes(i, a))
				} else {
					text += fmt.Sprintf(" %d", b.Int(i, a))
				}
			}
		}
		s.intel = append(s.intel, text)
	}
	return nil
}

// run runs the pipeline over the capture.
func (s *scripted) run(t *testing.T) *said {
	t.Helper()
	out := &said{kinds: flow.Kinds()}
	name := s.write(t)
	stats, in := read(t, name, sensor.Config{Sinks: []sensor.Sink{out}, Workers: 1})
	if stats.Reassembly.HeldBytes != 0 || stats.Dissect.Sessions != 0 {
		t.Errorf("after the end %d bytes and %d sessions are held", stats.Reassembly.HeldBytes, stats.Dissect.Sessions)
	}
	if in.Packets != in.Delivered {
		t.Errorf("%d packets, %d of them delivered", in.Packets, in.Delivered)
	}
	return out
}

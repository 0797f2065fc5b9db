// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"weir/internal/traffic"
)

// This file finds out what a capture holds without any of the generator's code:
// frames, checksums and streams with a decoder of its own, HTTP with net/http,
// DNS with miekg/dns and ClientHellos with crypto/tls.

// endpoint is an address and a port (ICMP: a message type that both ends share).
type endpoint struct {
	ip   [16]byte
	port uint16
}

// key identifies a connection by its ends, the originator first.
type key struct {
	a, b  endpoint
	proto uint8
}

// stream is one direction of a TCP connection.
type stream struct {
	first   uint32 // sequence number of the first byte
	seen    bool
	data    []byte
	have    []bool
	highest int // end of the highest segment so far
}

// flow is a connection of the capture.
type flow struct {
	key      key
	streams  [2]stream
	messages [2][][]byte // datagrams
	last     int64
	packets  int
	synAck   bool
}

type surveyor struct {
	t      *testing.T
	totals traffic.Totals
	flows  map[key]*flow
	order  []*flow
}

// survey returns the totals of a capture.
func survey(t *testing.T, capture []byte) traffic.Totals {
	t.Helper()
	s := &surveyor{t: t, flows: map[key]*flow{}}
	unit := int64(1000)
	if binary.LittleEndian.Uint32(capture) == 0xa1b23c4d {
		unit = 1
	}
	s.totals.FileBytes = int64(len(capture))
	var previous int64
	for b := capture[24:]; len(b) > 0; {
		at := int64(binary.LittleEndian.Uint32(b))*1e9 + int64(binary.LittleEndian.Uint32(b[4:]))*unit
		n := binary.LittleEndian.Uint32(b[8:])
		if at < previous {
			t.Fatalf("packet %d goes back in time", s.totals.Packets+1)
		}
		previous = at
		if s.totals.Packets == 0 {
			s.totals.First = time.Unix(0, at).UTC()
		}
		s.totals.Last = time.Unix(0, at).UTC()
		s.totals.Packets++
		s.frame(at, b[16:16+n])
		b = b[16+n:]
	}
	for _, f := range s.order {
		s.classify(f)
	}
	return s.totals
}

// sum is the plain definition of the Internet checksum.
func sum(parts ...[]byte) uint16 {
	var total uint32
	for _, b := range parts {
		for i := range b {
			if i%2 == 0 {
				total += uint32(b[i]) << 8
			} else {
				total += uint32(b[i])
			}
			total = total&0xffff + total>>16
		}
	}
	return uint16(total)
}

// frame takes one frame apart and checks every length and checksum on the way.
func (s *surveyor) frame(at int64, f []byte) {
	s.t.Helper()
	var k key
	var proto uint8
	var payload, pseudo []byte
	ip := f[14:]
	switch binary.BigEndian.Uint16(f[12:]) {
	case 0x0800:
		length := int(binary.BigEndian.Uint16(ip[2:]))
		s.totals.Bytes += int64(length)
		if c := sum(ip[:20]); c != 0xffff {
			s.t.Fatalf("packet %d: IPv4 checksum: sum %#x", s.totals.Packets, c)
		}
		copy(k.a.ip[:], ip[12:16])
		copy(k.b.ip[:], ip[16:20])
		proto, payload, pseudo = ip[9], ip[20:length], ip[12:20]
		s.padding(f, 14+length)
	case 0x86dd:
		length := 40 + int(binary.BigEndian.Uint16(ip[4:]))
		s.totals.Bytes += int64(length)
		copy(k.a.ip[:], ip[8:24])
		copy(k.b.ip[:], ip[24:40])
		proto, payload, pseudo = ip[6], ip[40:length], ip[8:40]
		s.padding(f, 14+length)
	default:
		s.t.Fatalf("packet %d: EtherType %x", s.totals.Packets, f[12:14])
	}
	ends := []byte{0, proto, byte(len(payload) >> 8), byte(len(payload))}
	if proto == 1 {
		pseudo, ends = nil, nil
	}
	if c := sum(pseudo, ends, payload); c != 0xffff {
		s.t.Fatalf("packet %d: checksum of protocol %d: sum %#x", s.totals.Packets, proto, c)
	}
	k.proto = proto
	switch proto {
	case 6, 17:
		k.a.port, k.b.port = binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
	default:
		// Both types of an echo are one connection; an error is its own.
		switch payload[0] {
		case 0, 8, 128, 129:
			k.a.port, k.b.port = 8, 8
		default:
			k.a.port, k.b.port = uint16(payload[0]), uint16(payload[1])
		}
	}
	s.packet(at, k, payload)
}

// padding checks that frames are padded with zeros, to 60 bytes if at all.
func (s *surveyor) padding(f []byte, used int) {
	s.t.Helper()
	if len(f) > used && len(f) != 60 || slices.ContainsFunc(f[used:], func(b byte) bool { return b != 0 }) {
		s.t.Fatalf("packet %d: padding % x", s.totals.Packets, f[used:])
	}
}

// packet adds a packet to its connection.
func (s *surveyor) packet(at int64, k key, b []byte) {
	s.t.Helper()
	reverse := key{a: k.b, b: k.a, proto: k.proto}
	dir := 0
	f := s.flows[k]
	if f == nil {
		if f = s.flows[reverse]; f != nil {
			dir = 1
		}
	}
	if f != nil && f.packets > 0 {
		gap := time.Duration(at - f.last)
		switch {
		case gap > time.Minute && (k.proto == 1 || k.proto == 58):
			f, dir = nil, 0
		case gap > 50*time.Second:
			s.t.Fatalf("packet %d: %v after the one before in its connection", s.totals.Packets, gap)
		}
	}
	if f == nil {
		f = &flow{key: k}
		s.flows[k] = f
		s.order = append(s.order, f)
		if k.proto == 6 && b[13] != 2 {
			s.t.Fatalf("packet %d: a connection begins with flags %#x", s.totals.Packets, b[13])
		}
	}
	f.last = at
	f.packets++
	switch k.proto {
	case 6:
		s.segment(f, dir, b)
	case 17:
		if n := binary.BigEndian.Uint16(b[4:]); int(n) != len(b) {
			s.t.Fatalf("packet %d: UDP length %d of %d", s.totals.Packets, n, len(b))
		}
		f.messages[dir] = append(f.messages[dir], b[8:])
		s.totals.Payload += int64(len(b) - 8)
	default:
		f.messages[dir] = append(f.messages[dir], b[8:])
		s.totals.Payload += int64(len(b) - 8)
	}
}

// segment adds a TCP segment to its stream.
func (s *surveyor) segment(f *flow, dir int, b []byte) {
	s.t.Helper()
	const syn, ack = 2, 16
	seq, flags := binary.BigEndian.Uint32(b[4:]), b[13]
	st := &f.streams[dir]
	if flags&syn != 0 {
		if st.seen && st.first != seq+1 {
			s.t.Fatalf("packet %d: a second SYN with another number", s.totals.Packets)
		}
		st.first, st.seen = seq+1, true
		f.synAck = f.synAck || flags&ack != 0
	}
	data := b[int(b[12]>>4)*4:]
	if flags&ack != 0 {
		other := &f.streams[1-dir]
		acked := int(binary.BigEndian.Uint32(b[8:]) - other.first)
		if other.seen && (acked < 0 || acked > other.highest+1) {
			s.t.Fatalf("packet %d acknowledges byte %d of %d", s.totals.Packets, acked, other.highest)
		}
	}
	if len(data) == 0 {
		return
	}
	off := int(seq - st.first)
	end := off + len(data)
	if end > len(st.data) {
		st.data = append(st.data, make([]byte, end-len(st.data))...)
		st.have = append(st.have, make([]bool, end-len(st.have))...)
	}
	switch {
	case st.have[off]:
		s.totals.Retransmitted++
		if !bytes.Equal(st.data[off:end], data) {
			s.t.Fatalf("packet %d: a retransmission with other bytes", s.totals.Packets)
		}
		return
	case off < st.highest:
		s.totals.Reordered++
	}
	st.highest = max(st.highest, end)
	copy(st.data[off:], data)
	for i := off; i < end; i++ {
		st.have[i] = true
	}
	s.totals.Payload += int64(len(data))
}

// classify counts a whole connection.
func (s *surveyor) classify(f *flow) {
	s.t.Helper()
	for i := range f.streams {
		if slices.Contains(f.streams[i].have, false) {
			s.t.Errorf("a stream of %v has a hole", f.key)
		}
	}
	if f.key.a.ip[0] == 0x20 {
		s.totals.IPv6++
	}
	port := f.key.b.port
	switch f.key.proto {
	case 6:
		s.totals.TCP++
		switch data := f.streams[0].data; {
		case port == 53 && len(data) > 0:
			s.totals.Connections[traffic.ClassDNS]++
			s.dns(deframe(f.streams[0].data), deframe(f.streams[1].data))
		case bytes.HasPrefix(data, []byte{22, 3, 1}):
			s.totals.Connections[traffic.ClassTLS]++
			s.tls(f)
		case bytes.Contains(data, []byte(" HTTP/1.1\r\n")):
			s.totals.Connections[traffic.ClassHTTP]++
			s.http(f)
		case len(data) > 0 || f.packets == 3 && f.synAck && s.established(f):
			s.totals.Connections[traffic.ClassBulk]++
		default:
			s.totals.Connections[traffic.ClassScan]++
		}
	case 17:
		s.totals.UDP++
		if port == 53 {
			s.totals.Connections[traffic.ClassDNS]++
			s.dns(f.messages[0], f.messages[1])
			return
		}
		s.totals.Connections[traffic.ClassUDP]++
	default:
		s.totals.ICMP++
		s.totals.Connections[traffic.ClassICMP]++
	}
}

// established tells connections that were left open from half-open scans: only
// they go to port 443 of the servers of the Concurrent scenario.
func (s *surveyor) established(f *flow) bool {
	return f.key.b.ip[0] == 192 && f.key.b.ip[1] == 0
}

// deframe splits DNS over TCP into messages.
func deframe(b []byte) [][]byte {
	var messages [][]byte
	for len(b) > 2 {
		n := 2 + int(binary.BigEndian.Uint16(b))
		messages = append(messages, b[2:n])
		b = b[n:]
	}
	return messages
}

// dns checks the messages of a DNS connection.
func (s *surveyor) dns(queries, replies [][]byte) {
	s.t.Helper()
	ids := map[uint16]string{}
	for _, b := range queries {
		var m dns.Msg
		if err := m.Unpack(b); err != nil || m.Response || len(m.Question) != 1 {
			s.t.Errorf("query % x: %v", b, err)
			continue
		}
		ids[m.Id] = m.Question[0].String()
		s.totals.DNSQueries++
	}
	for _, b := range replies {
		var m dns.Msg
		if err := m.Unpack(b); err != nil || !m.Response || len(m.Question) != 1 {
			s.t.Errorf("reply % x: %v", b, err)
			continue
		}
		if ids[m.Id] != m.Question[0].String() {
			s.t.Errorf("reply to %q, asked %q", m.Question[0].String(), ids[m.Id])
		}
		if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 {
			s.t.Errorf("reply without answers: %v", &m)
		}
		s.totals.DNSReplies++
	}
}

// http reads all exchanges of a connection.
func (s *surveyor) http(f *flow) {
	s.t.Helper()
	requests := bufio.NewReader(bytes.NewReader(f.streams[0].data))
	replies := bufio.NewReader(bytes.NewReader(f.streams[1].data))
	for {
		if _, err := requests.Peek(1); err == io.EOF {
			break
		}
		req, err := http.ReadRequest(requests)
		if err != nil {
			s.t.Errorf("request of %v: %v", f.key, err)
			return
		}
		n, err := io.Copy(io.Discard, req.Body)
		if err != nil {
			s.t.Errorf("request body of %v: %v", f.key, err)
		}
		s.totals.HTTPRequestBytes += n
		s.totals.HTTPExchanges++
		resp, err := http.ReadResponse(replies, req)
		for err == nil && resp.StatusCode == http.StatusContinue {
			resp, err = http.ReadResponse(replies, req)
		}
		if err != nil {
			s.t.Errorf("reply of %v: %v", f.key, err)
			return
		}
		body := io.Reader(resp.Body)
		if resp.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(resp.Body); err != nil {
				s.t.Errorf("reply of %v: %v", f.key, err)
				return
			}
		}
		if n, err = io.Copy(io.Discard, body); err != nil {
			s.t.Errorf("reply body of %v: %v", f.key, err)
		}
		s.totals.HTTPResponseBytes += n
		resp.Body.Close()
	}
	if n := replies.Buffered(); n > 0 {
		s.t.Errorf("%d bytes after the last reply of %v", n, f.key)
	}
}

// tls checks a TLS connection: its hello as a server reads it, and its records.
func (s *surveyor) tls(f *flow) {
	s.t.Helper()
	s.totals.TLSHandshakes++
	if hello := readHello(f.streams[0].data); hello == nil || hello.ServerName == "" {
		s.t.Errorf("the hello of %v has no server name", f.key)
	}
	var application [2]int
	for dir := range f.streams {
		for b := f.streams[dir].data; len(b) > 0; {
			if len(b) < 5 || b[0] < 20 || b[0] > 23 || len(b) < 5+int(binary.BigEndian.Uint16(b[3:])) {
				s.t.Errorf("a record of %v: % x", f.key, b[:min(len(b), 16)])
				return
			}
			if b[0] == 23 {
				application[dir]++
			}
			b = b[5+int(binary.BigEndian.Uint16(b[3:])):]
		}
	}
	if application[0] > 0 && application[1] > 0 {
		s.totals.TLSEstablished++
	}
}

// readHello returns the ClientHello at the start of data, nil if there is none.
func readHello(data []byte) *tls.ClientHelloInfo {
	var hello *tls.ClientHelloInfo
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = h
			return nil, io.EOF
		},
	}
	// The handshake ends with the error above, once the hello was read.
	if tls.Server(&script{Reader: bytes.NewReader(data)}, config).HandshakeContext(context.Background()) == nil {
		return nil
	}
	return hello
}

// script is a connection that only sends.
type script struct{ io.Reader }

func (*script) Write(b []byte) (int, error)      { return len(b), nil }
func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

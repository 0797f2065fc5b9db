// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"weir/capture"
	"weir/internal/flow"
)

// The helpers of this file make frames and capture files byte by byte.

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func zeros(n int) []byte { return make([]byte, n) }

// onesum is the internet checksum, written in the plainest way.
func onesum(parts ...[]byte) uint16 {
	b := cat(parts...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func addr(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }

func eth(t int, payload []byte) []byte {
	return cat([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, be16(t), payload)
}

// snap makes an 802.2 header with SNAP.
func snap(org uint32, t int, payload []byte) []byte {
	return cat([]byte{0xaa, 0xaa, 3}, be32(org)[1:], be16(t), payload)
}

// wlan makes an 802.11 frame of a type and with flags; qos is the first byte of the
// QoS control, if the type has one.
func wlan(kind, flags, qos byte, payload ...[]byte) []byte {
	b := cat([]byte{kind, flags, 0, 0}, zeros(18), []byte{0x10, 0})
	if flags&3 == 3 {
		b = append(b, zeros(6)...)
	}
	if kind&0x80 != 0 {
		b = append(b, qos, 0)
	}
	return cat(b, cat(payload...))
}

// ip4 makes an IPv4 packet with a right checksum.
func ip4(src, dst string, proto int, payload []byte) []byte {
	return ip4frag(src, dst, proto, 0x1234, 0x4000, payload)
}

func ip4frag(src, dst string, proto, id, frag int, payload []byte) []byte {
	h := cat([]byte{0x45, 0}, be16(20+len(payload)), be16(id), be16(frag),
		[]byte{64, byte(proto), 0, 0}, ip(src), ip(dst))
	binary.BigEndian.PutUint16(h[10:], onesum(h))
	return cat(h, payload)
}

func ip6(src, dst string, next int, payload []byte) []byte {
	return cat([]byte{0x60, 0, 0, 0}, be16(len(payload)), []byte{byte(next), 64}, ip(src), ip(dst), payload)
}

// pseudo returns the pseudo header of a transport checksum.
func pseudo(src, dst string, proto, n int) []byte {
	return cat(ip(src), ip(dst), be32(uint32(n)), be32(uint32(proto)))
}

func tcp(sport, dport int, flags byte, options, payload []byte) []byte {
	return cat(be16(sport), be16(dport), be32(1000), be32(2000),
		[]byte{byte(5+len(options)/4) << 4, flags}, be16(4096), zeros(4), options, payload)
}

func udp(sport, dport int, payload []byte) []byte {
	return cat(be16(sport), be16(dport), be16(8+len(payload)), zeros(2), payload)
}

func icmp(kind, code byte, payload []byte) []byte {
	return cat([]byte{kind, code, 0, 0, 0, 1, 0, 1}, payload)
}

// pcapFile writes pcap files.
type pcapFile struct {
	order binary.AppendByteOrder
	nano  bool
	buf   []byte
}

func newPcap(link uint32) *pcapFile { return newPcapOrder(link, binary.LittleEndian, false) }

func newPcapOrder(link uint32, order binary.AppendByteOrder, nano bool) *pcapFile {
	f := &pcapFile{order: order, nano: nano}
	magic := uint32(0xa1b2c3d4)
	if nano {
		magic = 0xa1b23c4d
	}
	f.buf = order.AppendUint32(f.buf, magic)
	f.buf = order.AppendUint16(f.buf, 2)
	f.buf = order.AppendUint16(f.buf, 4)
	f.buf = append(f.buf, zeros(8)...)
	f.buf = order.AppendUint32(f.buf, 65535)
	f.buf = order.AppendUint32(f.buf, link)
	return f
}

// add writes a frame; t is in nanoseconds.
func (f *pcapFile) add(t int64, data []byte) *pcapFile { return f.addWire(t, data, len(data)) }

func (f *pcapFile) addWire(t int64, data []byte, wire int) *pcapFile {
	f.buf = f.order.AppendUint32(f.buf, uint32(t/1e9))
	frac := t % 1e9
	if !f.nano {
		frac /= 1000
	}
	f.buf = f.order.AppendUint32(f.buf, uint32(frac))
	f.buf = f.order.AppendUint32(f.buf, uint32(len(data)))
	f.buf = f.order.AppendUint32(f.buf, uint32(wire))
	f.buf = append(f.buf, data...)
	return f
}

// write puts content into a file of the test's directory.
func write(tb testing.TB, name string, content []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// result is everything that reading gave, copied out of the blocks.
type result struct {
	packets []flow.Packet
	stats   capture.Stats
	files   []capture.File
	now     flow.Time // of the last block
}

// read reads with cfg to the end. Each packet's payload is copied.
func read(tb testing.TB, cfg capture.Config) result {
	tb.Helper()
	res, err := readErr(tb, cfg)
	if err != nil {
		tb.Fatalf("reading %v: %v", cfg.Inputs, err)
	}
	return res
}

func readErr(tb testing.TB, cfg capture.Config) (res result, err error) {
	tb.Helper()
	r, err := capture.Open(cfg)
	if err != nil {
		return res, err
	}
	defer func() {
		if err := r.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	}()
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return res, err
		}
		sharded := 0
		for s := range flow.Shards {
			for _, i := range b.Shard(s) {
				if b.Packets[i].Hash%flow.Shards != uint64(s) {
					tb.Fatalf("packet %d is in shard %d, its hash says %d", i, s, b.Packets[i].Hash%flow.Shards)
				}
				sharded++
			}
		}
		if sharded != len(b.Packets) {
			tb.Fatalf("shards hold %d packets, the block %d", sharded, len(b.Packets))
		}
		for _, p := range b.Packets {
			if cap(p.Payload) != len(p.Payload) {
				tb.Fatalf("payload has capacity %d beyond its length %d", cap(p.Payload), len(p.Payload))
			}
			p.Payload = bytes.Clone(p.Payload)
			res.packets = append(res.packets, p)
		}
		res.now = b.Now
		b.Release()
	}
	res.stats, res.files = r.Stats(), r.Files()
	checkBooks(tb, res.stats)
	if got, want := uint64(len(res.packets)), res.stats.Delivered+res.stats.Aggregated+res.stats.Tunnels.Inner; got != want {
		tb.Errorf("blocks held %d packets, Delivered, Aggregated and Tunnels.Inner say %d", got, want)
	}
	return res, nil
}

// checkBooks verifies that every frame is accounted for.
func checkBooks(tb testing.TB, s capture.Stats) {
	tb.Helper()
	sum := s.Delivered
	for _, n := range s.Rejected {
		sum += n
	}
	if sum != s.Packets || s.Rejected[capture.Delivered] != 0 {
		tb.Errorf("books: %d packets, but %d delivered and rejected %v", s.Packets, s.Delivered, rejected(s))
	}
}

// rejected lists the reasons that were counted.
func rejected(s capture.Stats) map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range s.Rejected {
		if n > 0 {
			m[capture.Reason(i).String()] = n
		}
	}
	return m
}

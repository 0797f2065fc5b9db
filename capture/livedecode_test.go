// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"context"
	"encoding/binary"
	"log/slog"
	"testing"

	"weir/internal/flow"
)

// chunk puts a frame into a block as a listener does.
func (b *Block) chunk(ts flow.Time, link uint32, frame []byte) {
	p := b.buf[b.used:]
	binary.LittleEndian.PutUint64(p, uint64(ts))
	binary.LittleEndian.PutUint32(p[8:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(p[12:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(p[16:], link)
	copy(p[chunkHeader:], frame)
	b.used += chunkHeader + len(frame)
}

// Whatever the clock of the packets does, timers run by the block's time, and
// neither that nor the losses go back where chunks overtake each other.
func TestLiveTime(t *testing.T) {
	const second = flow.Time(1e9)
	start := 1_700_000_000 * second
	log := slog.New(slog.DiscardHandler)
	l := &Live{
		log: log, pool: newPool(context.Background(), 2, 64<<10), dec: newDecoder(false, 1, newFilterSet("", log), 0),
	}
	l.pool.fill()
	udp := []byte{
		0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0, 7, 0, 53, 0, 8, 0, 0,
	}
	seen := map[uint64]bool{}
	for _, tc := range []struct {
		now, ts   flow.Time
		lost      uint64
		want      flow.Time
		wantLost  uint64
		link      uint32
		delivered int
	}{
		{start, start, 0, start, 0, 12, 1},
		{start + second, start - 3600*second, 5, start + second, 5, 12, 1},        // an hour back
		{start + 2*second, 2_145_916_800 * second, 5, start + 2*second, 5, 12, 1}, // 2038
		{start + 3*second, 0, 7, start + 3*second, 7, 12, 1},                      // 1970
		{start + 2*second, start, 6, start + 3*second, 7, 12, 1},                  // overtaken
		{start + 4*second, start, 7, start + 4*second, 7, 1, 0},                   // as Ethernet it is nothing
	} {
		b := l.pool.try()
		b.chunk(tc.ts, tc.link, udp)
		b.Now, b.Lost = tc.now, tc.lost
		l.decode(b)
		if b.Now != tc.want || b.Lost != tc.wantLost || len(b.Packets) != tc.delivered {
			t.Errorf("block of %d: now %d, lost %d, %d packets, want %d, %d, %d", tc.now, b.Now, b.Lost, len(b.Packets),
				tc.want, tc.wantLost, tc.delivered)
		}
		for _, p := range b.Packets {
			if p.Now != tc.want || p.TS != tc.ts {
				t.Errorf("packet: now %d, time %d, want %d, %d", p.Now, p.TS, tc.want, tc.ts)
			}
			if seen[p.Origin] {
				t.Errorf("two packets have the origin %x", p.Origin)
			}
			seen[p.Origin] = true
		}
		b.Release()
	}
	if s := l.Stats(); s.Packets != 6 || s.Delivered != 5 || s.Now != start+4*second {
		t.Errorf("stats = %+v", s)
	}
}

// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"weir/capture"
)

// benchFile makes a capture of n frames of size bytes over many connections.
func benchFile(n, size int) []byte {
	f := newPcap(1)
	frame := eth(0x0800, ip4("10.0.0.1", "192.0.2.1", 6, tcp(40000, 443, 0x18, nil, zeros(size-54))))
	u := eth(0x0800, ip4("10.0.0.1", "192.0.2.1", 17, udp(40000, 53, zeros(size-42))))
	x := uint64(1)
	for i := range n {
		x = x*6364136223846793005 + 1442695040888963407
		b := frame
		if x>>60 == 0 {
			b = u
		}
		binary.BigEndian.PutUint16(b[28:], uint16(x>>33))
		binary.BigEndian.PutUint32(b[34:], uint32(x>>32)&0xffff03ff)
		f.add(1e18+int64(i)*1000, b)
	}
	return f.buf
}

func BenchmarkRead(b *testing.B) {
	const frames = 200_000
	for _, size := range []int{64, 590, 1514} {
		content := benchFile(frames*590/max(size, 590), size)
		path := write(b, "bench.pcap", content)
		for _, files := range []int{1, 2} {
			b.Run(fmt.Sprintf("size=%d/files=%d", size, files), func(b *testing.B) {
				inputs := []string{path, path}[:files]
				b.SetBytes(int64(len(content) * files))
				packets := uint64(0)
				for b.Loop() {
					r, err := capture.Open(capture.Config{Inputs: inputs})
					if err != nil {
						b.Fatal(err)
					}
					for {
						blk, err := r.Next()
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							b.Fatal(err)
						}
						blk.Release()
					}
					packets += r.Stats().Packets
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
			})
		}
	}
}

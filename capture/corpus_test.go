// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket/pcap"

	"weir/capture"
)

// corpus lists the captures of a shared folder, and skips the test without it.
func corpus(t *testing.T, dir string) []string {
	t.Helper()
	root := filepath.Join("..", "..", "shared", dir)
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no captures in ../shared: %v", err)
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.Type().IsRegular() && (strings.HasPrefix(name, "capture") ||
			strings.HasSuffix(name, ".pcap") || strings.HasSuffix(name, ".pcapng")) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// libpcap counts the packets of a file as libpcap sees them.
func libpcap(path string) (n uint64, ok bool) {
	h, err := pcap.OpenOffline(path)
	if err != nil {
		return 0, false
	}
	defer h.Close()
	for {
		_, _, err := h.ZeroCopyReadPacketData()
		if err != nil {
			return n, errors.Is(err, io.EOF)
		}
		n++
	}
}

func TestCorpus(t *testing.T) {
	for _, dir := range []string{"corpus", "zeek", "zeek-edge", "samples"} {
		t.Run(dir, func(t *testing.T) {
			total, compared := uint64(0), 0
			for _, path := range corpus(t, dir) {
				res, err := readErr(t, capture.Config{Inputs: []string{path}})
				want, whole := libpcap(path)
				if err != nil {
					if whole {
						t.Errorf("%s: %v, but libpcap reads %d packets", path, err, want)
					}
					t.Logf("%s: %v", path, err)
					continue
				}
				total += res.stats.Packets
				if got := res.stats.Packets; whole {
					compared++
					if got != want {
						t.Errorf("%s: %d packets, libpcap says %d", path, got, want)
					}
				} else if !strings.HasSuffix(path, ".gz") {
					t.Logf("%s: libpcap fails after %d packets, we after %d: %v",
						path, want, got, res.files[0].Truncated)
				}
				if t.Failed() {
					t.Fatalf("stopped at %s", path)
				}
			}
			t.Logf("%d packets, %d files compared with libpcap", total, compared)
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package confine_test

import (
	"errors"
	"fmt"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetRing reads packets of lo as libpcap does, from a ring that it shares
// with the kernel (TPACKET_V2).
type packetRing struct {
	fd   int
	ring []byte
}

const ringFrames, ringFrameSize = 64, 2048

func openRing(wanted bool) (*packetRing, error) {
	if !wanted {
		return nil, nil
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	protocol := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	request := unix.TpacketReq{Block_size: ringFrames * ringFrameSize, Block_nr: 1, Frame_size: ringFrameSize, Frame_nr: ringFrames}
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2),
		unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request),
	); err != nil {
		return nil, fmt.Errorf("make the ring: %w", err)
	}
	ring, err := unix.Mmap(fd, 0, ringFrames*ringFrameSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	return &packetRing{fd, ring}, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: lo.Index})
}

// wait waits until the kernel has put a packet into the ring, gives the frame
// back, and reads the counters.
func (r *packetRing) wait(limit time.Duration) error {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		for i := range ringFrames {
			header := (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.ring[i*ringFrameSize]))
			if header.Status&unix.TP_STATUS_USER != 0 {
				header.Status = unix.TP_STATUS_KERNEL
				_, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
				return err
			}
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return errors.New("no packet came")
}

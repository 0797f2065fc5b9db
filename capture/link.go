// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errNoLink says that there is no interface of the name.
var errNoLink = errors.New("the interface is gone")

// linkState is what the kernel says about an interface, or about all of them.
type linkState struct {
	index int32
	up    bool
	loop  bool // the loopback interface
	// missed and dropped are what the card missed or had no room for, and what
	// the host dropped, since the interface exists.
	missed, dropped uint64
}

// linkWatch asks the kernel about an interface. It keeps its socket, since a
// process that has given up its privileges may open neither another one nor files
// of /sys. The socket asks about the network that the process was in.
type linkWatch struct {
	name string // empty for all interfaces
	fd   int
	seq  uint32
	req  []byte
	buf  []byte
}

func newLinkWatch(name string) (*linkWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	w := &linkWatch{name: name, fd: fd, buf: make([]byte, 64<<10)}
	if name == AnyInterface {
		w.name = ""
	}
	// The kernel answers while it is asked: there is nothing to wait for.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return w, nil
}

func (w *linkWatch) close() { unix.Close(w.fd) }

// request makes the question: RTM_GETLINK, by name or for all.
func (w *linkWatch) request() []byte {
	w.seq++
	ne := binary.NativeEndian
	b := append(w.req[:0], make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)...)
	flags := uint16(unix.NLM_F_REQUEST)
	if w.name == "" {
		flags |= unix.NLM_F_DUMP
	} else {
		n := unix.SizeofRtAttr + len(w.name) + 1
		b = ne.AppendUint16(b, uint16(n))
		b = ne.AppendUint16(b, unix.IFLA_IFNAME)
		b = append(b, w.name...)
		b = append(b, make([]byte, 1+(n+3)&^3-n)...)
	}
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[4:], unix.RTM_GETLINK)
	ne.PutUint16(b[6:], flags)
	ne.PutUint32(b[8:], w.seq)
	w.req = b
	return b
}

// look returns the state of the interface, or the sum over all: errNoLink if it
// is not there.
func (w *linkWatch) look() (linkState, error) {
	var s linkState
	if _, err := unix.Write(w.fd, w.request()); err != nil {
		return s, fmt.Errorf("ask for the state of an interface: %w", err)
	}
	for {
		n, err := unix.Read(w.fd, w.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return s, fmt.Errorf("read the state of an interface: %w", err)
		}
		more, err := w.parse(w.buf[:n], &s)
		if err != nil || !more {
			return s, err
		}
	}
}

// parse adds up the messages of an answer, and reports whether more follow.
func (w *linkWatch) parse(b []byte, s *linkState) (more bool, err error) {
	ne := binary.NativeEndian
	more = true
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(ne.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			break
		}
		kind, body := ne.Uint16(b[4:]), b[unix.SizeofNlMsghdr:n]
		mine := ne.Uint32(b[8:]) == w.seq // not an answer that came too late
		b = b[min((n+3)&^3, len(b)):]
		switch {
		case !mine:
		case kind == unix.NLMSG_DONE:
			return false, nil
		case kind == unix.NLMSG_ERROR && len(body) >= 4:
			errno := unix.Errno(-int32(ne.Uint32(body)))
			if errno == unix.ENODEV {
				return false, errNoLink
			}
			return false, fmt.Errorf("the state of an interface: %w", errno)
		case kind == unix.RTM_NEWLINK && len(body) >= unix.SizeofIfInfomsg:
			s.add(body)
			if w.name != "" {
				return false, nil
			}
		}
	}
	return more, nil
}

// The fields of struct rtnl_link_stats64 that matter, as indexes of its words.
const (
	statRxDropped = 6
	statRxFifo    = 14
	statRxMissed  = 15
)

// add takes a message about one interface.
func (s *linkState) add(body []byte) {
	ne := binary.NativeEndian
	s.index = int32(ne.Uint32(body[4:]))
	flags := ne.Uint32(body[8:])
	s.up, s.loop = flags&unix.IFF_UP != 0, flags&unix.IFF_LOOPBACK != 0
	for b := body[unix.SizeofIfInfomsg:]; len(b) >= unix.SizeofRtAttr; {
		n := int(ne.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		if v := b[unix.SizeofRtAttr:n]; ne.Uint16(b[2:]) == unix.IFLA_STATS64 && len(v) >= 8*(statRxMissed+1) {
			word := func(i int) uint64 { return ne.Uint64(v[8*i:]) }
			s.missed += word(statRxFifo) + word(statRxMissed)
			s.dropped += word(statRxDropped)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
}

// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"
	"golang.org/x/sys/unix"
)

// FilterError says that the filter expression is wrong.
type FilterError struct {
	Expr string
	Err  error
}

// Error quotes the expression.
func (e *FilterError) Error() string { return fmt.Sprintf("filter %q: %v", e.Expr, e.Err) }

// Unwrap returns libpcap's complaint.
func (e *FilterError) Unwrap() error { return e.Err }

// filterSet compiles the filter expression for each link type that is met.
type filterSet struct {
	expr   string
	log    *slog.Logger
	ifaces map[uint32]iface    // of the link types that are decoded
	kinds  map[uint32]linkKind // of all link types; it does not change
	works  bool
	err    error // the first complaint
	warned map[uint32]bool
}

// maxWarned bounds the link types that are warned about.
const maxWarned = 16

func newFilterSet(expr string, log *slog.Logger) *filterSet {
	return &filterSet{
		expr: expr, log: log, ifaces: map[uint32]iface{}, kinds: linkKinds(), warned: map[uint32]bool{},
	}
}

// iface returns how frames of a link type (the number in a capture file) are
// treated.
func (fs *filterSet) iface(link uint32) iface {
	i, ok := fs.ifaces[link]
	if ok {
		return i
	}
	i.number, i.link = link, fs.kinds[link]
	if i.link == linkUnknown {
		return i
	}
	if fs.expr != "" {
		p, err := compile(fs.expr, link)
		if err == nil {
			fs.works = true
			i.filter = p
		} else {
			if fs.err == nil {
				fs.err = err
			}
			i.state = ifaceNoFilter
		}
	}
	fs.ifaces[link] = i
	return i
}

// warn says once for each link type that its packets are skipped, and why.
func (fs *filterSet) warn(link uint32, reason string) {
	if fs.warned[link] || len(fs.warned) == maxWarned {
		return
	}
	fs.warned[link] = true
	fs.log.Warn("packets of a link type are skipped", slog.String("link_type", linkName(link)),
		slog.String("reason", reason))
}

// check fails if the expression compiles for none of the link types known from
// the beginnings of the inputs.
func (fs *filterSet) check() error {
	if fs.expr == "" || fs.works {
		return nil
	}
	if fs.err == nil {
		// No link type was seen that could be filtered at all.
		_, err := compile(fs.expr, uint32(layers.LinkTypeEthernet))
		if err == nil {
			return nil
		}
		fs.err = err
	}
	return &FilterError{Expr: fs.expr, Err: fs.err}
}

// program is a compiled filter. It is run here rather than by libpcap, since a
// call through cgo costs more than the filter.
type program struct{ code []pcap.BPFInstruction }

// compile compiles as libpcap does for a capture file: it opens one without packets.
// Without a file it would not know the families of other systems, and the pcap
// package cuts the numbers of link types to eight bits.
func compile(expr string, link uint32) (*program, error) {
	fd, err := unix.MemfdCreate("filter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file of link type %s: %w", linkName(link), err)
	}
	defer unix.Close(fd)
	header := make([]byte, pcapHeaderLen)
	order := binary.NativeEndian
	order.PutUint32(header, 0xa1b2c3d4)
	order.PutUint16(header[4:], 2)
	order.PutUint16(header[6:], 4)
	order.PutUint32(header[16:], MaxFrame)
	order.PutUint32(header[20:], registered(link))
	if _, err := unix.Write(fd, header); err != nil {
		return nil, fmt.Errorf("write a file of link type %s: %w", linkName(link), err)
	}
	h, err := pcap.OpenOffline("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, fmt.Errorf("open a file of link type %s: %w", linkName(link), err)
	}
	defer h.Close()
	code, err := h.CompileBPFFilter(expr)
	if err != nil {
		return nil, err
	}
	return &program{code}, nil
}

// registered returns the number that a link type has in the register, for which
// some systems write others.
func registered(link uint32) uint32 {
	switch link {
	case 11:
		return 100 // ATM_RFC1483
	case 12, 14:
		return 101 // RAW
	case 15:
		return 102 // SLIP_BSDOS
	case 16:
		return 103 // PPP_BSDOS
	}
	return link
}

// Instruction classes and fields of the BPF machine.
const (
	bpfLD, bpfLDX, bpfST, bpfSTX = 0, 1, 2, 3
	bpfALU, bpfJMP, bpfRET       = 4, 5, 6

	bpfSrcX  = 0x08
	bpfSteps = 1 << 16 // "protochain" compiles to a loop
)

// match runs the program over a frame, as libpcap's interpreter would: anything
// out of bounds rejects the frame.
func (p *program) match(data []byte, wire int) bool {
	var a, x uint32
	var mem [16]uint32
	pc := 0
	for range bpfSteps {
		if pc < 0 || pc >= len(p.code) {
			return false
		}
		in := &p.code[pc]
		pc++
		k := in.K
		switch in.Code & 7 {
		case bpfLD:
			v, ok := load(in.Code, k, x, data, wire, &mem)
			if !ok {
				return false
			}
			a = v
		case bpfLDX:
			if in.Code&0xe0 == 0xa0 { // the length of an IPv4 header
				if uint64(k) >= uint64(len(data)) {
					return false
				}
				x = uint32(data[k]&15) * 4
				continue
			}
			v, ok := load(in.Code, k, x, data, wire, &mem)
			if !ok {
				return false
			}
			x = v
		case bpfST:
			mem[k&15] = a
		case bpfSTX:
			mem[k&15] = x
		case bpfALU:
			if in.Code&bpfSrcX != 0 {
				k = x
			}
			v, ok := alu(in.Code, a, k)
			if !ok {
				return false
			}
			a = v
		case bpfJMP:
			if in.Code&0xf0 == 0 {
				pc += int(int32(k)) // backward for protochain
				continue
			}
			if in.Code&bpfSrcX != 0 {
				k = x
			}
			var yes bool
			switch in.Code & 0xf0 {
			case 0x10:
				yes = a == k
			case 0x20:
				yes = a > k
			case 0x30:
				yes = a >= k
			case 0x40:
				yes = a&k != 0
			}
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case bpfRET:
			if in.Code&0x18 == 0x10 {
				return a != 0
			}
			return k != 0
		default:
			if in.Code&0xf8 == 0x80 {
				a = x
			} else {
				x = a
			}
		}
	}
	return false
}

// load executes the loads that LD and LDX have in common.
func load(code uint16, k, x uint32, data []byte, wire int, mem *[16]uint32) (uint32, bool) {
	at := uint64(k)
	switch code & 0xe0 {
	case 0x00:
		return k, true
	case 0x60:
		return mem[k&15], true
	case 0x80:
		return uint32(wire), true
	case 0x40:
		at = uint64(k + x) // wraps like libpcap's
	case 0x20:
	default:
		return 0, false
	}
	n := uint64(len(data))
	switch code & 0x18 {
	case 0x00:
		if at+4 <= n {
			return binary.BigEndian.Uint32(data[at:]), true
		}
	case 0x08:
		if at+2 <= n {
			return uint32(binary.BigEndian.Uint16(data[at:])), true
		}
	case 0x10:
		if at < n {
			return uint32(data[at]), true
		}
	}
	return 0, false
}

// alu executes an arithmetic instruction.
func alu(code uint16, a, k uint32) (uint32, bool) {
	switch code & 0xf0 {
	case 0x00:
		return a + k, true
	case 0x10:
		return a - k, true
	case 0x20:
		return a * k, true
	case 0x30:
		if k == 0 {
			return 0, false
		}
		return a / k, true
	case 0x40:
		return a | k, true
	case 0x50:
		return a & k, true
	case 0x60:
		return a << k, true
	case 0x70:
		return a >> k, true
	case 0x80:
		return -a, true
	case 0x90:
		if k == 0 {
			return 0, false
		}
		return a % k, true
	case 0xa0:
		return a ^ k, true
	}
	return 0, false
}

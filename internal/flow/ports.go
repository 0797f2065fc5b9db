// SPDX-License-Identifier: Apache-2.0

package flow

// ServerPorts are the ports by which Zeek guesses who is the server where the
// beginning of a connection was not seen (likely_server_ports, Zeek 8.2.2).
type ServerPorts struct{ tcp, udp portSet }

type portSet [1 << 16 / 64]uint64

func (s *portSet) has(port uint16) bool { return s[port>>6]>>(port&63)&1 != 0 }

func (s *portSet) add(ports ...uint16) {
	for _, p := range ports {
		s[p>>6] |= 1 << (p & 63)
	}
}

// NewServerPorts returns the ports.
func NewServerPorts() *ServerPorts {
	s := new(ServerPorts)
	s.tcp.add(21, 22, 25, 53, 79, 80, 81, 88, 135, 139, 143, 389, 443, 445, 465, 502, 563, 585, 587,
		614, 631, 636, 989, 990, 992, 993, 995, 1080, 1434, 1883, 2811, 3128, 3268, 3306, 3389, 5222,
		5223, 5269, 5432, 6379, 6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000)
	s.udp.add(53, 67, 88, 123, 137, 161, 162, 389, 443, 514, 1812, 2123, 2152, 3389, 3544, 4011, 4754,
		4789, 5060, 5072, 5353, 5355, 6081, 20000)
	return s
}

// Reversed reports whether the first packet of a connection goes from server to
// client, so that its destination is the originator.
func (s *ServerPorts) Reversed(p *Packet) bool {
	broadcast := p.Dst.Is4() && [4]byte(p.Dst[12:]) == [4]byte{255, 255, 255, 255}
	if broadcast {
		return false
	}
	switch p.Proto {
	case UDP:
		return s.udp.has(p.Sport) && !s.udp.has(p.Dport)
	case TCP:
		if p.TCPFlags&(SYN|ACK) == SYN {
			return false
		}
		if !s.tcp.has(p.Sport) {
			return false
		}
		if !s.tcp.has(p.Dport) {
			return true
		}
		return p.TCPFlags&SYN == 0 && p.Sport < p.Dport
	}
	return false
}

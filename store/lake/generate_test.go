// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"fmt"
	"math/rand/v2"

	"weir/internal/flow"
)

// genHosts makes addresses, one in ten of them IPv6.
func genHosts(r *rand.Rand, n int) []flow.Addr {
	hosts := make([]flow.Addr, n)
	for i := range hosts {
		if i%10 != 0 {
			hosts[i] = flow.Addr4([4]byte{10, byte(i >> 8), byte(i), byte(r.Uint32())})
			continue
		}
		hosts[i] = flow.Addr{0x20, 1, 0xd, 0xb8, 7: byte(i >> 8), 8: byte(i)}
		for j := 10; j < 16; j++ {
			hosts[i][j] = byte(r.Uint32())
		}
	}
	return hosts
}

// genConns makes connections as a network has them: few busy hosts and ports,
// mostly small counters, ended about when they began.
func genConns(n int, seed uint64) []flow.Connection {
	r := rand.New(rand.NewPCG(seed, 1))
	hosts := genHosts(r, 10_000)
	host := rand.NewZipf(r, 1.2, 4, uint64(len(hosts)-1))
	ports := []uint16{53, 443, 80, 22, 123, 25, 993, 3389}
	for len(ports) < 200 {
		ports = append(ports, uint16(r.Uint32()))
	}
	port := rand.NewZipf(r, 1.3, 1, uint64(len(ports)-1))
	histories := []string{"ShADadFf", "D", "S", "ShADadFfR", "ShAdDaFf", "Sr", "ShADadR", "^dD"}
	services := []string{"dns", "ssl", "http", "ssh", "", "smtp", "ssl,imap", ""}
	out := make([]flow.Connection, n)
	ts := flow.Time(1_700_000_000_000_000_000)
	for i := range out {
		c := &out[i]
		ts += flow.Time(r.IntN(400_000))
		p := port.Uint64()
		c.UID = r.Uint64()
		c.Src, c.Dst = hosts[host.Uint64()], hosts[host.Uint64()]
		c.Sport, c.Dport = uint16(32768+r.IntN(28000)), ports[p]
		c.Count, c.End = 1, flow.EndDetected
		c.First = ts - flow.Time(r.IntN(1_000_000_000))
		c.Last = c.First + flow.Time(r.ExpFloat64()*1e8)
		if p < uint64(len(services)) {
			c.Service = services[p]
		}
		switch {
		case r.IntN(50) == 0:
			c.Proto, c.Sport, c.Dport, c.Service = flow.ICMP, 8, 0, ""
			c.State, c.End = flow.OTH, flow.EndIdle
			c.CSPkts, c.SCPkts = 4, 4
			c.CSPayload, c.SCPayload = 224, 224
		case p == 0 || p > 100:
			c.Proto, c.State, c.End = flow.UDP, flow.SF, flow.EndIdle
			c.History = []byte("Dd")
			c.CSPkts, c.SCPkts = 1, 1
			c.CSPayload, c.SCPayload = 30+uint64(r.IntN(20)), 50+uint64(r.IntN(200))
		default:
			c.Proto, c.State = flow.TCP, flow.State(1+r.IntN(6))
			c.History = []byte(histories[r.IntN(len(histories))])
			c.CSPkts, c.SCPkts = 4+uint64(r.ExpFloat64()*8), 3+uint64(r.ExpFloat64()*8)
			c.CSPayload, c.SCPayload = uint64(r.ExpFloat64()*400), uint64(r.ExpFloat64()*3000)
		}
		c.CSBytes = c.CSPayload + c.CSPkts*28
		c.SCBytes = c.SCPayload + c.SCPkts*28
	}
	return out
}

// genDNS makes a batch of DNS exchanges.
func genDNS(n int, seed uint64) *flow.IntelBatch {
	r := rand.New(rand.NewPCG(seed, 2))
	hosts := genHosts(r, 3000)
	host := rand.NewZipf(r, 1.2, 4, uint64(len(hosts)-1))
	name := rand.NewZipf(r, 1.2, 3, 20_000)
	b := flow.NewIntelBatch()
	ts := flow.Time(1_700_000_000_000_000_000)
	for range n {
		ts += flow.Time(r.IntN(400_000))
		t := flow.Tuple{
			UID: r.Uint64(), Src: hosts[host.Uint64()], Dst: hosts[r.IntN(4)],
			Sport: uint16(32768 + r.IntN(28000)), Dport: 53, Proto: flow.UDP,
		}
		k := name.Uint64()
		b.Begin(flow.DNS, &t, ts)
		b.SetInt(flow.DNSTransID, int64(r.IntN(1<<16)))
		b.SetInt(flow.DNSRTT, int64(r.IntN(50_000)))
		b.SetString(flow.DNSQuery, fmt.Sprintf("host%d.example%d.com", k, k%97))
		b.SetInt(flow.DNSQClass, 1)
		b.SetString(flow.DNSQClassName, "C_INTERNET")
		b.SetInt(flow.DNSQType, 1)
		b.SetString(flow.DNSQTypeName, "A")
		b.SetInt(flow.DNSRcode, 0)
		b.SetString(flow.DNSRcodeName, "NOERROR")
		b.SetBool(flow.DNSAA, false)
		b.SetBool(flow.DNSTC, false)
		b.SetBool(flow.DNSRD, true)
		b.SetBool(flow.DNSRA, true)
		b.SetInt(flow.DNSZ, 0)
		for range 1 + k%2 {
			b.AppendText(flow.DNSAnswers, fmt.Appendf(nil, "198.51.%d.%d", k/256, k%256))
		}
		for range 1 + k%2 {
			b.AppendInt(flow.DNSTTLs, int64(60+r.IntN(4)*60)*1e6)
		}
		b.SetBool(flow.DNSRejected, false)
		b.SetInt(flow.DNSOpcode, 0)
		b.SetString(flow.DNSOpcodeName, "query")
	}
	return b
}

// SPDX-License-Identifier: Apache-2.0

// Package laketest is test support: it fills lakes with connections as a
// network has them, in as many parts as a live sensor leaves behind.
package laketest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"weir/internal/flow"
	"weir/store/lake"
)

// Config says what a lake is filled with. The zero values of Hosts and Flows
// mean 10,000 hosts and 1,700,000 flows, about a week of a network of that size.
type Config struct {
	// Day is when the connections begin, in the UTC day that begins then; Days is over how many
	// days Generate spreads them (default 1).
	Day  time.Time
	Days int
	// Conns is the number of connections, PerPart how many get into each part.
	Conns, PerPart int
	// Hosts and Flows are how many there are to choose from.
	Hosts, Flows int
	// Intel is about how many records of intel the connections have.
	Intel int
	// Seed makes another network, Draw other connections in the same one.
	Seed, Draw uint64
}

// service is what a port is used for.
type service struct {
	port    uint16
	proto   uint8
	name    string
	history []string
	payload [2]float64 // means, of client and server
}

func services() []service {
	tcp := []string{"ShADadFf", "ShADadfF", "ShADadFfR", "ShADadtFf", "ShADadR", "S", "Sr", "^dADaFf"}
	udp := []string{"Dd", "Dd", "Dd", "D"}
	return []service{
		{443, flow.TCP, "ssl", tcp, [2]float64{1500, 12_000}},
		{53, flow.UDP, "dns", udp, [2]float64{40, 160}},
		{80, flow.TCP, "http", tcp, [2]float64{500, 6000}},
		{443, flow.UDP, "", udp, [2]float64{3000, 20_000}},
		{8, flow.ICMP, "", nil, [2]float64{224, 224}},
		{22, flow.TCP, "ssh", tcp, [2]float64{4000, 4000}},
		{123, flow.UDP, "ntp", udp, [2]float64{48, 48}},
		{25, flow.TCP, "smtp", tcp, [2]float64{9000, 400}},
		{445, flow.TCP, "", tcp, [2]float64{2000, 3000}},
		{3389, flow.TCP, "", tcp, [2]float64{5000, 40_000}},
	}
}

// template is a flow to choose.
type template struct {
	src, dst uint32
	service  uint8
	port     uint16 // where services has none
}

// Network makes connections. It is for one goroutine.
type Network struct {
	r         *rand.Rand
	hosts     []flow.Addr
	templates []template
	pick      *rand.Zipf
	services  []service
	// intel is how likely a connection has some, of those whose service fits.
	intel float64
	names []string
}

// New returns a network: few hosts and flows have most of the connections.
func New(cfg Config) *Network {
	if cfg.Hosts == 0 {
		cfg.Hosts = 10_000
	}
	if cfg.Flows == 0 {
		cfg.Flows = 1_700_000
	}
	r := rand.New(rand.NewPCG(cfg.Seed, 1))
	n := &Network{
		hosts: make([]flow.Addr, cfg.Hosts), templates: make([]template, cfg.Flows), services: services(),
	}
	for i := range n.hosts {
		if i%10 != 0 {
			n.hosts[i] = flow.Addr4([4]byte{10, byte(i >> 8), byte(i), byte(r.Uint32())})
			continue
		}
		n.hosts[i] = flow.Addr{0x20, 1, 0xd, 0xb8, 6: byte(i >> 8), 7: byte(i)}
		for j := 8; j < 16; j++ {
			n.hosts[i][j] = byte(r.Uint32())
		}
	}
	host := rand.NewZipf(r, 1.1, 20, uint64(cfg.Hosts-1))
	use := rand.NewZipf(r, 1.3, 1, uint64(len(n.services)+200))
	for i := range n.templates {
		t := &n.templates[i]
		t.src, t.dst = uint32(host.Uint64()), uint32(host.Uint64())
		if s := use.Uint64(); s < uint64(len(n.services)) {
			t.service = uint8(s)
		} else {
			t.service, t.port = uint8(len(n.services)), uint16(1024+s*137)
		}
	}
	n.learns(cfg)
	n.draw(cfg, cfg.Draw)
	return n
}

// draw begins other connections in the same network.
func (n *Network) draw(cfg Config, number uint64) {
	n.r = rand.New(rand.NewPCG(cfg.Seed, number+2))
	n.pick = rand.NewZipf(n.r, 1.05, 1000, uint64(len(n.templates)-1))
}

// Conn makes a connection that ends at a time.
func (n *Network) Conn(c *flow.Connection, end flow.Time) {
	r := n.r
	t := &n.templates[n.pick.Uint64()]
	s := service{port: t.port, proto: flow.TCP, history: []string{"S", "Sr", "ShADadFf"}, payload: [2]float64{300, 300}}
	if int(t.service) < len(n.services) {
		s = n.services[t.service]
	}
	*c = flow.Connection{Count: 1, End: flow.EndDetected, Service: s.name}
	c.UID, c.Proto = r.Uint64(), s.proto
	c.Src, c.Dst, c.Dport = n.hosts[t.src], n.hosts[t.dst], s.port
	c.Sport = uint16(32768 + r.IntN(28_232))
	c.Last = end
	c.First = end - flow.Time(min(r.ExpFloat64()*2e8, 6e10))
	c.CSPayload, c.SCPayload = uint64(r.ExpFloat64()*s.payload[0]), uint64(r.ExpFloat64()*s.payload[1])
	c.CSPkts, c.SCPkts = 3+c.CSPayload/700, 3+c.SCPayload/1100
	switch s.proto {
	case flow.TCP:
		c.History = []byte(s.history[r.IntN(len(s.history))])
		switch string(c.History) {
		case "S":
			c.State, c.Service = flow.S0, ""
			c.CSPkts, c.SCPkts, c.CSPayload, c.SCPayload = 1, 0, 0, 0
		case "Sr":
			c.State, c.Service = flow.REJ, ""
			c.CSPkts, c.SCPkts, c.CSPayload, c.SCPayload = 1, 1, 0, 0
		default:
			c.State = []flow.State{flow.SF, flow.SF, flow.SF, flow.RSTO}[r.IntN(4)]
		}
	case flow.UDP:
		c.State, c.End = flow.SF, flow.EndIdle
		c.History = []byte(s.history[r.IntN(len(s.history))])
		c.CSPkts, c.SCPkts = 1+c.CSPayload/1200, 1+c.SCPayload/1200
		if len(c.History) == 1 {
			c.State, c.SCPkts, c.SCPayload = flow.S0, 0, 0
		}
	default:
		c.State, c.End, c.Sport, c.Dport = flow.OTH, flow.EndIdle, 8, 0
		c.CSPayload, c.SCPayload, c.CSPkts, c.SCPkts = 224, 224, 4, 4
		if !c.Src.Is4() {
			c.Proto, c.Sport = flow.ICMPv6, 128
		}
	}
	c.CSBytes, c.SCBytes = c.CSPayload+c.CSPkts*40, c.SCPayload+c.SCPkts*40
}

// Fill writes connections through a writer that publishes as a live sensor does.
func Fill(l *lake.Lake, cfg Config) error {
	cfg.Days = 1
	w, err := l.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		return err
	}
	defer func() { _ = w.Abort() }() // after Commit it does nothing
	return New(cfg).fill(w, cfg)
}

// fill writes the connections of one day and ends the import.
func (n *Network) fill(w *lake.Writer, cfg Config) error {
	var batch flow.ConnBatch
	intel := flow.NewIntelBatch()
	begin := flow.Time(cfg.Day.UnixNano())
	step := flow.Time(24*time.Hour-2*time.Minute) / flow.Time(max(cfg.Conns, 1))
	for i := 0; i < cfg.Conns; {
		for ; i < cfg.Conns && batch.Len() < min(cfg.PerPart, 1024); i++ {
			var c flow.Connection
			// The longest begins a minute before it ends.
			n.Conn(&c, begin+flow.Time(time.Minute)+flow.Time(i)*step+flow.Time(n.r.IntN(1_000_000)))
			batch.Add(&c)
			n.learn(intel, &c)
			if (i+1)%cfg.PerPart == 0 {
				i++
				break
			}
		}
		if err := w.Connections(&batch); err != nil {
			return err
		}
		batch.Reset()
		if intel.Len() > 0 {
			if err := w.Intel(intel); err != nil {
				return err
			}
			intel.Reset()
		}
		if i%cfg.PerPart == 0 {
			if err := w.Publish(lake.Final{Packets: uint64(i)}); err != nil {
				return err
			}
		}
	}
	if err := w.Commit(lake.Final{Packets: uint64(cfg.Conns)}); err != nil {
		return fmt.Errorf("fill lake: %w", err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

// Package dissect learns intel (DNS exchanges, HTTP requests, TLS handshakes)
// from the payload of connections, whatever their ports, in Zeek's reading.
//
// A flow table keeps one App for each connection and one Shard for each of its
// own shards, and hands a connection's payload to the shard in order. The first
// bytes of a direction decide which dissector the connection gets; where no
// dissector knows them, nothing more of that direction is wanted. A connection
// occupies a session of a dissector only while there is something to remember.
// Each protocol is listed in protocols and has its file: a dissector of its own, or
// what upgrade.go asks of those that are followed only to where they become TLS.
package dissect

import (
	"errors"
	"fmt"
	"sync/atomic"

	"weir/internal/flow"
)

// App is the state word that a connection keeps for its dissectors. The zero
// value is a connection whose payload was not looked at yet.
type App struct {
	// session numbers the connection's session, counted from 1; without one
	// (withSession not set) it counts the records written so far, or what was
	// seen of a datagram connection whose protocol is not known: datagrams in the
	// upper half, bytes in the lower.
	session uint32
	// services holds up to three confirmed protocols, five bits each, in the
	// order of their confirmation, the first lowest.
	services uint16
	// proto is the protocol whose dissector the connection has, 0 none yet.
	proto uint8
	flags uint8
}

// Bits of App.flags. The first two are indexed by direction.
const (
	doneToServer = 1 << iota // nothing more is wanted from the client
	doneToClient             // nothing more is wanted from the server
	withSession              // session numbers a session
	reversed                 // the client is the one that answers
	inside                   // the payload is that of a tunnel inside the connection
	midstream                // the beginning of the connection was not seen
	gaveUp                   // the dissector met what it cannot follow
	interactive              // the confirmed service is used by people who pause

	doneBoth = doneToServer | doneToClient
)

// Wants reports whether more payload of a direction is of use. It is true for
// the zero value.
func (a App) Wants(dir flow.Dir) bool { return a.flags>>(dir&1)&1 == 0 }

// Reversed reports that the payload shows the roles to be the other way round
// than the packets suggested: what Zeek answers with a flip of the connection
// ("^"). It is so where the first message of a DNS connection is a reply.
func (a App) Reversed() bool { return a.flags&reversed != 0 }

// GaveUp reports that a dissector met what Zeek's analyzer cannot follow, which
// that one notes in the history of the connection ("X"). Not every dissector that
// stops does: Zeek is silent about a protocol that was mistaken.
func (a App) GaveUp() bool { return a.flags&gaveUp != 0 }

// Interactive reports that the confirmed service is one of people's sessions,
// which stay open for long without a packet: Zeek gives SSH and FTP an hour.
func (a App) Interactive() bool { return a.flags&interactive != 0 }

// Midstream tells the dissectors whether the payload that follows is that of a TCP
// connection without a handshake. As in Zeek, only protocols whose messages stand
// for themselves are then looked for and read.
func (a *App) Midstream(on bool) {
	if a.flags &^= midstream; on {
		a.flags |= midstream
	}
}

// Limits that a Config has if it does not say otherwise.
const (
	DefaultMaxSession = 64 << 10
	DefaultMaxRecords = 65536
	DefaultMemory     = 64 << 20
)

// Config bounds what dissectors may keep. The zero value means the defaults.
type Config struct {
	// MaxSession is how many bytes one connection may have buffered.
	MaxSession int
	// MaxRecords is how many records one connection may yield.
	MaxRecords int
	// Memory is the bound for the buffers of all shards that share it; nil
	// gives the shard one of its own, of DefaultMemory bytes.
	Memory *Memory
}

// Validate reports the first value that makes no sense.
func (c *Config) Validate() error {
	if c.MaxSession < 0 || c.MaxSession > 0 && c.MaxSession < 1024 {
		return fmt.Errorf("dissect: MaxSession %d is below 1024", c.MaxSession)
	}
	if c.MaxRecords < 0 {
		return errors.New("dissect: MaxRecords is negative")
	}
	return nil
}

// Memory is a bound for buffers that several shards share. It is safe for
// concurrent use.
type Memory struct {
	limit int64
	used  atomic.Int64
}

// NewMemory returns a bound of limit bytes.
func NewMemory(limit int64) *Memory { return &Memory{limit: limit} }

// Used returns the bytes in use.
func (m *Memory) Used() int64 { return m.used.Load() }

func (m *Memory) take(n int) bool {
	if m.used.Add(int64(n)) > m.limit {
		m.used.Add(int64(-n))
		return false
	}
	return true
}

// Shard runs the dissectors of one shard of a flow table. It is not safe for
// concurrent use.
type Shard struct {
	// Out receives the records. The owner may replace it between calls.
	Out *flow.IntelBatch

	protos     []entry // by App.proto-1
	streams    []uint8 // of protos, those that run over TCP
	datagrams  []uint8 // and over UDP
	probes     slab[probe]
	bufs       buffers
	services   map[uint16]string // texts of more than one service
	maxRecords uint32
	stats      Stats
	// joined and other are first bytes that were kept, on their way to a
	// detector or dissector.
	joined, other [probeLen]byte
	noPorts       flow.Tuple // of connections inside others
	// carrier numbers the session of HTTP that the payload is inside of, plus 1.
	carrier uint32
}

// verdict is what the first bytes say about a protocol.
type verdict uint8

const (
	no    verdict = iota
	maybe         // too few bytes
	yes
)

// dissector reads one protocol for all connections of a shard. Methods that get
// payload own it during the call only.
type dissector interface {
	// stream takes the next bytes of one direction of a TCP connection.
	stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte)
	// datagram takes the payload of a UDP packet.
	datagram(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte)
	// gap says that n bytes will never come.
	gap(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, n uint64)
	// fin says that a direction ended in order.
	fin(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time)
	// close writes what is pending and frees the session.
	close(t *flow.Tuple, a *App)
}

// entry is one protocol of a shard.
type entry struct {
	dissector
	service string // empty where it is not one that is shown
	// whole protocols must be read from their beginning.
	whole bool
	// later datagram protocols are looked for behind the first datagram, too.
	later bool
	// tcp and udp say whether a direction that begins with data is of this
	// protocol; nil where the protocol does not run over that transport.
	tcp func(t *flow.Tuple, dir flow.Dir, data []byte) verdict
	udp func(t *flow.Tuple, data []byte) verdict
}

// protocols lists the dissectors in the order in which they see first bytes: a
// port alone is enough for the later ones, so the ones that know their bytes
// come first. App.proto is the index in it plus 1.
func protocols(s *Shard) []entry {
	secure, shell, talk := newTLS(s), newSSH(s), newUpgrade(s)
	return []entry{
		{dissector: secure, service: "ssl", whole: true, tcp: detectTLS},
		{dissector: shell, service: "ssh", whole: true, tcp: detectSSH},
		{dissector: newSOCKS(s), service: "socks", whole: true, tcp: detectSOCKS},
		{dissector: newHTTP(s), service: "http", whole: true, tcp: detectHTTP},
		{dissector: newDNS(s), service: "dns", tcp: detectDNSStream, udp: detectDNSDatagram},
		{dissector: dtls{secure}, service: "dtls", udp: detectDTLS, later: true},
		{service: "websocket"}, // part of HTTP
		{dissector: talk, service: "ftp", whole: true, tcp: detectUpgrade},
		{dissector: talk, service: "smtp"},
		{dissector: talk, service: "pop3"},
		{dissector: talk, service: "imap"},
		{dissector: talk, service: "irc"},
		{dissector: talk, service: "xmpp"},
		{dissector: talk, service: "mysql"},
		{dissector: talk, service: "rdp"},
		{dissector: talk, service: "postgresql"},
		{dissector: talk, service: "ldap_tcp"},
		{dissector: newGSI(s)},
		{dissector: shell},
	}
}

// The values of App.proto.
const (
	protoTLS = 1 + iota
	protoSSH
	protoSOCKS
	protoHTTP
	protoDNS
	protoDTLS
	protoWebSocket
	protoFTP
	protoSMTP
	protoPOP3
	protoIMAP
	protoIRC
	protoXMPP
	protoMySQL
	protoRDP
	protoPostgreSQL
	protoLDAP
	protoGSI
	protoBanner // among the services of a connection: one side sent SSH's banner
)

// firstCarrier is the value in App.services of the first tunnel protocol: they
// have no dissector.
const firstCarrier = 32 - uint8(flow.NumCarriers)

// Carries says that the connection carries a tunnel, which is a service of it.
func (a *App) Carries(c flow.Carrier) {
	if c != flow.NoCarrier {
		a.confirm(firstCarrier + uint8(c))
	}
}

// serviceName returns the name of a value of App.services.
func (s *Shard) serviceName(i uint16) string {
	if i >= uint16(firstCarrier) {
		return flow.Carrier(i - uint16(firstCarrier)).String()
	}
	return s.protos[i-1].service
}

// NewShard returns a shard without an output.
func NewShard(cfg Config) *Shard {
	if cfg.MaxSession == 0 {
		cfg.MaxSession = DefaultMaxSession
	}
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = DefaultMaxRecords
	}
	if cfg.Memory == nil {
		cfg.Memory = NewMemory(DefaultMemory)
	}
	s := &Shard{maxRecords: uint32(min(cfg.MaxRecords, 1<<31)), services: map[uint16]string{}}
	s.bufs = buffers{memory: cfg.Memory, max: cfg.MaxSession, stats: &s.stats}
	s.protos = protocols(s)
	for i, p := range s.protos {
		if p.tcp != nil {
			s.streams = append(s.streams, uint8(i))
		}
		if p.udp != nil {
			s.datagrams = append(s.datagrams, uint8(i))
		}
	}
	return s
}

// Stats returns the counters.
func (s *Shard) Stats() Stats { return s.stats }

// Stream takes the next payload bytes of one direction of a TCP connection, in
// order. data is not kept.
func (s *Shard) Stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	if !a.Wants(dir) || len(data) == 0 {
		return
	}
	if a.proto != 0 {
		if p := &s.protos[a.proto-1]; !p.whole || a.flags&midstream == 0 {
			p.stream(t, a, dir, ts, data)
		}
		return
	}
	s.detect(t, a, dir, ts, data, 0)
}

// Datagram takes the payload of one UDP packet. data is not kept.
func (s *Shard) Datagram(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	if !a.Wants(dir) {
		return
	}
	if a.proto == 0 {
		s.detectDatagram(t, a, data)
		if a.proto == 0 || !a.Wants(dir) {
			return
		}
	}
	s.protos[a.proto-1].datagram(t, a, dir, ts, data)
}

// Gap says that the next n bytes of a direction will never come.
func (s *Shard) Gap(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, n uint64) {
	if !a.Wants(dir) || n == 0 {
		return
	}
	if a.proto != 0 {
		s.protos[a.proto-1].gap(t, a, dir, ts, n)
		return
	}
	// What follows a gap at the very beginning tells nothing about the protocol.
	s.stats.Gaps++
	s.unknown(a, dir)
}

// Fin says that a direction ended in order.
func (s *Shard) Fin(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time) {
	if a.proto != 0 {
		s.protos[a.proto-1].fin(t, a, dir, ts)
	}
}

// Reset says that a TCP packet with RST came. Payload may follow.
func (s *Shard) Reset(t *flow.Tuple, a *App, ts flow.Time) {
	if a.proto == protoHTTP {
		s.protos[protoHTTP-1].dissector.(*http).reset(t, a, ts)
	}
}

// Close ends a connection: what is pending is written, the session is freed and
// nothing more is wanted. It returns the confirmed services in the order of
// their confirmation, joined with commas, "" if there are none.
func (s *Shard) Close(t *flow.Tuple, a *App) string {
	if a.proto != 0 {
		s.protos[a.proto-1].close(t, a)
	} else if a.flags&withSession != 0 {
		s.freeProbe(a)
	}
	a.flags |= doneBoth
	return s.Service(*a)
}

// Service returns the services confirmed so far, as Close does.
func (s *Shard) Service(a App) string {
	list := a.services
	if list == 0 {
		return ""
	}
	if list>>5 == 0 {
		return s.serviceName(list)
	}
	text, ok := s.services[list]
	if !ok {
		for rest := list; rest != 0; rest >>= 5 {
			service := s.serviceName(rest & 31)
			if text != "" && service != "" {
				text += ","
			}
			text += service
		}
		s.services[list] = text
	}
	return text
}

// confirm adds a protocol to a connection's services.
func (a *App) confirm(proto uint8) {
	for shift := 0; shift < 15; shift += 5 {
		switch uint8(a.services>>shift) & 31 {
		case proto:
			return
		case 0:
			a.services |= uint16(proto) << shift
			if proto == protoSSH || proto == protoFTP {
				a.flags |= interactive
			}
			return
		}
	}
}

// confirmed reports whether a protocol is among a connection's services.
func (a *App) confirmed(proto uint8) bool {
	for rest := a.services; rest != 0; rest >>= 5 {
		if uint8(rest&31) == proto {
			return true
		}
	}
	return false
}

// retract removes a protocol from a connection's services, which is what Zeek
// does where the payload turns out to be something else.
func (a *App) retract(proto uint8) {
	var kept uint16
	for shift, rest := 0, a.services; rest != 0; rest >>= 5 {
		if uint8(rest&31) != proto {
			kept |= rest & 31 << shift
			shift += 5
		}
	}
	a.services = kept
}

// firstTime is where Zeek's clock, which records are dated by, begins: packets
// that claim to be older, as those of made-up captures do, do not turn it back.
const firstTime = flow.Time(1e9)

// begin starts a record of a connection that has written *n so far. It reports
// false where the connection has had its share.
func (s *Shard) begin(kind flow.Kind, t *flow.Tuple, ts flow.Time, n *uint32) bool {
	if *n >= s.maxRecords || s.Out == nil {
		s.stats.RecordsDropped++
		return false
	}
	*n++
	s.stats.Records[kind]++
	s.Out.Begin(kind, t, max(ts, firstTime))
	return true
}

// occupy gives the connection a session of a dissector, which is as its last user
// left it, and returns with it what the connection had written so far. It is nil
// where there is no memory for one; nothing more is wanted then.
func occupy[T any](s *Shard, a *App, sessions *slab[T]) (session *T, written uint32) {
	if !s.bufs.book(sessions.size()) {
		a.flags |= doneBoth
		return nil, 0
	}
	id := sessions.get()
	return sessions.at(id), s.attach(a, id)
}

// vacate is the opposite of occupy.
func vacate[T any](s *Shard, a *App, sessions *slab[T], written uint32) {
	id, _ := a.has()
	s.detach(a, written)
	sessions.put(id)
	s.bufs.free(sessions.size())
}

// attach gives the connection a session number; what it had written so far is
// returned.
func (s *Shard) attach(a *App, session uint32) (written uint32) {
	written = a.session
	a.session = session + 1
	a.flags |= withSession
	s.stats.Sessions++
	return written
}

// detach takes the session number from the connection.
func (s *Shard) detach(a *App, written uint32) {
	a.session = written
	a.flags &^= withSession
	s.stats.Sessions--
}

// has reports whether the connection has a session, and its number.
func (a *App) has() (uint32, bool) { return a.session - 1, a.flags&withSession != 0 }

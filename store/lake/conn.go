// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// Positions of the columns of conn, in the order of ConnColumns.
const (
	connUID = iota
	connSensor
	connFirstSeen
	connLastSeen
	connSrc
	connDst
	connSrcBin
	connDstBin
	connSport
	connDport
	connType
	connCode
	connProto
	connIPProto
	connService
	connState
	connHistory
	connEndReason
	connCSPkts
	connSCPkts
	connCSBytes
	connSCBytes
	connCSPayload
	connSCPayload
	connMissedBytes
	connVLAN
	connTunnelParents
	connCount
	connLoss
)

// labels holds texts that many rows share, so that none is made for a row.
type labels struct {
	sensor []byte
	protos [256][]byte
	states [16][]byte
	addrs  addrTexts
}

func newLabels(sensor string) *labels {
	l := &labels{sensor: appendText(nil, []byte(sensor))}
	for i := range l.protos {
		l.protos[i] = []byte(flow.ProtoLabel(uint8(i)))
	}
	for i := range l.states {
		l.states[i] = []byte(flow.State(i).String())
	}
	return l
}

// state returns the name of a conn_state.
func (l *labels) state(s flow.State) []byte {
	if int(s) < len(l.states) {
		return l.states[s]
	}
	return nil
}

// addrTexts caches the texts of addresses; each slot keeps the last address
// that fell into it.
type addrTexts struct{ slots []addrText }

type addrText struct {
	addr flow.Addr
	n    uint8 // 0: the slot is empty
	text [39]byte
}

// addrBits is the logarithm of the number of slots.
const addrBits = 11

// append appends the text of a to dst.
func (t *addrTexts) append(dst []byte, a *flow.Addr) []byte {
	if t.slots == nil {
		t.slots = make([]addrText, 1<<addrBits)
	}
	h := binary.LittleEndian.Uint64(a[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(a[8:]), 32)
	s := &t.slots[h*0x9e3779b97f4a7c15>>(64-addrBits)]
	if s.n == 0 || s.addr != *a {
		// No text of an address without a zone is longer than a slot's.
		s.addr, s.n = *a, uint8(len(a.AppendTo(s.text[:0])))
	}
	return append(dst, s.text[:s.n]...)
}

// clamp makes a counter signed.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// hasPorts reports whether a record's ports are ports. Of the protocols other
// than TCP and UDP only importers know any.
func hasPorts(t *flow.Tuple) bool {
	switch {
	case t.Proto == flow.TCP, t.Proto == flow.UDP:
		return true
	case flow.IsICMP(t.Proto):
		return false
	}
	return t.Sport != 0 || t.Dport != 0
}

// writeConns adds connections of one day to a part.
func (s *partSet) writeConns(p *partWriter, rows []flow.Connection, l *labels) error {
	for len(rows) > 0 {
		n := min(len(rows), chunkRows)
		for i := range rows[:n] {
			c := &rows[i]
			p.span.add(c.First.Micro(), c.Last.Micro())
			p.conns += clamp(c.Count)
			if c.End == flow.EndActive || c.Count == 0 {
				p.partial++
			}
		}
		if err := s.connChunk(p, rows[:n], l); err != nil {
			return err
		}
		if err := p.endChunk(n, groupBytes/len(s.open)); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// connChunk writes every column of some connections.
func (s *partSet) connChunk(p *partWriter, rows []flow.Connection, l *labels) error {
	w := chunkWriter{p: p, v: s.chunk(), text: s.text[:0]}
	defer func() { s.values, s.text = w.v, w.text }()

	ints := func(column int, value func(c *flow.Connection) int64) {
		for i := range rows {
			w.v = append(w.v, parquet.Int64Value(value(&rows[i])))
		}
		w.put(column)
	}
	optional := func(column int, value func(c *flow.Connection) (int32, bool)) {
		for i := range rows {
			n, ok := value(&rows[i])
			if !ok {
				w.addMissing()
				continue
			}
			w.add(parquet.Int32Value(n), 0, 1)
		}
		w.put(column)
	}

	ints(connUID, func(c *flow.Connection) int64 { return int64(c.UID) })
	for range rows {
		w.v = append(w.v, parquet.ByteArrayValue(l.sensor))
	}
	w.put(connSensor)
	ints(connFirstSeen, func(c *flow.Connection) int64 { return c.First.Micro() })
	ints(connLastSeen, func(c *flow.Connection) int64 { return c.Last.Micro() })
	for i := range rows {
		w.addAddr(l, &rows[i].Src)
	}
	w.put(connSrc)
	for i := range rows {
		w.addAddr(l, &rows[i].Dst)
	}
	w.put(connDst)
	for i := range rows {
		w.v = append(w.v, parquet.FixedLenByteArrayValue(rows[i].Src[:]))
	}
	w.put(connSrcBin)
	for i := range rows {
		w.v = append(w.v, parquet.FixedLenByteArrayValue(rows[i].Dst[:]))
	}
	w.put(connDstBin)
	optional(connSport, func(c *flow.Connection) (int32, bool) {
		return int32(c.Sport), hasPorts(&c.Tuple)
	})
	optional(connDport, func(c *flow.Connection) (int32, bool) {
		return int32(c.Dport), hasPorts(&c.Tuple)
	})
	optional(connType, func(c *flow.Connection) (int32, bool) {
		return int32(c.Sport), flow.IsICMP(c.Proto)
	})
	optional(connCode, func(c *flow.Connection) (int32, bool) {
		return int32(c.Code), flow.IsICMP(c.Proto)
	})
	for i := range rows {
		w.v = append(w.v, parquet.ByteArrayValue(l.protos[rows[i].Proto]))
	}
	w.put(connProto)
	for i := range rows {
		w.v = append(w.v, parquet.Int32Value(int32(rows[i].Proto)))
	}
	w.put(connIPProto)
	for i := range rows {
		w.addString(rows[i].Service)
	}
	w.put(connService)
	for i := range rows {
		w.addBytes(l.state(rows[i].State))
	}
	w.put(connState)
	for i := range rows {
		w.addBytes(rows[i].History)
	}
	w.put(connHistory)
	for i := range rows {
		w.v = append(w.v, parquet.Int32Value(int32(rows[i].End)))
	}
	w.put(connEndReason)
	ints(connCSPkts, func(c *flow.Connection) int64 { return clamp(c.CSPkts) })
	ints(connSCPkts, func(c *flow.Connection) int64 { return clamp(c.SCPkts) })
	ints(connCSBytes, func(c *flow.Connection) int64 { return clamp(c.CSBytes) })
	ints(connSCBytes, func(c *flow.Connection) int64 { return clamp(c.SCBytes) })
	ints(connCSPayload, func(c *flow.Connection) int64 { return clamp(c.CSPayload) })
	ints(connSCPayload, func(c *flow.Connection) int64 { return clamp(c.SCPayload) })
	ints(connMissedBytes, func(c *flow.Connection) int64 { return clamp(c.Missed) })
	optional(connVLAN, func(c *flow.Connection) (int32, bool) { return int32(c.VLAN), c.VLAN != 0 })
	for i := range rows {
		parents := rows[i].TunnelParents
		if len(parents) == 0 {
			w.addMissing()
			continue
		}
		for j, uid := range parents {
			w.add(parquet.Int64Value(int64(uid)), uint8(min(j, 1)), listElement)
		}
	}
	w.put(connTunnelParents)
	ints(connCount, func(c *flow.Connection) int64 { return clamp(c.Count) })
	for i := range rows {
		w.v = append(w.v, parquet.BooleanValue(rows[i].Loss))
	}
	w.put(connLoss)
	return w.err
}

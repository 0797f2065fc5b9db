// SPDX-License-Identifier: Apache-2.0

package export

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/store"
)

// rowsAGroup is how many rows a group of a file has, which wait in memory until it is written.
const rowsAGroup = 50_000

// flowRow is a row of a file of flows: the columns of view flow, and the times.
type flowRow struct {
	Src       string   `parquet:"src"`
	Dst       string   `parquet:"dst"`
	Proto     string   `parquet:"proto,dict"`
	Dport     *int32   `parquet:"dport,optional"`
	Type      *int32   `parquet:"type,optional"`
	Sports    []int32  `parquet:"sports,list"`
	Codes     []int32  `parquet:"codes,list"`
	Count     int64    `parquet:"count"`
	CSPkts    int64    `parquet:"cspkts"`
	SCPkts    int64    `parquet:"scpkts"`
	CSBytes   int64    `parquet:"csbytes"`
	SCBytes   int64    `parquet:"scbytes"`
	FirstSeen int64    `parquet:"firstseen,timestamp(microsecond)"`
	LastSeen  int64    `parquet:"lastseen,timestamp(microsecond)"`
	ConnState []string `parquet:"conn_state,list"`
	Service   []string `parquet:"service,list"`
	VLAN      []int32  `parquet:"vlan,list"`
	Sensor    []string `parquet:"sensor,list"`
	Times     []int64  `parquet:"times,list" parquet-element:",timestamp(microsecond)"`
}

// pairRow is a row of a file of pairs.
type pairRow struct {
	Src       string   `parquet:"src"`
	Dst       string   `parquet:"dst"`
	Services  []string `parquet:"services,list"`
	Flows     int64    `parquet:"flows"`
	Count     int64    `parquet:"count"`
	CSPkts    int64    `parquet:"cspkts"`
	SCPkts    int64    `parquet:"scpkts"`
	CSBytes   int64    `parquet:"csbytes"`
	SCBytes   int64    `parquet:"scbytes"`
	FirstSeen int64    `parquet:"firstseen,timestamp(microsecond)"`
	LastSeen  int64    `parquet:"lastseen,timestamp(microsecond)"`
	Times     []int64  `parquet:"times,list" parquet-element:",timestamp(microsecond)"`
}

func micros(times []time.Time) []int64 {
	out := make([]int64, len(times))
	for i, t := range times {
		out[i] = t.UnixMicro()
	}
	return out
}

func numbers(list []uint16) []int32 {
	out := make([]int32, len(list))
	for i, n := range list {
		out[i] = int32(n)
	}
	return out
}

// valid returns texts that are UTF-8, as those of stores are: one that is not would make the file
// unreadable.
func valid(list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = strings.ToValidUTF8(text, "\ufffd")
	}
	return out
}

func optional(n *uint16) *int32 {
	if n == nil {
		return nil
	}
	out := int32(*n)
	return &out
}

// Parquet writes edges into a Parquet file, in groups of rows. It is not safe for concurrent use.
type Parquet[T any] struct {
	w    *parquet.GenericWriter[T]
	row  func(*Edge) (T, error)
	rows int
}

// errEdge says that edges of another sort were given.
var errEdge = errors.New("the edge is of another sort than the file")

func newParquet[T any](w io.Writer, row func(*Edge) (T, error)) *Parquet[T] {
	return &Parquet[T]{row: row, w: parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Zstd))}
}

// NewFlowParquet returns a file of flows.
func NewFlowParquet(w io.Writer) *Parquet[flowRow] {
	return newParquet(w, func(e *Edge) (flowRow, error) {
		f, ok := e.Object.(*store.Flow)
		if !ok {
			return flowRow{}, errEdge
		}
		return flowRow{
			Src: f.Src.String(), Dst: f.Dst.String(), Proto: strings.ToValidUTF8(f.Proto, "\ufffd"), Dport: optional(f.Dport), Type: optional(f.Type),
			Sports: numbers(f.Sports), Codes: numbers(f.Codes),
			Count: f.Count, CSPkts: f.CSPkts, SCPkts: f.SCPkts, CSBytes: f.CSBytes, SCBytes: f.SCBytes,
			FirstSeen: f.FirstSeen.UnixMicro(), LastSeen: f.LastSeen.UnixMicro(),
			ConnState: f.ConnState, Service: valid(f.Service), VLAN: numbers(f.VLAN), Sensor: valid(f.Sensor), Times: micros(f.Times),
		}, nil
	})
}

// NewPairParquet returns a file of pairs.
func NewPairParquet(w io.Writer) *Parquet[pairRow] {
	return newParquet(w, func(e *Edge) (pairRow, error) {
		p, ok := e.Object.(*store.Pair)
		if !ok {
			return pairRow{}, errEdge
		}
		services, _ := e.Values[2].([]string)
		return pairRow{
			Src: p.Src.String(), Dst: p.Dst.String(), Services: valid(services), Flows: p.Flows,
			Count: p.Count, CSPkts: p.CSPkts, SCPkts: p.SCPkts, CSBytes: p.CSBytes, SCBytes: p.SCBytes,
			FirstSeen: p.FirstSeen.UnixMicro(), LastSeen: p.LastSeen.UnixMicro(), Times: micros(p.Times),
		}, nil
	})
}

// Edge adds a row.
func (p *Parquet[T]) Edge(e *Edge) error {
	row, err := p.row(e)
	if err != nil {
		return err
	}
	if _, err := p.w.Write([]T{row}); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	if p.rows++; p.rows%rowsAGroup == 0 {
		if err := p.w.Flush(); err != nil {
			return fmt.Errorf("write Parquet: %w", err)
		}
	}
	return nil
}

// Close writes the end of the file.
func (p *Parquet[T]) Close() error {
	if err := p.w.Close(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}

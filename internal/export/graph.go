// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"weir/internal/flow"
)

// MaxHosts is how many hosts a graph may have. Each takes some 100 bytes of memory while the
// graph is written, 400 MB in all; nothing else grows with the graph.
const MaxHosts = 4 << 20

// ErrTooLarge says that a graph has more hosts than MaxHosts.
var ErrTooLarge = fmt.Errorf("the graph has more than %d hosts", MaxHosts)

// Node is a host of the graph, as its edges tell of it.
type Node struct {
	Addr netip.Addr `json:"addr"`
	// In and Out are the numbers of flows to and from it.
	In        int64     `json:"in"`
	Out       int64     `json:"out"`
	FirstSeen time.Time `json:"firstseen"`
	LastSeen  time.Time `json:"lastseen"`
}

// Format is a format that has all hosts before the first edge.
type Format interface {
	head(w io.Writer) error
	node(w io.Writer, n *Node, first bool) error
	// middle stands between hosts and edges.
	middle(w io.Writer) error
	edge(w io.Writer, e *Edge, first bool) error
	tail(w io.Writer) error
}

// Graph writes a graph whose edges come one by one. What hosts there are is known after the last
// one: until then edges wait in a temporary file, compressed, which has no name. It is not safe for
// concurrent use.
type Graph struct {
	format Format
	spool  *os.File
	zip    *zstd.Encoder
	buf    *bufio.Writer
	edges  int64
	max    int
	hosts  map[flow.Addr]int32
	nodes  []node
}

// node is a Node in less memory; times are in microseconds.
type node struct {
	addr        flow.Addr
	in, out     int64
	first, last int64
}

// NewGraph returns a graph without edges. It must be closed.
func NewGraph(format Format) (*Graph, error) {
	f, err := os.CreateTemp("", "weir-export-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("hide the temporary file: %w", err), f.Close())
	}
	zip, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compress edges: %w", err), f.Close())
	}
	return &Graph{
		format: format, spool: f, zip: zip, buf: bufio.NewWriterSize(zip, 64<<10), max: MaxHosts, hosts: make(map[flow.Addr]int32),
	}, nil
}

// Edge adds an edge. The error is ErrTooLarge where there is no room for its hosts.
func (g *Graph) Edge(e *Edge) error {
	src, err := g.host(e.Src)
	if err != nil {
		return err
	}
	dst, err := g.host(e.Dst)
	if err != nil {
		return err
	}
	g.nodes[src].out += e.Flows
	g.nodes[dst].in += e.Flows
	first, last := e.FirstSeen.UnixMicro(), e.LastSeen.UnixMicro()
	for _, i := range []int32{src, dst} {
		n := &g.nodes[i]
		n.first, n.last = min(n.first, first), max(n.last, last)
	}
	if err := g.format.edge(g.buf, e, g.edges == 0); err != nil {
		return fmt.Errorf("keep an edge: %w", err)
	}
	g.edges++
	return nil
}

// host returns the number of a host.
func (g *Graph) host(ip netip.Addr) (int32, error) {
	a := flow.AddrFrom(ip)
	i, ok := g.hosts[a]
	if ok {
		return i, nil
	}
	if len(g.nodes) >= g.max {
		return 0, ErrTooLarge
	}
	i = int32(len(g.nodes))
	g.hosts[a] = i
	g.nodes = append(g.nodes, node{addr: a, first: math.MaxInt64, last: math.MinInt64})
	return i, nil
}

// Finish writes the graph: hosts in the order of their addresses, then the edges as they came.
func (g *Graph) Finish(w io.Writer) error {
	g.hosts = nil
	if err := errors.Join(g.buf.Flush(), g.zip.Close()); err != nil {
		return fmt.Errorf("keep edges: %w", err)
	}
	if _, err := g.spool.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read edges: %w", err)
	}
	slices.SortFunc(g.nodes, func(a, b node) int { return a.addr.Compare(b.addr) })
	if err := g.format.head(w); err != nil {
		return err
	}
	for i := range g.nodes {
		n := &g.nodes[i]
		err := g.format.node(w, &Node{
			Addr: n.addr.Netip(), In: n.in, Out: n.out,
			FirstSeen: time.UnixMicro(n.first).UTC(), LastSeen: time.UnixMicro(n.last).UTC(),
		}, i == 0)
		if err != nil {
			return err
		}
	}
	if err := g.format.middle(w); err != nil {
		return err
	}
	zip, err := zstd.NewReader(g.spool, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("read edges: %w", err)
	}
	defer zip.Close()
	if _, err := io.Copy(w, zip); err != nil {
		return err
	}
	return g.format.tail(w)
}

// Close gives the temporary file back. It may be called at any time.
func (g *Graph) Close() error { return g.spool.Close() }

// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/store/lake"
)

// kept copies a list, nil if it is empty.
func kept[T any](list []T) []T { return append([]T(nil), list...) }

// readFlows returns the batches of a part.
func readFlows(t *testing.T, l *lake.Lake, p *lake.Part, rows int, slot time.Duration, skip int) map[int][]lake.FlowRow {
	t.Helper()
	got := make(map[int][]lake.FlowRow)
	err := lake.ReadFlows(t.Context(), l.Path(), p, rows, slot, skip, func(n int, flows []lake.FlowRow) error {
		if n != skip+len(got) {
			t.Errorf("batch %d comes after %d", n, skip+len(got)-1)
		}
		// They are valid during the call only.
		var all []lake.FlowRow
		for i := range flows {
			f := flows[i]
			for _, list := range []*[]int32{&f.Sports, &f.Codes, &f.VLANs} {
				*list = kept(*list)
			}
			for _, list := range []*[]string{&f.States, &f.Services, &f.Sensors} {
				*list = kept(*list)
			}
			f.Slots = kept(f.Slots)
			all = append(all, f)
		}
		got[n] = all
		return nil
	})
	if err != nil {
		t.Fatalf("ReadFlows(%s) = %v", p.Path, err)
	}
	return got
}

// onePart returns the only part of a table.
func onePart(t *testing.T, l *lake.Lake, kind string) *lake.Part {
	t.Helper()
	parts := kinds(t, l, kind)
	if len(parts) != 1 {
		t.Fatalf("%d parts of %s, want one", len(parts), kind)
	}
	return &parts[0]
}

// flowsOf is what the flows of some rows are, put plainly.
func flowsOf(rows []connRow, slot int64) []lake.FlowRow {
	number := func(n *int32) int32 {
		if n == nil {
			return -1
		}
		return *n
	}
	type key struct {
		src, dst flow.Addr
		proto    string
		dport    int32
		typ      int32
	}
	byKey := make(map[key]*lake.FlowRow)
	for i := range rows {
		r := &rows[i]
		k := key{r.SrcBin, r.DstBin, r.Proto, number(r.Dport), number(r.Type)}
		f := byKey[k]
		if f == nil {
			f = &lake.FlowRow{
				Src: k.src, Dst: k.dst, Proto: k.proto, Dport: k.dport, Type: k.typ,
				First: r.FirstSeen, Last: r.LastSeen,
			}
			byKey[k] = f
		}
		for _, n := range []struct {
			list  *[]int32
			value *int32
		}{{&f.Sports, r.Sport}, {&f.Codes, r.Code}, {&f.VLANs, r.VLAN}} {
			if n.value != nil {
				*n.list = append(*n.list, *n.value)
			}
		}
		if r.ConnState != nil && r.EndReason != 2 {
			f.States = append(f.States, *r.ConnState)
		}
		if r.Service != nil {
			f.Services = append(f.Services, strings.Split(*r.Service, ",")...)
		}
		f.Sensors = append(f.Sensors, r.Sensor)
		for _, n := range []struct {
			sum *int64
			add int64
		}{
			{&f.Count, r.Count},
			{&f.CSPkts, r.CSPkts},
			{&f.SCPkts, r.SCPkts},
			{&f.CSBytes, r.CSBytes},
			{&f.SCBytes, r.SCBytes},
		} {
			if *n.sum > math.MaxInt64-n.add {
				*n.sum = math.MaxInt64
			} else {
				*n.sum += n.add
			}
		}
		f.First, f.Last = min(f.First, r.FirstSeen), max(f.Last, r.LastSeen)
		if slot == 0 {
			continue
		}
		start := int64(math.Floor(float64(r.FirstSeen)/float64(slot))) * slot
		for n := 0; start <= max(r.LastSeen, r.FirstSeen); start, n = start+slot, n+1 {
			if n == lake.MaxSlots {
				f.Cut++
				break
			}
			f.Slots = append(f.Slots, start)
		}
	}
	var out []lake.FlowRow
	for _, f := range byKey {
		for _, list := range []*[]int32{&f.Sports, &f.Codes, &f.VLANs} {
			slices.Sort(*list)
			*list = slices.Compact(*list)
		}
		for _, list := range []*[]string{&f.States, &f.Services, &f.Sensors} {
			slices.Sort(*list)
			*list = slices.Compact(*list)
		}
		slices.Sort(f.Slots)
		f.Slots = slices.Compact(f.Slots)
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b lake.FlowRow) int {
		return cmp.Or(bytes.Compare(a.Src[:], b.Src[:]), bytes.Compare(a.Dst[:], b.Dst[:]),
			strings.Compare(a.Proto, b.Proto), cmp.Compare(a.Dport, b.Dport), cmp.Compare(a.Type, b.Type))
	})
	return out
}

// oddConns makes connections that have everything that flows tell apart.
func oddConns() []flow.Connection {
	base := flow.Time(1_700_000_000_000_000_000)
	conn := func(change func(*flow.Connection)) flow.Connection {
		c := flow.Connection{Count: 1, End: flow.EndDetected, State: flow.SF, Service: "http"}
		c.Src, c.Dst, c.Sport, c.Dport, c.Proto = addr("10.0.0.1"), addr("10.0.0.2"), 40000, 80, flow.TCP
		c.First, c.Last, c.CSPkts = base, base+1e9, 3
		change(&c)
		return c
	}
	return []flow.Connection{
		conn(func(*flow.Connection) {}),
		conn(func(c *flow.Connection) { c.Service, c.Sport = "ssl,http,imap", 39999 }),
		conn(func(c *flow.Connection) { c.End, c.State = flow.EndActive, flow.S1 }),
		conn(func(c *flow.Connection) { c.Count, c.State, c.VLAN = 0, flow.RSTO, 7 }),
		conn(func(c *flow.Connection) { c.Last += 3 * 3600e9 }),
		conn(func(c *flow.Connection) { c.Last = c.First - 5000e9 }),
		conn(func(c *flow.Connection) { c.First = -5e9; c.Last = -1e9 }),
		conn(func(c *flow.Connection) { c.CSBytes = math.MaxInt64 - 3; c.SCBytes = 5 }),
		conn(func(c *flow.Connection) { c.CSBytes = math.MaxUint64; c.SCBytes = 6 }),
		conn(func(c *flow.Connection) { c.Proto, c.Sport, c.Dport, c.Code = flow.ICMP, 8, 0, 3 }),
		conn(func(c *flow.Connection) { c.Proto, c.Sport, c.Dport, c.Code = flow.ICMP, 8, 0, 1 }),
		conn(func(c *flow.Connection) { c.Proto, c.Sport = flow.ICMP, 0 }),
		conn(func(c *flow.Connection) { c.Proto, c.Sport, c.Dport = flow.ESP, 0, 0 }),
		conn(func(c *flow.Connection) { c.Src = addr("2001:db8::1"); c.Dst = addr("ff02::1"); c.Service = "" }),
		conn(func(c *flow.Connection) { c.Src = addr("0.0.0.0") }),
	}
}

func TestReadFlows(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{Sensor: "eth0"})
	conns := append(oddConns(), genConns(4000, 5)...)
	if err := w.Connections(batchOf(conns...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range kinds(t, l, "conn") {
		all := readFile[connRow](t, filepath.Join(l.Path(), p.Path))
		for _, rows := range []int{7, 1000, 1024, 1 << 30} {
			for _, slot := range []time.Duration{0, time.Second, time.Hour} {
				got := readFlows(t, l, &p, rows, slot, 0)
				for n, chunk := range slices.Collect(slices.Chunk(all, min(rows, len(all)))) {
					want := flowsOf(chunk, slot.Microseconds())
					if !reflect.DeepEqual(want, got[n]) {
						t.Fatalf("%s: batch %d of %d rows, slots of %v (-want +got):\n%s",
							p.Path, n, rows, slot, gocmp.Diff(want, got[n]))
					}
					delete(got, n)
				}
				if len(got) > 0 {
					t.Errorf("%s: %d batches of %d rows too many", p.Path, len(got), rows)
				}
			}
		}
	}
}

// TestReadFlowsSkip reads a part of several row groups, from the disk too, from
// any batch on.
func TestReadFlowsSkip(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	for i := range 6 {
		conns := genConns(20_000, 9) // all of one day
		for j := range conns {
			conns[j].UID += uint64(i)
			if i == 2 && j < 4000 && j%20 == 17 {
				conns[j].Last += flow.Time(400 * 24 * time.Hour)
			}
		}
		if err := w.Connections(batchOf(conns...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	p := onePart(t, l, "conn")
	for _, slot := range []time.Duration{time.Hour, 100 * time.Millisecond} {
		const rows = 7001
		all := readFlows(t, l, p, rows, slot, 0)
		if least := int(p.Rows / rows); slot == time.Hour && len(all) != least+1 {
			t.Fatalf("%d batches, want %d", len(all), least+1)
		}
		if slot < time.Hour && len(all) <= int(p.Rows/rows)+1 {
			t.Fatalf("%d batches, want more, since rows have many slots", len(all))
		}
		for skip := 1; skip <= len(all)+1; skip += 1 + len(all)/5 {
			got := readFlows(t, l, p, rows, slot, skip)
			want := maps.Clone(all)
			maps.DeleteFunc(want, func(n int, _ []lake.FlowRow) bool { return n < skip })
			if !reflect.DeepEqual(want, got) {
				t.Errorf("after %d of %d batches there are others", skip, len(all))
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{}, 1, 3000, 1)
	conn, dns := onePart(t, l, "conn"), onePart(t, l, "dns")
	read := func(p *lake.Part) error {
		if p.Kind == lake.ConnTable {
			return lake.ReadFlows(t.Context(), l.Path(), p, 100, time.Hour, 0, func(int, []lake.FlowRow) error { return nil })
		}
		return lake.ReadIntel(t.Context(), l.Path(), p, 100, 0, func(int, []lake.IntelRow) error { return nil })
	}
	for _, p := range []*lake.Part{conn, dns} {
		name := filepath.Join(l.Path(), p.Path)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := read(p); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0); err != nil {
			t.Fatal(err)
		}
		if err := read(p); err != nil && errors.Is(err, lake.ErrDamaged) { // root reads it
			t.Errorf("a part of somebody else: %v, want no %v", err, lake.ErrDamaged)
		}
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, len(data) / 2, len(data) - 1} {
			bad := slices.Clone(data)
			bad[at] ^= 4
			write(t, name, string(bad))
			if err := read(p); !errors.Is(err, lake.ErrDamaged) || !strings.Contains(err.Error(), p.Path) {
				t.Errorf("%s with damage at byte %d: %v, want %v", p.Path, at, err, lake.ErrDamaged)
			}
		}
		write(t, name, string(data[:len(data)-1]))
		if err := read(p); !errors.Is(err, lake.ErrDamaged) {
			t.Errorf("%s cut short: %v, want %v", p.Path, err, lake.ErrDamaged)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := read(p); !errors.Is(err, lake.ErrDamaged) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s removed: %v, want %v", p.Path, err, lake.ErrDamaged)
		}
		write(t, name, string(data))
	}
	// What is no fault of the part.
	stop := errors.New("stop")
	err := lake.ReadFlows(t.Context(), l.Path(), conn, 100, 0, 3, func(n int, _ []lake.FlowRow) error {
		if n == 5 {
			return stop
		}
		return nil
	})
	if err != stop {
		t.Errorf("ReadFlows() = %v, want %v", err, stop)
	}
	err = lake.ReadIntel(t.Context(), l.Path(), dns, 100, 3, func(n int, _ []lake.IntelRow) error {
		if n == 5 {
			return stop
		}
		return nil
	})
	if err != stop {
		t.Errorf("ReadIntel() = %v, want %v", err, stop)
	}
	for _, bad := range []error{
		lake.ReadFlows(t.Context(), l.Path(), dns, 100, 0, 0, nil),
		lake.ReadFlows(t.Context(), l.Path(), conn, 0, 0, 0, nil),
		lake.ReadFlows(t.Context(), l.Path(), conn, 1, -time.Hour, 0, nil),
		lake.ReadFlows(t.Context(), l.Path(), conn, 1, time.Nanosecond, 0, nil),
		lake.ReadIntel(t.Context(), l.Path(), conn, 100, 0, nil),
		lake.ReadIntel(t.Context(), l.Path(), dns, 100, -1, nil),
	} {
		if bad == nil || errors.Is(bad, lake.ErrDamaged) {
			t.Errorf("wrong use: %v, want an error", bad)
		}
	}
}

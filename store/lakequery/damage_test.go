// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
)

// variedConns makes connections that fill every column.
func variedConns(n int, seed uint64) []flow.Connection {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]flow.Connection, n)
	for i := range out {
		src, dst := fmt.Sprintf("10.0.%d.%d", r.IntN(4), r.IntN(250)), fmt.Sprintf("2001:db8::%x", r.IntN(99))
		c := conn(r.Uint64(), flow.TCP, src, uint16(r.IntN(1<<16)), dst, uint16(r.IntN(500)), i%80_000)
		c.CSBytes, c.SCBytes, c.CSPkts = r.Uint64N(1<<40), r.Uint64N(1<<40), r.Uint64N(1<<20)
		c.Missed, c.State = r.Uint64N(3), flow.State(1+r.IntN(6))
		switch r.IntN(4) {
		case 0:
			c.Proto, c.Sport, c.Dport, c.Code = flow.ICMP, uint16(r.IntN(40)), uint16(r.IntN(40)), uint8(r.IntN(9))
		case 1:
			c.VLAN, c.Service = uint16(1+r.IntN(99)), "http"
		case 2:
			c.TunnelParents, c.History = []uint64{r.Uint64(), r.Uint64()}, nil
		}
		out[i] = c
	}
	return out
}

// variedIntel makes intel of every kind for connections.
func variedIntel(conns []flow.Connection) *flow.IntelBatch {
	b := flow.NewIntelBatch()
	for i := range conns {
		c := &conns[i]
		b.Begin(flow.DNS, &c.Tuple, c.First)
		b.SetInt(flow.DNSTransID, int64(c.UID&0xffff))
		b.SetString(flow.DNSQuery, fmt.Sprintf("host%d.example.com", c.UID%1000))
		for n := range c.UID % 4 {
			b.AppendText(flow.DNSAnswers, fmt.Appendf(nil, "answer-%d-%d", n, c.UID%77))
		}
		for range c.UID % 4 {
			b.AppendInt(flow.DNSTTLs, int64(c.UID%600)*1e6)
		}
		b.SetBool(flow.DNSAA, c.UID%2 == 0)
		if i%50 > 0 {
			continue
		}
		b.Begin(flow.HTTP, &c.Tuple, c.First)
		b.SetString(flow.HTTPHost, "www.example.com")
		b.Begin(flow.SSL, &c.Tuple, c.First)
		b.SetString(flow.SSLServerName, "www.example.com")
	}
	return b
}

// answers asks a store about everything that it holds.
func answers(ctx context.Context, path string) (string, error) {
	db, err := lakequery.Open(ctx, path, lakequery.Config{Threads: 1})
	if err != nil {
		return "", err
	}
	defer db.Close()
	var out strings.Builder
	for _, query := range []string{
		"SELECT count(*), sum(csbytes), sum(scpkts), bit_xor(hash(t)) FROM (SELECT * FROM conn_records) t",
		"SELECT count(*), bit_xor(hash(t)), sum(len(answers)) FROM dns t",
		"SELECT count(*), bit_xor(hash(t)) FROM http t",
		"SELECT count(*), bit_xor(hash(t)) FROM ssl t",
	} {
		rows, err := db.Raw(ctx, query)
		if err != nil {
			return "", fmt.Errorf("%s: %w", query, err)
		}
		for row, err := range rows.All() {
			if err != nil {
				return "", fmt.Errorf("%s: %w", query, err)
			}
			fmt.Fprintln(&out, row...)
		}
		if err := rows.Close(); err != nil {
			return "", err
		}
	}
	counts, err := db.Counts(ctx, store.Query{})
	if err != nil {
		return "", err
	}
	fmt.Fprintln(&out, counts)
	n, sum := 0, int64(0)
	for f, err := range db.Flows(ctx, store.Query{}) {
		if err != nil {
			return "", err
		}
		n, sum = n+1, sum+f.CSBytes
	}
	fmt.Fprintln(&out, n, sum)
	return out.String(), nil
}

// flip changes a bit of a file; restore undoes that.
func flip(t *testing.T, name string, at int, bit uint) (restore func()) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func() {
		data[at] ^= 1 << bit
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write()
	return write
}

// damageRuns is in how many places TestDamage flips a bit.
func damageRuns() int {
	if testing.Short() {
		return 40
	}
	return 300
}

// TestDamage flips a bit in random places of parts of every kind and of the
// manifest: either that is found, or all answers are the same.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	conns := variedConns(15_000, 1)
	writeLake(t, path, "large", conns, variedIntel(conns))
	writeLake(t, path, "small", conns[:500], variedIntel(conns[:500]))
	want, err := answers(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lake.Open(path, lake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"MANIFEST"}
	large := 0
	for i := range m.Parts {
		names = append(names, m.Parts[i].Path)
		if m.Parts[i].Bytes > 256<<10 {
			large++
		}
	}
	if large < 2 || len(names) != 9 {
		t.Fatalf("%d parts, %d of them large, want 8 and conn and dns large", len(names)-1, large)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	found, unnamed := 0, 0
	for i := range damageRuns() {
		name := names[i%len(names)]
		st, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		at, bit := r.IntN(int(st.Size())), uint(r.IntN(8))
		if i%3 == 0 { // the end is where the metadata is
			at = int(st.Size()) - 1 - r.IntN(min(int(st.Size()), 20_000))
		}
		restore := flip(t, filepath.Join(path, name), at, bit)
		got, err := answers(t.Context(), path)
		switch {
		case err == nil && got != want:
			t.Errorf("%s, bit %d of byte %d flipped: other answers:\n%s\nwant\n%s", name, bit, at, got, want)
		case err != nil:
			found++
			if bad := new(lake.DamagedError); !errors.As(err, &bad) || bad.Path != name ||
				!strings.Contains(err.Error(), "flowcli check") {
				unnamed++
				t.Errorf("%s, bit %d of byte %d flipped: %v, want an error that names it", name, bit, at, err)
			}
		}
		restore()
	}
	t.Logf("%d of %d flipped bits were found by queries", found, damageRuns())
	if got, err := answers(t.Context(), path); err != nil || got != want {
		t.Errorf("in the end: %v, %s", err, got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"context"
	"math/rand/v2"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lakequery"
)

// manyConns makes connections between ten thousand hosts, popular ones more
// often, in about a sixth as many flows.
func manyConns(n int) []flow.Connection {
	r := rand.New(rand.NewPCG(1, 2))
	hosts := rand.NewZipf(r, 1.2, 4, 9999)
	ports := rand.NewZipf(r, 1.3, 1, 200)
	states := []flow.State{flow.SF, flow.SF, flow.SF, flow.S0, flow.REJ, flow.RSTO}
	services := []string{"", "dns", "http", "ssl"}
	out := make([]flow.Connection, n)
	for i := range out {
		c := &out[i]
		host := func() flow.Addr {
			h := uint16(hosts.Uint64())
			return flow.Addr4([4]byte{10, byte(h >> 6), byte(h), byte(h*7 + 1)})
		}
		c.UID, c.Src, c.Dst = r.Uint64(), host(), host()
		port := uint16(ports.Uint64())
		c.Proto, c.Sport, c.Dport = flow.TCP, uint16(32768+r.IntN(28000)), 20+port*37
		c.Service, c.State = services[port%4], states[r.IntN(len(states))]
		c.First = base + flow.Time(i)*50_000_000
		c.Last = c.First + flow.Time(r.IntN(1e9))
		c.CSPkts, c.SCPkts = uint64(1+r.IntN(20)), uint64(r.IntN(20))
		c.CSBytes, c.SCBytes = c.CSPkts*80, c.SCPkts*900
		c.Count, c.End, c.History = 1, flow.EndDetected, []byte("ShADadFf")
	}
	return out
}

type benchQuery struct {
	name string
	run  func(context.Context, *lakequery.DB) error
}

func benchQueries() []benchQuery {
	list := func(q store.Query) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			for _, err := range db.Flows(ctx, q) {
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	top := func(q store.TopQuery) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			_, err := db.Top(ctx, q)
			return err
		}
	}
	raw := func(text string) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			rows, err := db.Raw(ctx, text)
			if err != nil {
				return err
			}
			defer rows.Close()
			for _, err := range rows.All() {
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	return []benchQuery{
		{"counts", func(ctx context.Context, db *lakequery.DB) error {
			_, err := db.Counts(ctx, store.Query{})
			return err
		}},
		{"page", list(store.Query{Limit: 100})},
		{"page by bytes", list(store.Query{Limit: 100, OrderBy: []store.Order{{Attr: "csbytes", Desc: true}}})},
		{"all flows", list(store.Query{})},
		{"top", top(store.TopQuery{Fields: []string{"proto", "dport"}, Query: store.Query{Limit: 10}})},
		{"top with sum and collect", top(store.TopQuery{
			Fields: []string{"src"}, Collect: []string{"dport"}, Sum: []string{"csbytes"}, Query: store.Query{Limit: 10},
		})},
		{"sql", raw("SELECT dport, count(*) FROM conn GROUP BY 1 ORDER BY 2 DESC LIMIT 10")},
		{"sql flow", raw("SELECT proto, dport, count(*), sum(csbytes) FROM flow GROUP BY ALL ORDER BY 3 DESC LIMIT 10")},
		{"community id", raw("SELECT count(DISTINCT community_id) FROM conn")},
	}
}

// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"weir/internal/flow"
)

var zeekMisses = flag.String("zeek-misses", "", "write what differs from Zeek's logs to this file")

// zeekRow is a row of a Zeek log, or a record in the same words.
type zeekRow map[string]string

func readZeekLog(name string) []zeekRow {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var fields []string
	var rows []zeekRow
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		if f, ok := strings.CutPrefix(line, "#fields\t"); ok {
			fields = strings.Split(f, "\t")
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := zeekRow{}
		for i, v := range strings.Split(line, "\t") {
			if v != "-" && i < len(fields) {
				row[fields[i]] = v
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// zeekText escapes text as Zeek's log does: UTF-8 only stays where all of it is.
func zeekText(b []byte) string {
	var sb strings.Builder
	whole := utf8.Valid(b)
	for _, c := range b {
		switch {
		case c < ' ' || c == 0x7f || c > 0x7f && !whole:
			fmt.Fprintf(&sb, "\\x%02x", c)
		case c == '\\':
			sb.WriteString("\\\\")
		default:
			sb.WriteByte(c)
		}
	}
	return sb.String()
}

func zeekTime(us int64) string { return fmt.Sprintf("%d.%06d", us/1e6, us%1e6) }

// zeekRows turns the records of a kind into rows.
func zeekRows(b *flow.IntelBatch, kind flow.Kind) []zeekRow {
	info := flow.Kinds()[kind]
	var rows []zeekRow
	for i := range b.Recs {
		r := &b.Recs[i]
		if r.Kind != kind {
			continue
		}
		row := zeekRow{
			"ts": zeekTime(r.TS.Micro()), "id.orig_h": r.Src.String(), "id.resp_h": r.Dst.String(),
			"id.orig_p": strconv.Itoa(int(r.Sport)), "id.resp_p": strconv.Itoa(int(r.Dport)),
		}
		for n, attr := range info.Attrs {
			if !b.Has(i, n) {
				continue
			}
			v := ""
			switch attr.Type {
			case flow.Text:
				if v = zeekText(b.Bytes(i, n)); v == "" {
					v = "(empty)"
				}
			case flow.Count:
				v = strconv.FormatInt(b.Int(i, n), 10)
			case flow.Bool:
				if v = "F"; b.Int(i, n) != 0 {
					v = "T"
				}
			case flow.Interval:
				v = zeekTime(b.Int(i, n))
			case flow.TextList:
				var list []string
				for text := range b.Texts(i, n) {
					list = append(list, strings.ReplaceAll(zeekText(text), ",", "\\x2c"))
				}
				v = strings.Join(list, ",")
			case flow.IntervalList:
				var list []string
				for us := range b.Ints(i, n) {
					list = append(list, zeekTime(us))
				}
				v = strings.Join(list, ",")
			}
			row[attr.Column] = v
		}
		rows = append(rows, row)
	}
	return rows
}

// zeekScore compares rows as the scoring does: pairs of equal key by nearest
// time, then every field that counts.
type zeekScore struct {
	exact, total int
	weight, won  float64
	misses       []string
}

func (z *zeekScore) compare(name, kind string, truth, ours []zeekRow, fields []string) {
	number := map[string]string{"dns": "trans_id", "http": "trans_depth"}[kind]
	key := func(r zeekRow) string {
		return r["id.orig_h"] + " " + r["id.orig_p"] + " " + r["id.resp_h"] + " " + r["id.resp_p"] + " " + r[number]
	}
	seconds := func(s string) float64 { f, _ := strconv.ParseFloat(s, 64); return f }
	pool := map[string][]zeekRow{}
	for _, r := range ours {
		pool[key(r)] = append(pool[key(r)], r)
	}
	slices.SortStableFunc(truth, func(a, b zeekRow) int {
		return int(math.Copysign(1, seconds(a["ts"])-seconds(b["ts"])))
	})
	exact, total := 0, 0
	for _, t := range truth {
		total++
		list := pool[key(t)]
		best, off := -1, 0.01
		for i, r := range list {
			if d := math.Abs(seconds(r["ts"]) - seconds(t["ts"])); d <= off {
				if best < 0 || d < off {
					best, off = i, d
				}
			}
		}
		if best < 0 {
			z.misses = append(z.misses, fmt.Sprintf("%s\t%s\tmissing\t%s ts=%s", name, kind, key(t), t["ts"]))
			continue
		}
		r := list[best]
		pool[key(t)] = slices.Delete(list, best, best+1)
		ok := true
		for _, f := range fields {
			same := t[f] == r[f]
			if !same && f == "rtt" && t[f] != "" && r[f] != "" {
				same = math.Abs(seconds(t[f])-seconds(r[f])) < 2e-5
			}
			if !same {
				ok = false
				z.misses = append(z.misses, fmt.Sprintf("%s\t%s\t%s\t%s truth=%.200q ours=%.200q", name, kind, f, key(t), t[f], r[f]))
			}
		}
		if ok {
			exact++
		}
	}
	for k, list := range pool {
		for range list {
			total++
			z.misses = append(z.misses, fmt.Sprintf("%s\t%s\textra\t%s", name, kind, k))
		}
	}
	z.exact += exact
	z.total += total
	if total > 0 {
		w := float64(min(total, 20))
		z.weight += w
		z.won += float64(exact) * w / float64(total)
	}
}

// TestZeek compares the records with Zeek's logs of its own test captures,
// where those are present.
func TestZeek(t *testing.T) {
	dirs, _ := filepath.Glob("../../shared/zeek/*/capture*")
	if len(dirs) == 0 {
		t.Skip("no captures with Zeek's logs in ../shared")
	}
	fields := map[string][]string{
		"dns": {
			"query", "qtype_name", "qclass_name", "rcode_name", "AA", "TC", "RD", "RA", "answers",
			"TTLs", "rejected", "rtt", "qtype", "qclass", "rcode", "Z", "opcode", "opcode_name",
		},
		"http": {
			"method", "host", "uri", "referrer", "version", "user_agent", "request_body_len",
			"response_body_len", "status_code", "status_msg", "info_code", "info_msg", "username",
			"proxied", "origin",
		},
		"ssl": {
			"version", "cipher", "server_name", "next_protocol", "resumed", "established", "curve",
			"last_alert", "ssl_history",
		},
	}
	// What is left are messages in protocols that are not dissected (HTTP inside
	// WebSocket) or in packets that the small reader does not have.
	floor := map[string]float64{"dns": 98, "http": 92, "ssl": 95, "service": 95}
	scores := map[string]*zeekScore{"dns": {}, "http": {}, "ssl": {}, "service": {}}
	kinds := []string{flow.DNS: "dns", flow.HTTP: "http", flow.SSL: "ssl"}
	for _, capture := range dirs {
		dir := filepath.Dir(capture)
		name := filepath.Base(dir)
		out, services := runCapture(t, capture)
		for kind, label := range kinds {
			truth := readZeekLog(filepath.Join(dir, label+".log"))
			// The small reader knows no fragments, tunnels and wireless frames.
			truth = slices.DeleteFunc(truth, func(r zeekRow) bool {
				_, ok := services[endpoints(r)]
				return !ok
			})
			scores[label].compare(name, label, truth, zeekRows(out, flow.Kind(kind)), fields[label])
		}
		compareServices(scores["service"], name, readZeekLog(filepath.Join(dir, "conn.log")), services)
	}
	var misses []string
	for _, kind := range []string{"dns", "http", "ssl", "service"} {
		z := scores[kind]
		score := 100 * z.won / z.weight
		t.Logf("%-8s exact %d/%d, score %.1f %%", kind, z.exact, z.total, score)
		if score < floor[kind] {
			t.Errorf("%s: score %.1f %%, want at least %v %%", kind, score, floor[kind])
		}
		misses = append(misses, z.misses...)
	}
	if *zeekMisses != "" {
		if err := os.WriteFile(*zeekMisses, []byte(strings.Join(misses, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// endpoints is the key of a row's connection in what runCapture returns.
func endpoints(r zeekRow) string {
	return fmt.Sprintf("%s:%s %s:%s", r["id.orig_h"], r["id.orig_p"], r["id.resp_h"], r["id.resp_p"])
}

// compareServices compares the services that these dissectors know.
func compareServices(z *zeekScore, name string, conns []zeekRow, ours map[string]string) {
	exact, total := 0, 0
	known := NewShard(Config{}).protos
	for _, c := range conns {
		var want []string
		for s := range strings.SplitSeq(c["service"], ",") {
			if slices.ContainsFunc(known, func(p entry) bool { return p.service == s }) {
				want = append(want, s)
			}
		}
		got, ok := ours[endpoints(c)]
		if len(want) == 0 && got == "" || !ok {
			continue
		}
		total++
		if got == strings.Join(want, ",") {
			exact++
			continue
		}
		z.misses = append(z.misses, fmt.Sprintf("%s\tservice\t%s:%s %s:%s\ttruth=%q ours=%q", name,
			c["id.orig_h"], c["id.orig_p"], c["id.resp_h"], c["id.resp_p"], c["service"], got))
	}
	z.exact += exact
	z.total += total
	if total > 0 {
		w := float64(min(total, 20))
		z.weight += w
		z.won += float64(exact) * w / float64(total)
	}
}

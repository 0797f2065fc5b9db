// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/graph/formats/dot"
	"gonum.org/v1/gonum/graph/formats/dot/ast"

	"weir/store"
)

// hostile are texts that end what they stand in, if something is forgotten.
func hostile() []string {
	return []string{
		`plain`, `"`, `'`, `\`, `a\`, `\"`, `</data>`, `]]>`, `&amp;`, `<!--`, `"];}`, "\x1b[31m", "\u202e", "a\nb", "\x00", "\ufffe", "\xff",
		`\N`, `{"a":1}`, "=1+1", "日本", ",", ";", "\U0001f600",
	}
}

func port(n uint16) *uint16 { return &n }

// flows are one of each sort.
func flows() []*store.Flow {
	ip := netip.MustParseAddr
	at := time.Date(2025, 11, 23, 10, 0, 0, 123_456_000, time.UTC)
	return []*store.Flow{
		{
			Src: ip("10.0.0.9"), Dst: ip("10.0.0.2"), Proto: "tcp", Dport: port(80), Sports: []uint16{1, 40000}, Count: 2,
			CSPkts: 1, SCPkts: 2, CSBytes: 3, SCBytes: 1 << 62, FirstSeen: at, LastSeen: at.Add(time.Hour),
			ConnState: []string{"S0", "SF"}, Service: hostile(), VLAN: []uint16{7}, Sensor: hostile(),
			Times: []time.Time{at.Truncate(time.Hour), at.Truncate(time.Hour).Add(time.Hour)},
		},
		{Src: ip("10.0.0.9"), Dst: ip("10.0.0.2"), Proto: "icmp", Type: port(8), Codes: []uint16{0}, Count: 1, FirstSeen: at.Add(-time.Hour), LastSeen: at},
		{Src: ip("2001:db8::1"), Dst: ip("10.0.0.9"), Proto: "gre", Count: 1, FirstSeen: at, LastSeen: at},
		{Src: ip("::1"), Dst: ip("::1"), Proto: "udp", Dport: port(0), Count: 1, FirstSeen: at, LastSeen: at},
	}
}

// write writes the flows as a graph.
func write(t *testing.T, f Format, list []*store.Flow) string {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	g, err := NewGraph(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if err := g.Edge(FlowEdge(x)); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := errors.Join(g.Finish(&b), g.Close()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	for _, r := range b.String() {
		if r < ' ' && r != '\n' || r == 0x7f || r == 0x202e {
			t.Errorf("the character %U is not escaped", r)
		}
	}
	return b.String()
}

// nodes are the hosts of the flows: address, in, out, color.
func nodes() [][4]string {
	return [][4]string{{"10.0.0.2", "2", "0", white}, {"10.0.0.9", "1", "2", white}, {"::1", "1", "1", white}, {"2001:db8::1", "0", "1", light}}
}

type graphML struct {
	Keys []struct {
		ID   string `xml:"id,attr"`
		For  string `xml:"for,attr"`
		Name string `xml:"attr.name,attr"`
		Type string `xml:"attr.type,attr"`
	} `xml:"key"`
	Nodes []graphMLItem `xml:"graph>node"`
	Edges []graphMLItem `xml:"graph>edge"`
}

type graphMLItem struct {
	ID     string `xml:"id,attr"`
	Source string `xml:"source,attr"`
	Target string `xml:"target,attr"`
	Data   []struct {
		Key  string `xml:"key,attr"`
		Text string `xml:",chardata"`
	} `xml:"data"`
}

func (i *graphMLItem) get(key string) string {
	for _, d := range i.Data {
		if d.Key == key {
			return d.Text
		}
	}
	return "none"
}

func TestGraphML(t *testing.T) {
	text := write(t, NewGraphML(FlowColumns()), flows())
	var g graphML
	if err := xml.Unmarshal([]byte(text), &g); err != nil {
		t.Fatal(err)
	}
	types := make(map[string]string)
	for _, k := range g.Keys {
		types[k.ID] = k.Type
	}
	for id, want := range map[string]string{"n_in": "long", "e_csbytes": "long", "e_dport": "long", "e_sports": "string"} {
		if types[id] != want {
			t.Errorf("type of %s = %q, want %q", id, types[id], want)
		}
	}
	var got [][4]string
	for _, n := range g.Nodes {
		got = append(got, [4]string{n.ID, n.get("n_in"), n.get("n_out"), n.get("n_color")})
		for _, d := range n.Data {
			if types[d.Key] == "" {
				t.Errorf("no key %q", d.Key)
			}
		}
	}
	if diff := cmp.Diff(nodes(), got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if n := g.Nodes[1]; n.get("n_firstseen") != "2025-11-23T09:00:00.123456Z" || n.get("n_lastseen") != "2025-11-23T11:00:00.123456Z" {
		t.Errorf("%s seen from %s to %s", n.ID, n.get("n_firstseen"), n.get("n_lastseen"))
	}
	var edges [][]string
	for _, e := range g.Edges {
		edges = append(edges, []string{e.ID, e.Source, e.Target, e.get("e_label"), e.get("e_dport"), e.get("e_type"), e.get("e_scbytes"), e.get("e_sports")})
	}
	want := [][]string{
		{"e0", "10.0.0.9", "10.0.0.2", "tcp/80", "80", "none", "4611686018427387904", "1,40000"},
		{"e1", "10.0.0.9", "10.0.0.2", "icmp/8", "none", "8", "0", "none"},
		{"e2", "2001:db8::1", "10.0.0.9", "gre", "none", "none", "0", "none"},
		{"e3", "::1", "::1", "udp/0", "0", "none", "0", "none"},
	}
	if diff := cmp.Diff(want, edges); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
	if got, want := g.Edges[0].get("e_sensor"), `plain,",',\,a\,\",</data>,]]>,&amp;,<!--,"];},\x1b[31m,\xe2\x80\xae,a\x0ab,\x00,\xef\xbf\xbe,\xff,\N,{"a":1},=1+1,日本,,,;,😀`; got != want {
		t.Errorf("sensors = %s, want %s", got, want)
	}
}

// TestNetworkX has another program read the graph, where it is installed.
func TestNetworkX(t *testing.T) {
	if exec.Command("python3", "-c", "import networkx").Run() != nil {
		t.Log("networkx is not installed: only TestGraphML reads the graph")
		return
	}
	name := filepath.Join(t.TempDir(), "x.graphml")
	if err := os.WriteFile(name, []byte(write(t, NewGraphML(FlowColumns()), flows())), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("python3", "-c", `import networkx as nx, sys
g = nx.read_graphml(sys.argv[1], force_multigraph=True)
print(g.is_directed(), g.number_of_nodes(), g.number_of_edges(), g.nodes["10.0.0.2"]["in"], g["10.0.0.9"]["10.0.0.2"]["e0"]["scbytes"])`, name).CombinedOutput()
	if want := "True 4 4 2 4611686018427387904\n"; err != nil || string(out) != want {
		t.Errorf("networkx: %s, %v, want %s", out, err, want)
	}
}

// unquote returns the text of an ID.
func unquote(id string) string {
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(strings.TrimPrefix(id, `"`), `"`))
}

func TestDOT(t *testing.T) {
	text := write(t, NewDOT(FlowColumns()), flows())
	file, err := dot.ParseString(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	get := func(list []*ast.Attr, key string) string {
		for _, a := range list {
			if a.Key == key {
				return unquote(a.Val)
			}
		}
		return "none"
	}
	var hosts [][4]string
	var edges [][]string
	for _, s := range file.Graphs[0].Stmts {
		switch s := s.(type) {
		case *ast.NodeStmt:
			hosts = append(hosts, [4]string{unquote(s.Node.ID), get(s.Attrs, "in"), get(s.Attrs, "out"), get(s.Attrs, "fillcolor")})
		case *ast.EdgeStmt:
			to := s.To.Vertex.(*ast.Node).ID
			edges = append(edges, []string{unquote(s.From.(*ast.Node).ID), unquote(to), get(s.Attrs, "label"), get(s.Attrs, "color"), get(s.Attrs, "dport"), get(s.Attrs, "type")})
			if len(edges) == 1 {
				if got, want := get(s.Attrs, "sensor"), `plain,",',\,a\,\",</data>,]]>,&amp;,<!--,"];},\x1b[31m,\xe2\x80\xae,a\x0ab,\x00,\xef\xbf\xbe,\xff,\N,{"a":1},=1+1,日本,,,;,😀`; got != want {
					t.Errorf("sensors = %s, want %s", got, want)
				}
			}
		}
	}
	if diff := cmp.Diff(nodes(), hosts); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	color := func(i int) string { return FlowEdge(flows()[i]).Color }
	want := [][]string{
		{"10.0.0.9", "10.0.0.2", "tcp/80", color(0), "80", "none"},
		{"10.0.0.9", "10.0.0.2", "icmp/8", color(1), "none", "8"},
		{"2001:db8::1", "10.0.0.9", "gre", color(2), "none", "none"},
		{"::1", "::1", "udp/0", color(3), "0", "none"},
	}
	if diff := cmp.Diff(want, edges); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
}

// TestGraphviz has graphviz draw the graph, where it is installed.
func TestGraphviz(t *testing.T) {
	if _, err := exec.LookPath("dot"); err != nil {
		t.Log("graphviz is not installed: only TestDOT reads the graph")
		return
	}
	cmd := exec.Command("dot", "-Tsvg")
	cmd.Stdin = strings.NewReader(write(t, NewDOT(FlowColumns()), flows()))
	var msg bytes.Buffer
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if err != nil || msg.Len() > 0 {
		t.Fatalf("dot: %v, %s", err, msg.String())
	}
	for _, want := range []string{">tcp/80<", ">2001:db8::1<", FlowEdge(flows()[0]).Color} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
}

func TestJSON(t *testing.T) {
	text := write(t, JSON{}, flows())
	var got struct {
		Nodes []Node        `json:"nodes"`
		Edges []*store.Flow `json:"edges"`
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want := flows()
	for _, list := range [][]string{want[0].Service, want[0].Sensor} {
		for i := range list {
			list[i] = strings.ToValidUTF8(list[i], "\ufffd")
		}
	}
	if diff := cmp.Diff(want, got.Edges, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
	if len(got.Nodes) != 4 || got.Nodes[3].Addr.String() != "2001:db8::1" || got.Nodes[3].Out != 1 {
		t.Errorf("nodes = %v", got.Nodes)
	}
}

// TestEmpty writes graphs of nothing.
func TestEmpty(t *testing.T) {
	var got struct{ Nodes, Edges []any }
	if err := json.Unmarshal([]byte(write(t, JSON{}, nil)), &got); err != nil || got.Nodes == nil || got.Edges == nil {
		t.Errorf("JSON of nothing: %v, %v", got, err)
	}
	if err := xml.Unmarshal([]byte(write(t, NewGraphML(FlowColumns()), nil)), new(graphML)); err != nil {
		t.Error(err)
	}
	if _, err := dot.ParseString(write(t, NewDOT(FlowColumns()), nil)); err != nil {
		t.Error(err)
	}
}

func TestPairs(t *testing.T) {
	p := &store.Pair{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Flows: 7}
	for i := range uint16(7) {
		p.Services = append(p.Services, store.Service{Proto: "tcp", Dport: &i})
	}
	e := PairEdge(p)
	if want := "tcp/0, tcp/1, tcp/2, tcp/3, tcp/4, 2 more"; e.Label != want || e.Color != gray {
		t.Errorf("PairEdge() = %q, %s, want %q, %s", e.Label, e.Color, want, gray)
	}
	p.Services = p.Services[:1]
	if e := PairEdge(p); e.Color != Color(p.Services[0]) || len(e.Values) != len(PairColumns()) {
		t.Errorf("color %s, %d values", e.Color, len(e.Values))
	}
}

func TestTooLarge(t *testing.T) {
	g, err := NewGraph(JSON{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.max = 2
	if err := g.Edge(FlowEdge(flows()[0])); err != nil {
		t.Fatal(err)
	}
	if err := g.Edge(FlowEdge(flows()[2])); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a third host: %v, want %v", err, ErrTooLarge)
	}
}

// TestColor has services keep their color, and others differ.
func TestColor(t *testing.T) {
	seen := make(map[string]bool)
	for _, n := range []uint16{22, 25, 53, 80, 123, 443, 445, 993, 3306, 8080} {
		c := Color(store.Service{Proto: "tcp", Dport: &n})
		if seen[c] || len(c) != 7 {
			t.Errorf("color of tcp/%d = %q, which is another's", n, c)
		}
		seen[c] = true
	}
	if got, want := Color(store.Service{Proto: "tcp", Dport: port(80)}), "#b9bb1b"; got != want {
		t.Errorf("color of tcp/80 = %q, want %q", got, want)
	}
}

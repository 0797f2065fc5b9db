// SPDX-License-Identifier: Apache-2.0

package main

import (
	"compress/gzip"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/internal/neo4jtest"
	"weir/internal/traffic"
)

// Why a command of the documentation does not run as it stands.
const (
	needsNetwork = "listens to a network interface, as root"
	needsGraph   = "runs in TestNeo4jPageCommands"
	needsOther   = "hands its output to a program that need not be here"
	needsRest    = "names a command or some of its flags, and is no whole command"
)

// notRun lists the commands of the documentation and of help texts that do not run as they stand.
// Their flags are checked even so.
func notRun() map[string]string {
	lists := map[string][]string{
		needsNetwork: {
			"bin/sensor -i any --retain 90d --max-size 200G",
			"bin/sensor -i eth0",
			"bin/sensor -i eth0 --zeek-logs logs/ --rotate 1h --metrics :9477",
			"bin/sensor -i eth0 -i eth1 not port 22",
			"exec sensor -i eth0 --user weir --store /var/lib/weir --log-file /var/log/weir/sensor.log",
			"sensor -i any --zeek-logs /var/log/weir --rotate 1h",
			"sensor -i eth0",
			"sensor -i eth0 --retain 90d --max-size 200G --metrics 9464",
			"sensor -i eth0 --sensor upgrade",
			"sensor -i eth0 --store /data/weir --store bolt+s://neo4j@graph --password-file /etc/weir/password",
			"sensor -i eth0 --store /data/weir --store neo4j://neo4j@graph",
			"sensor -i eth0 --store neo4j://neo4j@graph",
			"sensor -i eth0 --store ~/weir",
			"sensor -i eth0 -i eth1 not port 22",
			"tcpdump -w - -c 10000 | bin/sensor -r -",
			"tcpdump -w - | sensor -r -",
		},
		needsGraph: {
			`WEIR_STORE=neo4j://neo4j@graph flowcli load lake --password-file ~/.neo4j --json`,
			`bin/flowcli cypher "MATCH (f:Flow) RETURN [f.proto, f.dport], count(*) AS cnt ORDER BY cnt DESC"`,
			`bin/flowcli load lake`,
			`flowcli --ensure-indexes`,
			`flowcli --reduce-precision 1d`,
			`flowcli cypher "MATCH (f:Flow) RETURN [f.proto, f.dport], count(*) AS cnt ORDER BY cnt DESC LIMIT 10"`,
			`flowcli cypher "MATCH (h:Host) RETURN h LIMIT 3" --format json`,
			`flowcli cypher "MATCH (h:Host)-[:SEND]->(f:Flow)-[:INTEL]->(d:DNS {query: 'example.com'}) RETURN DISTINCT h.addr"`,
			`flowcli cypher --store neo4j://neo4j@graph "MATCH (h:Host) RETURN count(h)"`,
			`flowcli cypher --write "MATCH (h:Host {addr: '10.0.0.1'}) SET h.name = 'gateway'"`,
			`flowcli cypher - < query.cypher`,
			`flowcli expire --store neo4j://neo4j@graph:7687 --older-than 90d`,
			`flowcli load --store neo4j://neo4j@graph /data/weir`,
			`flowcli load --store neo4j://neo4j@graph lake`,
			`flowcli load --store neo4j://neo4j@localhost:7687 /var/lib/weir`,
			`sensor -r x.pcap --store neo4j://neo4j@graph:7687/neo4j`,
		},
		needsOther: {
			`flowcli export --format cypher | cypher-shell -a neo4j://graph -u neo4j`,
		},
		needsRest: {
			`flowcli --reduce-precision`,
			`flowcli cypher "MATCH …"`,
			`flowcli cypher`,
			`flowcli load`,
			`flowcli expire`,
			`flowcli export`,
			`flowcli show`,
			`flowcli sql`,
			`sensor --metrics ADDR`,
			`sensor --replace`,
			`sensor -i`,
			`sensor -r --replace`,
			`sensor -r F --store D`,
			`sensor -r`,
		},
	}
	why := make(map[string]string)
	for reason, list := range lists {
		for _, c := range list {
			why[c] = reason
		}
	}
	return why
}

// commandPages returns the pages whose commands run.
func commandPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatalf("pages %q, %v", pages, err)
	}
	return append(pages, "../../README.md")
}

// ours finds commands of ours at the beginning of a line, or within a pipe or list.
var ours = regexp.MustCompile(`(?:^|[|&;] *|exec |\$\()(?:[A-Z_]+=\S* )*(?:bin/)?(?:flowcli|sensor) `)

// shownCommands returns the commands of a page, in fenced blocks and in the text.
func shownCommands(page string) (commands []string) {
	add := func(c string) {
		// The text also has filters on the attribute of that name.
		if c = strings.TrimSpace(c); ours.MatchString(c) && !strings.HasPrefix(c, "sensor = ") {
			commands = append(commands, c)
		}
	}
	span := regexp.MustCompile("`([^`]+)`")
	for p := range parts(page) {
		switch {
		case p.fenced && p.lang == "sh":
			open := ""
			for _, line := range p.lines[1 : len(p.lines)-1] {
				open += line
				if strings.HasSuffix(line, `\`) || strings.Count(open, `"`)%2 != 0 || strings.Count(withoutComment(open), "'")%2 != 0 {
					open += "\n"
					continue
				}
				add(withoutComment(open))
				open = ""
			}
			add(open)
		case !p.fenced:
			for _, m := range span.FindAllStringSubmatch(strings.Join(p.lines, "\n"), -1) {
				add(strings.ReplaceAll(strings.ReplaceAll(m[1], "\n", " "), `\|`, "|"))
			}
		}
	}
	return commands
}

// withoutComment cuts a comment off a line.
func withoutComment(line string) string {
	quote := rune(0)
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == '#' && (i == 0 || line[i-1] == ' '):
			return line[:i]
		}
	}
	return line
}

// helpExamples returns the examples of a help text. What follows two spaces outside of quotes is an
// explanation.
func helpExamples(help string) (commands []string) {
	_, rest, _ := strings.Cut(help, "\nExamples:\n")
	rest, _, _ = strings.Cut(rest, "\n\n")
	for line := range strings.Lines(rest) {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "  "), "\n")
		if strings.HasPrefix(line, " ") {
			continue // more of the explanation
		}
		quote := rune(0)
		for i, r := range line {
			switch {
			case quote != 0:
				if r == quote {
					quote = 0
				}
			case r == '"' || r == '\'':
				quote = r
			case strings.HasPrefix(line[i:], "  "):
				line = line[:i]
			}
			if i >= len(line) {
				break
			}
		}
		commands = append(commands, strings.TrimSpace(line))
	}
	return commands
}

// allCommands returns every command that the documentation and the help texts show, with where.
func allCommands(t *testing.T, sensor string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range commandPages(t) {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range shownCommands(string(page)) {
			all[c] = filepath.Base(name)
		}
	}
	helps := map[string]string{"sensor --help": helpOf(t, sensor)}
	root := newCommand(nil, nil, nil)
	for _, sub := range append([]string{""}, subcommands()...) {
		out, _, code := flowcli(t, append(strings.Fields(sub), "--help")...)
		if code != 0 {
			t.Errorf("flowcli %s --help: exit code %d", sub, code)
		}
		helps[strings.TrimSpace(root.Name()+" "+sub)+" --help"] = out
	}
	for name, help := range helps {
		for _, c := range helpExamples(help) {
			all[c] = name
		}
	}
	return all
}

// subcommands returns the names of flowcli's commands.
func subcommands() (names []string) {
	for _, c := range newCommand(nil, nil, nil).Commands() {
		names = append(names, c.Name())
	}
	return names
}

func helpOf(t *testing.T, sensor string) string {
	t.Helper()
	s := &scene{dir: t.TempDir(), env: os.Environ()}
	out, code := s.run(t, sensor+" --help")
	if code != 0 {
		t.Fatalf("sensor --help: exit code %d\n%s", code, out)
	}
	return out
}

// addInputs puts the other captures of the documentation into a scene.
func (p *scene) addInputs(t *testing.T) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"monday.pcap.gz", "day1.pcap.gz", "day2.pcap.gz", "x.pcap", "captures/a.pcap", "tuesday/b.pcap"} {
		name = filepath.Join(p.dir, name)
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		f, err := os.Create(name)
		must(err)
		spec := traffic.Spec{Packets: 500, Seed: uint64(i)}
		if strings.HasSuffix(name, ".gz") {
			z := gzip.NewWriter(f)
			_, err = traffic.Write(z, spec)
			err = errors.Join(err, z.Close())
		} else {
			_, err = traffic.Write(f, spec)
		}
		must(errors.Join(err, f.Close()))
	}
	must(os.WriteFile(filepath.Join(p.dir, "query.sql"), []byte("SELECT 1"), 0o644))
	must(os.WriteFile(filepath.Join(p.dir, "query.cypher"), []byte("RETURN 1"), 0o644))
}

// runnable returns a command with what the scene has in place of names out in the world.
func (p *scene) runnable(command, uri string) string {
	replace := []string{
		"show 10.0.0.1 tcp/80 10.0.0.2", "show 192.168.10.21 tcp/80 203.0.113.10",
		"10.0.0.1 | tcp/80 | 10.0.0.2", "192.168.10.21 | tcp/80 | 203.0.113.10",
		"fe80::1 icmp/135 ff02::1", "192.168.10.10 icmp/8 192.168.10.1",
		"show 10.0.0.1", "show 192.168.10.60", "show 2001:db8::2", "show 192.168.10.60",
		"/data/weir", "lake", "/var/lib/weir", "lake", "/var/log/weir", "logs", "~/weir", "lake",
	}
	if uri != "" {
		// The longest first: the others are the beginning of it.
		for _, graph := range []string{
			"neo4j://neo4j@graph:7687/neo4j", "neo4j://neo4j@graph:7687", "neo4j://neo4j@graph",
			"neo4j://neo4j@localhost:7687", "neo4j://neo4j@127.0.0.1:7687",
		} {
			replace = append(replace, graph, uri)
		}
		replace = append(replace, " --password-file ~/.neo4j", "")
	}
	command = strings.NewReplacer(replace...).Replace(command)
	switch {
	case strings.Contains(command, "tail") && !strings.Contains(command, "--once"):
		// It goes on until somebody interrupts it.
		command = "timeout --preserve-status -s INT 1 " + command + "; test $? -eq 130"
	case strings.Contains(command, "sensor ") && !strings.Contains(command, "--store"):
		// The sample was read with other options.
		if uri == "" {
			uri = "fresh"
		}
		command = "export WEIR_STORE=" + uri + "; " + command
	}
	return command
}

// TestPageCommands runs every command that the documentation and the help texts show,
// each in a scene of its own.
func TestPageCommands(t *testing.T) {
	first := newScene(t)
	sensor := filepath.Join(first.dir, "bin", "sensor")
	all, not := allCommands(t, sensor), notRun()
	if len(all) < 60 {
		t.Errorf("the documentation shows %d commands", len(all))
	}
	for c, reason := range not {
		if all[c] == "" {
			t.Errorf("nothing shows %q any more (%s)", c, reason)
		}
	}
	help := helpOf(t, sensor)
	for _, c := range slices.Sorted(maps.Keys(all)) {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			if not[c] != "" {
				checkFlags(t, c, help)
				return
			}
			if strings.Contains(c, "sensor -i") || strings.HasPrefix(c, "tcpdump") {
				t.Fatalf("%s shows %s, which listens to the network: list it", all[c], c)
			}
			p := newScene(t)
			p.addInputs(t)
			if out, code := p.run(t, p.runnable(c, "")); code != 0 {
				t.Errorf("%s shows\n%s\nexit code %d:\n%s", all[c], c, code, out)
			}
		})
	}
}

// TestNeo4jPageCommands runs those that ask a database.
func TestNeo4jPageCommands(t *testing.T) {
	s := neo4jtest.Shared(t)
	p := newScene(t)
	p.addInputs(t)
	all := allCommands(t, filepath.Join(p.dir, "bin", "sensor"))
	p.env = append(p.env, "WEIR_STORE="+s.URI(), "WEIR_NEO4J_PASSWORD="+s.Password(), "WEIR_SPOOL="+filepath.Join(p.dir, "spool"))
	for c, reason := range notRun() {
		if reason != needsGraph {
			continue
		}
		t.Run(c, func(t *testing.T) {
			purge(t, s)
			if out, code := p.run(t, p.runnable(c, s.URI())); code != 0 {
				t.Errorf("%s shows\n%s\nexit code %d:\n%s", all[c], c, code, out)
			}
		})
	}
}

// checkFlags checks that the flags of a command that does not run are there.
func checkFlags(t *testing.T, command, sensorHelp string) {
	t.Helper()
	at := ours.FindStringIndex(command + " ")
	text, _, _ := strings.Cut(withoutQuotes(command[min(at[1], len(command)):]), "|")
	words := strings.Fields(text)
	has := func(flag string) bool {
		return regexp.MustCompile(`(?m)^ +(-\w, )?` + regexp.QuoteMeta(flag) + `\b|^ +` + regexp.QuoteMeta(flag) + `, `).MatchString(sensorHelp)
	}
	if strings.Contains(command[:at[1]]+" ", "flowcli ") {
		root := newCommand(nil, nil, nil)
		cmd, _, err := root.Find(words)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			return
		}
		has = func(flag string) bool {
			out, _, _ := flowcli(t, append(strings.Fields(strings.TrimPrefix(cmd.CommandPath(), root.Name())), "--help")...)
			return regexp.MustCompile(`(?m)^ +(-\w, )?` + regexp.QuoteMeta(flag) + `\b|^ +` + regexp.QuoteMeta(flag) + `, `).MatchString(out)
		}
	}
	for _, w := range words {
		if name, _, _ := strings.Cut(w, "="); strings.HasPrefix(name, "-") && name != "-" && !has(name) {
			t.Errorf("%s: there is no %s", command, name)
		}
	}
}

// withoutQuotes returns a command without what is quoted in it.
func withoutQuotes(command string) string {
	return regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(command, "Q")
}

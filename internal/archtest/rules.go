// SPDX-License-Identifier: Apache-2.0

package archtest

// Rules say what the packages of a repository may do.
type Rules struct {
	// Imports lists, for each package, which of our packages it may import.
	Imports map[string][]string
	// TestSupport is what the tests of any package may import besides, and
	// besides what their package may reach.
	TestSupport []string
	// Modules lists foreign modules that only some packages may import.
	Modules map[string]Users
	// StandardOnly packages import nothing foreign.
	StandardOnly []string
	// PacketTime packages never ask for the time of day.
	PacketTime []string
}

// Users says who may import a module; Tests admits the tests of any package.
type Users struct {
	Packages []string
	Tests    bool
}

// Weir returns the rules of this repository. Imports go down only: a package
// stands below those that import it, and siblings do not know each other.
func Weir() *Rules {
	return &Rules{
		Imports: map[string][]string{
			// Nouns that all others exchange.
			"internal/flow": nil,
			// Siblings on the path of a packet.
			"capture":          {"internal/flow"},
			"flowtable":        {"internal/flow"},
			"reassembly":       {"internal/flow"},
			"dissect":          {"internal/flow"},
			"internal/zeeklog": {"internal/flow"},
			// Stores.
			"internal/filter": {"internal/flow"},
			"store":           {"internal/filter", "internal/flow"},
			"store/lake":      {"store", "internal/flow"},
			"store/lakequery": {"store", "store/lake", "internal/filter", "internal/flow"},
			"store/neo4j":     {"store", "store/lake", "internal/filter", "internal/flow"},
			"store/storetest": {"store", "store/lake", "internal/filter", "internal/flow"},
			// Leaves.
			"internal/command":   {"internal/term"},
			"internal/config":    nil,
			"internal/confine":   nil,
			"internal/logging":   nil,
			"internal/systemd":   nil,
			"internal/telemetry": nil,
			"internal/term":      nil,
			// What puts them together.
			"internal/sensor": {
				"capture", "flowtable", "reassembly", "dissect", "internal/zeeklog", "store", "store/lake", "store/neo4j",
				"internal/flow", "internal/telemetry",
			},
			"internal/importer": {"store", "store/lake", "internal/flow", "internal/telemetry"},
			"web":               {"store", "internal/filter", "internal/flow", "internal/telemetry"},
			// Commands: flags, configuration and wiring. The sensor does not
			// carry a query engine.
			"cmd/sensor": {
				"internal/sensor", "capture", "flowtable", "reassembly", "dissect", "internal/zeeklog", "store",
				"store/lake", "store/neo4j", "internal/flow", "internal/command", "internal/config", "internal/confine", "internal/logging",
				"internal/systemd", "internal/telemetry", "internal/term",
			},
			"cmd/flowcli": {
				"web", "internal/importer", "store", "store/lake", "store/lakequery", "store/neo4j", "internal/filter",
				"internal/flow", "internal/command", "internal/config", "internal/telemetry", "internal/term",
			},
			// Test support.
			"store/lake/laketest":          {"store/lake", "internal/flow"},
			"store/lake/laketest/gen":      {"store/lake", "store/lake/laketest"},
			"internal/command/commandtest": nil,
			"internal/archtest":            nil,
			"internal/traffic":             nil,
			"internal/traffic/gen":         {"internal/traffic"},
			"internal/bench":               {"internal/traffic"},
			"internal/testrun":             {"internal/neo4jtest"},
			"internal/nettest":             nil,
			"internal/neo4jtest":           nil,
		},
		// What was stored is looked at with lakequery.
		TestSupport: []string{
			"internal/command/commandtest", "internal/traffic", "internal/nettest", "internal/neo4jtest", "store/storetest",
			"store/lakequery", "store/lake/laketest", "store/lake/laketest/gen",
		},
		Modules: map[string]Users{
			"github.com/google/gopacket":                {Packages: []string{"capture"}},
			"github.com/prometheus":                     {Packages: []string{"internal/telemetry"}, Tests: true},
			"github.com/duckdb":                         {Packages: []string{"store/lakequery"}, Tests: true},
			"github.com/parquet-go/parquet-go":          {Packages: []string{"store/lake"}},
			"github.com/neo4j/neo4j-go-driver/v5":       {Packages: []string{"store/neo4j"}, Tests: true},
			"github.com/miekg/dns":                      {Packages: []string{"dissect"}, Tests: true},
			"github.com/spf13/cobra":                    {Packages: []string{"internal/command", "cmd/sensor", "cmd/flowcli"}, Tests: true},
			"github.com/BurntSushi/toml":                {Packages: []string{"internal/config"}},
			"github.com/coreos/go-systemd/v22":          {Packages: []string{"internal/systemd"}},
			"github.com/elastic/go-seccomp-bpf":         {Packages: []string{"internal/confine"}},
			"github.com/landlock-lsm/go-landlock":       {Packages: []string{"internal/confine"}},
			"kernel.org/pub/linux/libs/security/libcap": {Packages: []string{"internal/confine"}},
			"github.com/google/go-cmp":                  {Packages: []string{"store/storetest"}, Tests: true},
			"github.com/rogpeppe/go-internal":           {Packages: []string{"internal/command/commandtest"}, Tests: true},
		},
		StandardOnly: []string{
			"internal/flow", "internal/traffic", "internal/traffic/gen", "internal/bench", "internal/testrun", "internal/archtest",
			"flowtable", "reassembly", "internal/zeeklog",
		},
		PacketTime: []string{"internal/flow", "flowtable", "reassembly", "dissect"},
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir/internal/command"
	"weir/internal/config"
	"weir/store/lakequery"
)

// options are the flags of every command.
type options struct {
	// Of all commands.
	store   string
	config  string
	memory  config.Size
	threads int
	timeout time.Duration
	tz      string
	zone    *time.Location

	passwordFile string

	list     listOptions
	out      outputOptions
	picture  pictureOptions
	maintain maintainOptions
	json     bool // of commands whose answer is no list
	spool    string
	tail     tailOptions
	compact  bool // all
	quiet    bool

	stdin          io.Reader
	stdout, stderr io.Writer
}

const longHelp = `flowcli answers questions about the connections that a sensor has stored, in a
lake (a directory) or in a Neo4j database. A flow is all connections between two
hosts that have the same protocol and server port (or ICMP type).

Without a subcommand it lists flows; -c counts them, --top ranks what they have
in common, --mode lists pairs of hosts, --flow-daily shows the hours of the day.
Filters select flows; several are combined with AND. --host, --src, --dst, --net,
--proto, --port and --sport are short for filters: several values of one are
alternatives. These flags, -f, -n, -t, -C, -S, -o and --fields take several values
in a row; a value that starts with "-" is written --flag=VALUE.

Answers are aligned text, with -s columns without padding, with --json, --ndjson
or --csv for other programs; --output writes them to a file. Times of text are in
the zone of --tz, others in UTC.`

const examples = `  flowcli                                       every flow
  flowcli -c                                    clients, servers and flows
  flowcli -f 'dport = 443' -l 20 -o -scbytes    the flows with most bytes to clients
  flowcli -n 'src.addr = 10.0.0.0/8' -f 'proto = udp'
  flowcli --top src.addr dport -l 5             most frequent pairs
  flowcli --top dport --sum csbytes scbytes     ports by bytes
  flowcli --top dport --collect dst.addr        and who serves them
  flowcli --host 10.0.0.1 --tcp --port 80 443   what it did on the web, either way
  flowcli -a '2024-03-01 08:00' -b '2024-03-01 10:00' -T   active then, and when else
  flowcli -m flow_map -o -csbytes -l 10         pairs of hosts with what they do
  flowcli --flow-daily --proto udp              services over the day
  flowcli --fields                              attributes that there are
  flowcli --fields src.addr meta.dns.query -f meta.dns
  flowcli -j --proto icmp                       as JSON, with times and intel
  flowcli --top dport --output ports.csv        as CSV, to a file
  flowcli --plot                                flows over the hours of the day, on average
  flowcli --heatmap --output week.svg           hours by weekdays, as a picture
  flowcli --explain --net 10.0.0.0/8            the SQL that would run
  flowcli sql "SELECT query, count(*) FROM dns GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
  flowcli cypher --store neo4j://neo4j@graph "MATCH (h:Host) RETURN count(h)"
  flowcli tail -f 'dport = 443'                 connections as they end
  flowcli show 10.0.0.1 tcp/80 10.0.0.2         all about a flow, or about a host
  flowcli export --output flows.graphml         the graph, for other programs
  flowcli status                                what the store holds
  flowcli check                                 whether its files are what was written
  flowcli compact                               merge small parts of the store
  flowcli expire --older-than 90d               drop what is old
  flowcli load --store neo4j://neo4j@graph lake   send a lake to Neo4j`

const exitCodes = `Exit codes:
  0    done
  1    failed
  2    wrong usage (flag, filter, SQL, Cypher)
  3    done, but records are lost or were left out (check --repair, compact)
  130  interrupted
`

func newCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	o := &options{stdin: stdin, stdout: stdout, stderr: stderr, memory: lakequery.DefaultMemory, list: listOptions{mode: defaultMode}}
	cmd := &cobra.Command{
		Use:               "flowcli [flags]",
		Short:             "Explore stored flows",
		Long:              longHelp,
		Example:           examples,
		Version:           buildVersion(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              noArgs,
		PersistentPreRunE: o.complete,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.runList(cmd.Context()) },
	}
	p := cmd.PersistentFlags()
	p.SortFlags = false
	p.StringVar(&o.store, "store", "", "`directory` of a lake, or URI of a Neo4j database as neo4j://user@host:7687 (default $WEIR_STORE, else /var/lib/weir for root, else ~/.local/share/weir)")
	p.StringVar(&o.config, "config", "", "configuration `file` (default $WEIR_CONFIG, /etc/weir/weir.toml, ~/.config/weir/weir.toml)")
	p.Var(&o.memory, "memory", "memory that a query of a lake may use; larger ones spill into temporary files")
	p.IntVar(&o.threads, "threads", 0, "`number` of threads that run a query of a lake (default: one a processor)")
	p.DurationVar(&o.timeout, "timeout", 0, "give up after this long (default: never; Neo4j ends a query after 10m)")
	p.StringVar(&o.tz, "tz", "Local", "time `zone` of times in filters and lists, as Europe/Paris or UTC")
	p.StringVar(&o.passwordFile, "password-file", "", "`file` that holds the password of Neo4j (default $WEIR_NEO4J_PASSWORD)")
	o.list.addFlags(cmd.Flags())
	o.out.addFlags(cmd.Flags())
	o.picture.addFlags(cmd.Flags())
	o.maintain.addFlags(cmd.Flags())
	complete := map[string]cobra.CompletionFunc{
		"store": command.Directories, "config": command.Files("toml"), "password-file": command.Files(),
		"reduce-precision": command.Words("2h", "6h", "1d"), "mode": command.Words(modes()...), "step": command.Words("1h", "6h", "1d"),
	}
	maps.Copy(complete, o.out.completions())
	maps.Copy(complete, o.completeSelection())
	maps.Copy(complete, completeAttributes())
	command.CompleteFlags(cmd, complete)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.FlagError(err) })
	cmd.SetVersionTemplate("flowcli {{.Version}}\n")
	cmd.SetUsageTemplate(cmd.UsageTemplate() + "\n" + exitCodes)
	cmd.AddCommand(o.newSQL(), o.newCypher(), o.newStatus(), o.newTail(), o.newLoad(), o.newCheck(), o.newCompact(), o.newExpire(), o.newExport(), o.newShow(),
		command.NewMan(manual()))
	return cmd
}

// manual returns what the manual pages have besides the help.
func manual() command.Manual {
	return command.Manual{
		ExitCodes: exitCodes,
		Environment: [][2]string{
			{"WEIR_STORE", "the store where --store is not given; likewise WEIR_TZ and others for every flag that does not make a single question"},
			{"WEIR_CONFIG", "the configuration file"},
			{config.PasswordVariable, "the password of Neo4j"},
			{"TMPDIR", "where export keeps edges until all hosts are known"},
		},
		Files: [][2]string{
			{"/etc/weir/weir.toml, ~/.config/weir/weir.toml", "configuration: a key for each flag, at the top or in the table flowcli"},
			{"/var/lib/weir, ~/.local/share/weir", "the lake that is asked by default, as root and as another user"},
			{"/var/lib/weir-spool, ~/.local/share/weir-spool", "what waits to be sent to a Neo4j database"},
		},
	}
}

// noArgs refuses arguments that belong to no flag.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unexpected argument %q: filters stand behind -f or -n, commands are show, export, sql, cypher, status, tail, load, check, compact and expire", args[0])
	if cmd.HasParent() {
		err = fmt.Errorf("unexpected argument %q", args[0])
	}
	return &command.UsageError{Err: err}
}

// perRun lists the flags that make one question; files and environment do not
// set them.
func perRun() []string {
	return []string{
		"config", "help", "version", "init", "purgedb", "ensure-indexes", "reduce-precision", "count", "skip", "top",
		"collect", "sum", "least", "node-filters", "flow-filters", "last", "once", "wait", "repair", "before", "older-than",
		"max-size", "dry-run", "yes", "all", "quiet", "write",
		"host", "net", "src", "dst", "proto", "tcp", "udp", "port", "dport", "sport", "after", "precision", "mode", "fields",
		"timeline", "flow-daily", "plot", "heatmap", "histogram", "step", "explain", "format", "json", "ndjson", "csv", "output", "dir",
	}
}

// complete fills in what environment and configuration file say, and checks
// what can be checked without touching the store.
func (o *options) complete(cmd *cobra.Command, _ []string) error {
	if command.Completing(cmd) {
		return nil
	}
	o.out.plain = cmd.Flags().Changed("separator")
	return o.configure(cmd)
}

// configure is complete for a command that runs, or that has to know the store to
// complete a value.
func (o *options) configure(cmd *cobra.Command) error {
	// The file may hold keys for the flags of any command.
	flags := pflag.NewFlagSet("flowcli", pflag.ContinueOnError)
	flags.AddFlagSet(cmd.Flags())
	flags.AddFlagSet(cmd.Root().PersistentFlags())
	flags.AddFlagSet(cmd.Root().Flags())
	for _, sub := range cmd.Root().Commands() {
		flags.AddFlagSet(sub.Flags())
	}
	if err := config.Apply(flags, "flowcli", o.config, perRun()...); err != nil {
		return &command.UsageError{Err: err}
	}
	if err := o.findStore(); err != nil {
		return err
	}
	if o.timeout < 0 {
		return &command.UsageError{Err: fmt.Errorf("--timeout %v is negative", o.timeout)}
	}
	var err error
	if o.zone, err = time.LoadLocation(o.tz); err != nil {
		return &command.UsageError{Err: fmt.Errorf("--tz: %w", err)}
	}
	if err := o.limits().Validate(); err != nil {
		return &command.UsageError{Err: err}
	}
	return nil
}

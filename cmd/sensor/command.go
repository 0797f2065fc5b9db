// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir/flowtable"
	"weir/internal/command"
	"weir/internal/config"
	"weir/internal/confine"
	"weir/internal/sensor"
	"weir/store/neo4j"
)

// options are the command's flags.
type options struct {
	read       []string
	interfaces []string
	noPromisc  bool
	buffer     kernelBuffer
	snapLen    int
	user       string
	sandbox    confine.Policy
	metrics    string
	active     time.Duration
	publish    time.Duration
	rotate     time.Duration
	retain     config.Duration
	maxSize    config.Size
	noCompact  bool
	logFile    string

	filter string
	stores []string // as they were named
	// dir is the store that is a directory, uri the one that is a database; ""
	// for none. spoolDir is where records wait for the database.
	dir, uri, spoolDir string
	server             neo4j.Endpoint
	passwordFile       string
	spool              string // as it was named
	spoolSize          config.Size

	zeekLogs  string
	zeekJSON  bool
	ignore    bool // -C, Zeek's name for what is the default here
	checksums bool
	workers   int
	memory    config.Size
	timeouts  flowtable.Timeouts
	sensor    string
	config    string
	init      bool
	yes       bool
	replace   bool
	quiet     bool
	verbose   bool
	profile   string

	// given are the flags on the command line, words what stands behind them,
	// flags holds the values of all.
	given map[string]bool
	words []string
	flags *pflag.FlagSet
	// configFile is the file that was read, "" if there is none.
	configFile string
}

const longHelp = `sensor reads packets from captures or network interfaces, tracks connections,
extracts what DNS, HTTP and TLS say, and writes connections and metadata to a
store.

Captures are pcap or pcapng, plain, gzip or zstd. A directory stands for all
captures in it, "-" for standard input. Several captures are read as one, merged
by time. The words after the flags are a filter as tcpdump knows it.

A store is a directory, a Neo4j database, or one of each. What goes to a database
waits in a spool, a directory too, until the server has it: an outage loses nothing
while the spool has room. What a run leaves there, the next one sends.

A capture that is in the store already is skipped. Nothing of files is committed
before the end: an interrupted run leaves nothing behind.

Interfaces are read until SIGINT or SIGTERM; then what is open is stored, too.
What comes from interfaces or through a pipe is in the store after some seconds
(--publish), long connections with a record a minute (--active-timeout). Started
by root, sensor becomes another user once all is open. SIGHUP opens log files
anew and takes filter, verbose, retain and max-size from the configuration.`

const examples = `  sensor -r capture.pcap                      read a capture into the default store
  sensor -r day1.pcap.gz -r day2.pcap.gz      several captures, one stream
  sensor -r captures/ --store /data/weir      every capture of a directory
  sensor -r x.pcap tcp port 80                only what a BPF expression selects
  sensor -r x.pcap --store neo4j://neo4j@graph:7687/neo4j
                                              into Neo4j; the password is in $WEIR_NEO4J_PASSWORD
  sensor -i eth0 --store /data/weir --store bolt+s://neo4j@graph --password-file /etc/weir/password
                                              both at once
  sensor -r x.pcap --store none --zeek-logs .
                                              Zeek's logs, and no store
  tcpdump -w - | sensor -r -                  from a pipe
  sensor -i eth0                              an interface, until Ctrl-C
  sensor -i eth0 -i eth1 not port 22          two of them, without ssh
  sensor -i any --zeek-logs /var/log/weir --rotate 1h
                                              all interfaces; Zeek's logs, too, an hour each
  sensor -i eth0 --retain 90d --max-size 200G --metrics 9464
                                              as a service`

const exitCodes = `Exit codes:
  0    done; of an interface: all that was seen until the signal is stored
  1    failed; of files nothing was committed, or it waits in the spool of a
       database and the message says so. Of an interface: it is gone, or records
       were lost; what was stored before stays
  2    wrong usage (flag, filter expression, unknown interface)
  3    done, but part of the input was skipped (truncated capture, unknown link type)
  130  interrupted; of files nothing was committed unless the message says so, what
       came through a pipe is stored
`

func newCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	o := new(options)
	cmd := &cobra.Command{
		Use:           "sensor -r CAPTURE | -i INTERFACE [flags] [filter expression]",
		Short:         "Read packets, store who talked to whom, about what",
		Long:          longHelp,
		Example:       examples,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		// The words of a filter are no files.
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd.Flags(), args); err != nil {
				return &command.UsageError{Err: err}
			}
			if len(o.interfaces) > 0 {
				return listen(cmd.Context(), o, stdout, stderr)
			}
			return readCaptures(cmd.Context(), o, stdin, stdout, stderr)
		},
	}
	o.addFlags(cmd.Flags())
	command.CompleteFlags(cmd, map[string]cobra.CompletionFunc{
		"read": command.Files(), "store": command.Directories, "zeek-logs": command.Directories,
		"password-file": command.Files(), "spool": command.Directories, "config": command.Files("toml"), "cpu-profile": command.Files(), "log-file": command.Files(),
		"interface": completeInterfaces, "user": command.Users, "sandbox": command.Words("on", "strict", "off"),
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd.HasParent() {
			err = fmt.Errorf("%w for the command %s; as a word of a filter it goes behind --", err, cmd.Name())
		}
		return command.FlagError(err)
	})
	cmd.SetVersionTemplate("sensor {{.Version}}\n")
	cmd.SetUsageTemplate(cmd.UsageTemplate() + "\n" + exitCodes)
	cmd.AddCommand(command.NewMan(manual()))
	return cmd
}

// manual returns what the manual page has besides the help.
func manual() command.Manual {
	return command.Manual{
		ExitCodes: exitCodes,
		Environment: [][2]string{
			{"WEIR_STORE", "the store where --store is not given; likewise WEIR_METRICS and others for every flag that does not make a single run"},
			{"WEIR_CONFIG", "the configuration file"},
			{config.PasswordVariable, "the password of Neo4j"},
		},
		Files: [][2]string{
			{"/etc/weir/weir.toml, ~/.config/weir/weir.toml", "configuration: a key for each flag, at the top or in the table sensor"},
			{"/var/lib/weir, ~/.local/share/weir", "the lake that is written by default, as root and as another user"},
			{"/var/lib/weir-spool, ~/.local/share/weir-spool", "what waits to be sent to a Neo4j database"},
		},
	}
}

// complete fills in what environment and configuration file say, and checks what
// can be checked without touching a file.
func (o *options) complete(flags *pflag.FlagSet, args []string) error {
	given := map[string]bool{}
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	o.given, o.words, o.flags = given, args, flags
	var err error
	if o.configFile, err = config.Find(o.config); err != nil {
		return err
	}
	if err := config.Apply(flags, "sensor", o.config, "config", "help", "version", "init", "yes", "replace", "cpu-profile"); err != nil {
		return err
	}
	// What the command line says wins over environment and file.
	switch {
	case given["no-checksums"] && !given["checksums"]:
		o.checksums = false
	case given["checksums"] && !given["no-checksums"]:
		o.ignore = false
	}
	switch {
	case given["read"] && !given["interface"]:
		o.interfaces = nil
	case given["interface"] && !given["read"]:
		o.read = nil
	}
	if len(args) > 0 {
		if given["filter"] {
			return fmt.Errorf("there is a filter expression behind the flags (%s) and one in --filter", strings.Join(args, " "))
		}
		o.filter = strings.Join(args, " ")
	}
	o.filter = strings.Join(strings.Fields(o.filter), " ")
	switch {
	case len(o.read) == 0 && len(o.interfaces) == 0:
		return errors.New("nothing to read: name a capture with -r, or an interface with -i")
	case o.checksums && o.ignore:
		return errors.New("--checksums and --no-checksums exclude each other")
	case given["zeek-json"] && o.zeekJSON && o.zeekLogs == "":
		return errors.New("--zeek-json needs --zeek-logs")
	case o.memory < sensor.MinMemory:
		return fmt.Errorf("--memory %s is below the least, 128M", o.memory.String())
	}
	for _, name := range []string{"tcp", "interactive", "attempt", "close", "udp", "icmp", "other"} {
		if f := flags.Lookup(name + "-timeout"); strings.HasPrefix(f.Value.String(), "-") || f.Value.String() == "0s" {
			return fmt.Errorf("--%s %s is not a time to wait", f.Name, f.Value)
		}
	}
	if err := o.chooseStores(given); err != nil {
		return err
	}
	if err := o.checkLive(given); err != nil {
		return err
	}
	return o.pipeline().Validate()
}

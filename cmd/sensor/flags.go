// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir/capture"
	"weir/flowtable"
	"weir/internal/config"
	"weir/internal/sensor"
)

// defaultActive is after how long an open connection yields an interim record.
const defaultActive = time.Minute

// defaultSpoolSize is how much may wait for a database.
const defaultSpoolSize = 10e9

// kernelBuffer is a size that, as tcpdump's -B, is in KiB where it has no unit.
type kernelBuffer struct{ config.Size }

// Set parses text.
func (b *kernelBuffer) Set(text string) error {
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		text += "KiB"
	}
	return b.Size.Set(text)
}

// addFlags adds the flags of the command, in the order of the help text: input,
// what is made of it, output, and the process itself.
func (o *options) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringArrayVarP(&o.read, "read", "r", nil, "capture `file` or directory to read, - for standard input; may be repeated")
	f.StringArrayVarP(&o.interfaces, "interface", "i", nil, "network `interface` to listen on, any for all; may be repeated")
	f.StringVarP(&o.filter, "filter", "f", "", "take only packets that match this BPF `expression`")
	f.BoolVarP(&o.noPromisc, "no-promiscuous", "p", false, "do not put interfaces into promiscuous mode")
	f.VarP(&o.buffer, "buffer-size", "B", "the kernel's buffer for each interface; a plain number is KiB, as in tcpdump (default 32MiB, less where all together were more than an eighth of --memory)")
	f.IntVarP(&o.snapLen, "snapshot-length", "s", capture.DefaultSnapLen, "`bytes` of each packet that are captured (interfaces)")
	f.BoolVar(&o.checksums, "checksums", false, "verify checksums, and ignore packets whose checksum is wrong")
	f.BoolVarP(&o.ignore, "no-checksums", "C", false, "do not verify checksums (the default; for those who are used to Zeek)")
	o.addTableFlags(f)
	o.addStoreFlags(f)
	f.StringVar(&o.user, "user", "", "`user` to become once all is open (default: nobody if root; root stays)")
	f.Var(&o.sandbox, "sandbox", "seccomp and Landlock: on (what the kernel has), strict (all or fail) or off")
	f.StringVar(&o.metrics, "metrics", "", "serve /metrics for Prometheus and /healthz at this `address`; without a host, on loopback only")
	f.StringVar(&o.logFile, "log-file", "", "append messages to this `file` instead of standard error; SIGHUP opens it anew")
	f.StringVar(&o.config, "config", "", "configuration `file` (default $WEIR_CONFIG, /etc/weir/weir.toml, ~/.config/weir/weir.toml)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no progress and no summary")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log more")
	f.StringVar(&o.profile, "cpu-profile", "", "write a CPU profile to this `file`")
	f.Lookup("cpu-profile").Hidden = true
}

// addTableFlags adds the flags of the connection table.
func (o *options) addTableFlags(f *pflag.FlagSet) {
	f.IntVar(&o.workers, "workers", 0, "`number` of workers (default: one a processor)")
	o.memory = sensor.DefaultMemory
	f.Var(&o.memory, "memory", "memory to stay within; beyond it, connections end early")
	d := flowtable.Timeouts{}.WithDefaults()
	f.DurationVar(&o.timeouts.TCP, "tcp-timeout", d.TCP, "end a TCP connection idle for this long")
	f.DurationVar(&o.timeouts.Interactive, "interactive-timeout", d.Interactive, "the same on ports 21, 22, 23 and 513")
	f.DurationVar(&o.timeouts.Attempt, "attempt-timeout", d.Attempt, "end a TCP connection that nobody answers")
	f.DurationVar(&o.timeouts.Close, "close-timeout", d.Close, "wait this long for stragglers of a closed TCP connection")
	f.DurationVar(&o.timeouts.UDP, "udp-timeout", d.UDP, "end a UDP connection idle for this long")
	f.DurationVar(&o.timeouts.ICMP, "icmp-timeout", d.ICMP, "end an ICMP connection idle for this long")
	f.DurationVar(&o.timeouts.Other, "other-timeout", d.Other, "end a connection of another protocol idle for this long")
	f.DurationVar(&o.active, "active-timeout", defaultActive, "an open connection yields a record so often; 0 for one record at its end (interfaces and pipes)")
}

// addStoreFlags adds the flags of what is written.
func (o *options) addStoreFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.stores, "store", nil, "`store` to write to: a directory, or a Neo4j database as neo4j://user@host:7687/name, or none; may be repeated for one of each (default $WEIR_STORE, else /var/lib/weir for root, else ~/.local/share/weir)")
	f.StringVar(&o.passwordFile, "password-file", "", "`file` with the password of the database's user (default: it is in $WEIR_NEO4J_PASSWORD)")
	f.StringVar(&o.spool, "spool", "", "`directory` in which records wait for the database (default: one for each database below /var/lib/weir-spool for root, else ~/.local/share/weir-spool)")
	o.spoolSize = defaultSpoolSize
	f.Var(&o.spoolSize, "spool-size", "of interfaces and pipes, drop the oldest records that wait for the database where they take more than this")
	f.StringVar(&o.sensor, "sensor", "", "`name` of this sensor in the store")
	f.BoolVar(&o.init, "init", false, "empty the store first; a database only after asking, at a terminal")
	f.BoolVarP(&o.yes, "yes", "y", false, "with --init: do not ask")
	f.BoolVar(&o.replace, "replace", false, "replace what an earlier run stored of the same captures (directories)")
	f.DurationVar(&o.publish, "publish", sensor.DefaultPublishEvery, "records become visible so often, or after 100,000 connections (interfaces and pipes)")
	f.Var(&o.retain, "retain", "remove what is older than this from the store, as 90d; 0 keeps all")
	f.Var(&o.maxSize, "max-size", "remove the oldest days where the store is larger than this; 0 keeps all")
	f.BoolVar(&o.noCompact, "no-compact", false, "do not merge small parts of the store in the background")
	f.StringVar(&o.zeekLogs, "zeek-logs", "", "also write Zeek's conn, dns, http and ssl logs into this `directory`")
	f.BoolVar(&o.zeekJSON, "zeek-json", false, "write them as JSON lines instead of tab-separated values")
	f.DurationVar(&o.rotate, "rotate", 0, "give these logs a name of their own so often, as Zeek does; 0 is never (interfaces)")
}

// pipeline returns the configuration of the pipeline.
func (o *options) pipeline() sensor.Config {
	return sensor.Config{Workers: o.workers, Memory: int64(o.memory), Timeouts: o.timeouts}
}

// fingerprint is the canonical text of every option that changes what a capture
// gives. A store refuses to hold two results of one capture.
func (o *options) fingerprint() string {
	t := o.timeouts.WithDefaults()
	d := flowtable.Timeouts{}.WithDefaults()
	parts := []string{fmt.Sprintf("sensor=%q", o.sensor)}
	if o.filter != "" {
		parts = append(parts, fmt.Sprintf("filter=%q", o.filter))
	}
	if o.checksums {
		parts = append(parts, "checksums")
	}
	for _, x := range []struct {
		name     string
		got, def time.Duration
	}{
		{"tcp", t.TCP, d.TCP},
		{"interactive", t.Interactive, d.Interactive},
		{"attempt", t.Attempt, d.Attempt},
		{"close", t.Close, d.Close},
		{"udp", t.UDP, d.UDP},
		{"icmp", t.ICMP, d.ICMP},
		{"other", t.Other, d.Other},
	} {
		if x.got != x.def {
			parts = append(parts, fmt.Sprintf("%s-timeout=%v", x.name, x.got))
		}
	}
	return strings.Join(parts, "; ")
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir/capture"
	"weir/flowtable"
	"weir/internal/config"
	"weir/internal/sensor"
	"weir/internal/telemetry"
)

// defaultActive is after how long an open connection yields an interim record.
const defaultActive = time.Minute

// kernelBuffer is a size that, as tcpdump's -B, is in KiB where it has no unit.
type kernelBuffer struct{ config.Size }

// Set parses text.
func (b *kernelBuffer) Set(text string) error {
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		text += "KiB"
	}
	return b.Size.Set(text)
}

// addLiveFlags adds the flags of inputs that go on for long.
func (o *options) addLiveFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.noPromisc, "no-promiscuous", "p", false, "do not put interfaces into promiscuous mode")
	f.VarP(&o.buffer, "buffer-size", "B", "the kernel's buffer for each interface; a plain number is KiB, as in tcpdump (default 32MiB, less where all together were more than an eighth of --memory)")
	f.IntVarP(&o.snapLen, "snapshot-length", "s", capture.DefaultSnapLen, "`bytes` of each packet that are captured")
	f.DurationVar(&o.active, "active-timeout", defaultActive, "an open connection yields a record so often; 0 for one record at its end (interfaces and standard input)")
	f.StringVar(&o.user, "user", "", "`user` to become once all is open (default: nobody if root; root stays)")
	f.Var(&o.sandbox, "sandbox", "seccomp and Landlock: on (what the kernel has), strict (all or fail) or off")
	f.StringVar(&o.metrics, "metrics", "", "serve /metrics for Prometheus and /healthz at this `address`; without a host, on loopback only")
	f.DurationVar(&o.rotate, "rotate", 0, "give the logs of --zeek-logs a name of their own so often, as Zeek does; 0 is never")
	f.Var(&o.retain, "retain", "remove what is older than this from the store, as 90d; 0 keeps all")
	f.Var(&o.maxSize, "max-size", "remove the oldest days where the store is larger than this; 0 keeps all")
	f.BoolVar(&o.noCompact, "no-compact", false, "do not merge small parts of the store in the background")
	f.StringVar(&o.logFile, "log-file", "", "append messages to this `file` instead of standard error; SIGHUP opens it anew")
	f.DurationVar(&o.publish, "publish", sensor.DefaultPublishEvery, "records become visible so often, or after 100,000 connections (interfaces and standard input)")
}

// liveOnly lists the flags that need an interface.
func liveOnly() []string {
	return []string{
		"no-promiscuous", "buffer-size", "snapshot-length", "user", "sandbox", "metrics", "rotate", "retain", "max-size",
		"no-compact", "log-file",
	}
}

// checkLive checks the flags that addLiveFlags has added; given are those on
// the command line.
func (o *options) checkLive(given map[string]bool) error {
	live := len(o.interfaces) > 0
	switch {
	case live && len(o.read) > 0:
		return errors.New("-i and -r exclude each other")
	case live && (o.init || o.replace):
		return errors.New("--init and --replace are for captures")
	case o.active != 0 && o.active < flowtable.MinActive:
		return fmt.Errorf("--active-timeout %v is below the least, %v", o.active, flowtable.MinActive)
	case live && o.rotate != 0 && o.zeekLogs == "":
		return errors.New("--rotate needs --zeek-logs")
	case o.rotate != 0 && o.rotate < time.Second:
		return fmt.Errorf("--rotate %v is below the least, 1s", o.rotate)
	case o.publish < 100*time.Millisecond:
		return fmt.Errorf("--publish %v is below the least, 100ms", o.publish)
	}
	if live {
		if o.metrics != "" {
			if err := telemetry.CheckAddr(o.metrics); err != nil {
				return fmt.Errorf("--metrics: %w", err)
			}
		}
		c := o.live()
		return c.Validate()
	}
	for _, name := range liveOnly() {
		if given[name] {
			return fmt.Errorf("--%s needs an interface (-i)", name)
		}
	}
	return nil
}

// live returns the configuration of the capture.
func (o *options) live() capture.LiveConfig {
	return capture.LiveConfig{
		Interfaces: o.interfaces, Filter: o.filter, Promiscuous: !o.noPromisc, SnapLen: o.snapLen,
		KernelBuffer: o.kernelBuffer(), Checksums: o.checksums,
	}
}

// The kernel's buffers count as memory of the process, since it maps them: unless
// somebody wants them otherwise, together they take bufferShare of the memory.
const (
	bufferShare = 8
	leastBuffer = 1 << 20
)

// kernelBuffer returns the size of the kernel's buffer for each interface.
func (o *options) kernelBuffer() int {
	if o.buffer.Size != 0 || len(o.interfaces) == 0 {
		return int(o.buffer.Size)
	}
	each := int64(o.memory) / bufferShare / int64(len(o.interfaces))
	return int(min(capture.DefaultKernelBuffer, max(leastBuffer, each)))
}

// completeInterfaces completes the names of interfaces.
func completeInterfaces(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	known, err := capture.Interfaces()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, i := range known {
		if strings.HasPrefix(i.Name, prefix) {
			out = append(out, cobra.CompletionWithDesc(i.Name, i.Description))
		}
	}
	if strings.HasPrefix(capture.AnyInterface, prefix) && !slices.ContainsFunc(known, func(i capture.Interface) bool {
		return i.Name == capture.AnyInterface
	}) {
		out = append(out, capture.AnyInterface)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

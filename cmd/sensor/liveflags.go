// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/capture"
	"weir/flowtable"
	"weir/internal/telemetry"
)

// liveOnly lists the flags that need an interface.
func liveOnly() []string {
	return []string{
		"no-promiscuous", "buffer-size", "snapshot-length", "user", "sandbox", "metrics", "rotate", "retain", "max-size",
		"no-compact", "log-file",
	}
}

// checkLive checks the flags for inputs that go on for long; given are those on
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
		KernelBuffer: o.kernelBuffer(), Checksums: o.checksums, UDPTimeout: o.timeouts.UDP,
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

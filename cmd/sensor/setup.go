// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/pprof"

	"weir/capture"
	"weir/internal/command"
)

// level returns the least level of the messages that are shown.
func (o *options) level(usual slog.Level) slog.Level {
	if o.verbose {
		return slog.LevelDebug
	}
	return usual
}

// handler returns a log handler for people and service managers, who know what
// time it is.
func handler(w io.Writer, level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
}

// programSize is about what the program's own pages take of RSS.
const programSize = 12 << 20

// tune sets the garbage collector up for a run.
func (o *options) tune() {
	if os.Getenv("GOGC") == "" {
		// Little garbage is made, and the memory limit bounds what is left of it.
		debug.SetGCPercent(200)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		// The runtime counts memory that was never touched, which RSS does not:
		// a little above the cap it keeps the cap without collecting all the time.
		// What it does not count is the program itself.
		debug.SetMemoryLimit(int64(o.memory)/20*23 - programSize)
	}
}

// inputError tells wrong usage from what else may be wrong with an input.
func inputError(err error) error {
	_, badFilter := errors.AsType[*capture.FilterError](err)
	_, badUse := errors.AsType[*capture.UsageError](err)
	if badFilter || badUse {
		return &command.UsageError{Err: err}
	}
	return err
}

// profile writes a CPU profile until stop is called.
func profile(name string) (stop func(), err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("start profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

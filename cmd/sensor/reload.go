// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir/internal/systemd"
)

// reloadable lists the flags that a reload of the configuration changes; the
// others take a restart.
func reloadable() []string { return []string{"filter", "verbose", "retain", "max-size"} }

// reloads answers SIGHUP: logs that somebody has renamed are begun anew, and the
// configuration is read again.
func (l *listening) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.hup:
			l.reload()
		}
	}
}

// reload does what SIGHUP asks for. What cannot be done is logged: the capture
// goes on as it was.
func (l *listening) reload() {
	l.telling.Lock()
	defer l.telling.Unlock()
	l.log.Info("reloading")
	if !l.over {
		l.notify(systemd.Reloading())
		defer l.ready()
	}
	if l.logFile != nil {
		if err := l.logFile.Reopen(); err != nil {
			l.log.Error("reopen the log file", slog.Any("err", err))
		}
	}
	if l.logs != nil {
		l.noteLogs(l.logs.Reopen(time.Now()))
	}
	fresh, err := l.o.again()
	if err != nil {
		l.log.Error("the configuration is wrong, the one in force stays", slog.Any("err", err))
		return
	}
	if fresh.filter != l.o.filter {
		if err := l.src.SetFilter(fresh.filter); err != nil {
			l.log.Error("the filter is wrong, the one in force stays", slog.Any("err", err))
			fresh.filter = l.o.filter
		}
	}
	if ignored := l.o.changed(fresh); len(ignored) > 0 {
		l.log.Warn("changes that take a restart", slog.String("keys", strings.Join(ignored, ",")))
	}
	l.level.Set(fresh.level(slog.LevelInfo))
	l.mu.Lock()
	l.o.filter, l.o.retain, l.o.maxSize, l.o.verbose = fresh.filter, fresh.retain, fresh.maxSize, fresh.verbose
	l.mu.Unlock()
	select {
	case l.again <- struct{}{}:
	default: // it is told already
	}
}

// again returns the options that the same command line gives with the
// configuration file and the environment as they are now.
func (o *options) again() (*options, error) {
	fresh := new(options)
	flags := pflag.NewFlagSet("sensor", pflag.ContinueOnError)
	fresh.addFlags(flags)
	var errs []error
	for name := range o.given {
		f := o.flags.Lookup(name)
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			errs = append(errs, flags.Set(name, v))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := fresh.complete(flags, o.words); err != nil {
		return nil, err
	}
	return fresh, nil
}

// changed lists the flags that differ and that a reload leaves alone.
func (o *options) changed(fresh *options) []string {
	var names []string
	o.flags.VisitAll(func(f *pflag.Flag) {
		g := fresh.flags.Lookup(f.Name)
		if g != nil && f.Value.String() != g.Value.String() && !slices.Contains(reloadable(), f.Name) {
			names = append(names, f.Name)
		}
	})
	return names
}

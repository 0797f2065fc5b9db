// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"weir/capture"
	"weir/internal/command"
	"weir/internal/confine"
	"weir/internal/logging"
	"weir/internal/sensor"
	"weir/internal/telemetry"
	"weir/internal/zeeklog"
	"weir/store/lake"
)

// open opens everything that takes privileges, and what must not fail later.
func (l *listening) open(ctx context.Context) (err error) {
	account, err := confine.Lookup(l.o.user)
	if err != nil {
		return &command.UsageError{Err: fmt.Errorf("--user: %w", err)}
	}
	if err := l.openLog(account); err != nil {
		return err
	}
	cfg := l.o.live()
	cfg.Log = l.log
	if l.src, err = capture.Listen(cfg); err != nil {
		return inputError(err)
	}
	if l.o.store != "none" {
		if err := l.openStore(account); err != nil {
			return err
		}
	}
	if l.o.zeekLogs != "" {
		if err := l.openLogs(account); err != nil {
			return err
		}
	}
	if l.o.metrics != "" {
		if l.metrics, err = telemetry.Listen(ctx, l.o.metrics); err != nil {
			return err
		}
	}
	pipeline := l.o.pipeline()
	pipeline.Active, pipeline.Prompt = l.o.active, true
	if l.publisher != nil {
		pipeline.Sinks = append(pipeline.Sinks, l.publisher)
	}
	if l.logs != nil {
		pipeline.Sinks = append(pipeline.Sinks, l.logs)
	}
	l.pipeline, err = sensor.New(pipeline)
	return err
}

// openLog opens where messages go.
func (l *listening) openLog(account confine.Account) (err error) {
	l.level.Set(l.o.level(slog.LevelInfo))
	var next slog.Handler
	if l.o.logFile == "" {
		next = handler(l.stderr, &l.level)
	} else {
		if l.logFile, err = logging.Open(l.o.logFile); err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			if err := l.logFile.Chown(account.UID, account.GID); err != nil {
				return err
			}
		}
		next = slog.NewTextHandler(l.logFile, &slog.HandlerOptions{Level: &l.level})
	}
	l.limit = logging.NewLimit(next, 0)
	l.log = slog.New(l.limit)
	return nil
}

// openStore opens the store, which belongs to the user that the process becomes.
func (l *listening) openStore(account confine.Account) (err error) {
	l.lake, err = lake.Open(l.o.store, lake.Config{Create: true, Version: buildVersion(), Logger: l.log})
	if err != nil {
		return err
	}
	if err := l.handOver(account); err != nil {
		return err
	}
	w, err := l.lake.Begin(lake.Import{
		Sensor: l.o.sensor, Source: "live", Options: l.o.fingerprint(),
		Inputs: interfaceInputs(l.o.interfaces),
	})
	if err != nil {
		return err
	}
	l.publisher = sensor.NewPublisher(w, sensor.PublishConfig{
		Every: l.o.publish, Log: l.log,
		Describe: func() lake.Final { return lake.Final{Packets: l.src.Stats().Packets} },
	})
	return nil
}

// handOver gives the store to the user that root becomes. From then on everybody
// who writes into it as root leaves the files to that user.
func (l *listening) handOver(account confine.Account) error {
	if os.Geteuid() != 0 || account.UID == 0 {
		return nil
	}
	info, err := os.Stat(l.o.store)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == account.UID {
		return nil
	}
	l.log.Info("the store is given to the user that the sensor becomes", slog.String("user", account.Name))
	return lake.Give(l.o.store, account.UID, account.GID)
}

// interfaceInputs describes interfaces as inputs of an import.
func interfaceInputs(names []string) []lake.Input {
	inputs := make([]lake.Input, len(names))
	for i, name := range names {
		inputs[i].Name = name
	}
	return inputs
}

// openLogs opens Zeek's logs in a directory of the user that the process becomes.
func (l *listening) openLogs(account confine.Account) (err error) {
	if err := ownDirectory(l.o.zeekLogs, account); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	l.logs, err = zeeklog.OpenLive(zeeklog.LiveConfig{
		Config: zeeklog.Config{Dir: l.o.zeekLogs, JSON: l.o.zeekJSON}, Rotate: l.o.rotate,
	}, time.Now())
	return err
}

// ownDirectory makes a directory that belongs to an account. One that is there
// stays as it is.
func ownDirectory(path string, account confine.Account) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, account.UID, account.GID)
}

// confinement says what the process keeps.
func (l *listening) confinement() confine.Config {
	c := confine.Config{User: l.o.user, Sandbox: l.o.sandbox}
	add := func(list *[]string, path string) {
		if abs, err := filepath.Abs(path); err == nil {
			*list = append(*list, abs)
		}
	}
	if l.lake != nil {
		add(&c.ReadWrite, l.o.store)
	}
	if l.logs != nil {
		add(&c.ReadWrite, l.o.zeekLogs)
	}
	if l.logFile != nil {
		add(&c.ReadWrite, filepath.Dir(l.logFile.Name()))
	}
	if l.metrics != nil {
		// What the process uses is told there.
		c.ReadOnly = append(c.ReadOnly, "/proc")
	}
	if l.o.configFile != "" {
		add(&c.ReadOnly, filepath.Dir(l.o.configFile))
	}
	return c
}

// abandon closes what was opened for a run that did not begin.
func (l *listening) abandon() error {
	var errs []error
	if l.src != nil {
		errs = append(errs, l.src.Close())
	}
	if l.publisher != nil {
		errs = append(errs, l.publisher.Abort())
	}
	if l.logs != nil {
		errs = append(errs, l.logs.Close(time.Now()))
	}
	if l.metrics != nil {
		errs = append(errs, l.metrics.Close())
	}
	return errors.Join(append(errs, l.closeLog())...)
}

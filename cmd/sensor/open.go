// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
	if l.o.dir != "" {
		if err := l.openStore(account); err != nil {
			return err
		}
	}
	if l.o.uri != "" {
		if err := l.openDatabase(ctx, account); err != nil {
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
	if l.aside != nil {
		pipeline.Sinks = append(pipeline.Sinks, l.aside)
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
	l.lake, err = lake.Open(l.o.dir, lake.Config{Create: true, Version: buildVersion(), Logger: l.log})
	if err != nil {
		return err
	}
	l.publisher, err = l.publishTo(l.lake, account, sensor.PublishConfig{Log: l.log})
	return err
}

// queueShare is the part of the memory cap that records take which wait for the
// spool's disk.
const queueShare = 1.0 / 16

// openDatabase connects to the database and opens its spool. What is wrong with
// it for good ends the start; a server that is down does not.
func (l *listening) openDatabase(ctx context.Context, account confine.Account) error {
	if err := l.reach(ctx); err != nil {
		return err
	}
	db, err := l.o.dial(ctx, l.log, true)
	if err != nil {
		return err
	}
	l.database = &database{db: db, log: l.log}
	if l.database.spool, err = l.o.openSpool(l.log); err != nil {
		return err
	}
	if l.spooling, err = l.publishTo(l.database.spool, account, sensor.PublishConfig{
		Log:       l.log.With(slog.String("spool", l.o.spoolDir)),
		Published: func() { l.database.forward.Wake() },
	}); err != nil {
		return err
	}
	l.aside = sensor.NewAside(l.spooling, int64(queueShare*float64(l.o.memory)))
	return nil
}

// named reports whether there are host names to look up on the way to the database:
// a cluster names its members.
func (o *options) named() bool { return net.ParseIP(o.server.Host) == nil || o.server.Routing }

// nameWait is how long is waited for name servers before they count as down.
const nameWait = 2 * time.Second

// reach makes the server reachable also for the confined process, by the same way
// that is tried now, and refuses a name that nobody knows. Name servers that do not
// answer may do so later.
func (l *listening) reach(ctx context.Context) error {
	if l.o.server.TLS {
		// From here on they are in memory.
		if _, err := x509.SystemCertPool(); err != nil {
			return fmt.Errorf("load the certificates of authorities: %w", err)
		}
	}
	if !l.o.named() {
		return nil
	}
	if l.o.sandbox != confine.Off {
		// The driver has no resolver of its own.
		net.DefaultResolver = confine.Resolver()
	}
	ctx, cancel := context.WithTimeout(ctx, nameWait)
	defer cancel()
	_, err := net.DefaultResolver.LookupHost(ctx, l.o.server.Host)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Errorf("%s: unknown host %s", l.o.uri, l.o.server.Host)
	}
	return nil
}

// publishTo begins an import of the interfaces.
func (l *listening) publishTo(to *lake.Lake, account confine.Account, cfg sensor.PublishConfig) (*sensor.Publisher, error) {
	if err := l.handOver(to.Path(), account); err != nil {
		return nil, err
	}
	w, err := to.Begin(lake.Import{
		ID: l.importID, Sensor: l.o.sensor, Source: "live", Options: l.o.fingerprint(),
		Inputs: interfaceInputs(l.o.interfaces),
	})
	if err != nil {
		return nil, err
	}
	l.importID = w.ID()
	cfg.Every = l.o.publish
	cfg.Describe = func() lake.Final { return lake.Final{Packets: l.src.Stats().Packets} }
	return sensor.NewPublisher(w, cfg), nil
}

// handOver gives a store to the user that root becomes. From then on everybody
// who writes into it as root leaves the files to that user.
func (l *listening) handOver(store string, account confine.Account) error {
	if os.Geteuid() != 0 || account.UID == 0 {
		return nil
	}
	info, err := os.Stat(store)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == account.UID {
		return nil
	}
	l.log.Info("the store is given to the user that the sensor becomes", slog.String("store", store), slog.String("user", account.Name))
	return lake.Give(store, account.UID, account.GID)
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
		add(&c.ReadWrite, l.o.dir)
	}
	if l.database != nil {
		add(&c.ReadWrite, l.o.spoolDir)
		c.ConnectTCP = append(c.ConnectTCP, l.o.server.Port)
		c.LookUp = l.o.named()
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
	for _, p := range []*sensor.Publisher{l.publisher, l.spooling} {
		if p != nil {
			errs = append(errs, p.Abort())
		}
	}
	if l.database != nil {
		errs = append(errs, l.database.db.Close())
	}
	if l.logs != nil {
		errs = append(errs, l.logs.Close(time.Now()))
	}
	if l.metrics != nil {
		errs = append(errs, l.metrics.Close())
	}
	return errors.Join(append(errs, l.closeLog())...)
}

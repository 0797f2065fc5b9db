// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/capture"
	"weir/internal/command"
	"weir/internal/confine"
	"weir/internal/logging"
	"weir/internal/sensor"
	"weir/internal/systemd"
	"weir/internal/telemetry"
	"weir/internal/zeeklog"
	"weir/store/lake"
)

// listening is one run on network interfaces, from the flags to the end.
type listening struct {
	log            *slog.Logger
	level          slog.LevelVar
	limit          *logging.Limit
	logFile        *logging.File // nil: standard error
	stdout, stderr io.Writer

	// mu guards those fields of o that a reload changes.
	mu sync.Mutex
	o  *options

	src       *capture.Live
	lake      *lake.Lake        // nil without a store
	publisher *sensor.Publisher // nil without a store
	logs      *zeeklog.Live     // nil without Zeek's logs
	metrics   net.Listener      // nil without metrics
	pipeline  *sensor.Pipeline

	began time.Time
	// gone is why the interfaces ended by themselves.
	gone error
	// block is when the reader last yielded a block, in nanoseconds since began.
	block atomic.Int64
	// logErr is what went wrong with Zeek's logs last.
	logErr atomic.Pointer[error]
}

// listen reads network interfaces until a signal ends it in order.
func listen(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	l := &listening{o: o, stdout: stdout, stderr: stderr}
	o.tune()
	if err := l.open(ctx); err != nil {
		return errors.Join(err, l.abandon())
	}
	report, err := confine.Enter(l.confinement())
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w (name a directory that this user can reach, or another --user)", err)
		}
		return errors.Join(fmt.Errorf("give up privileges: %w", err), l.abandon())
	}
	if len(report.Missing) > 0 {
		l.log.Warn("the sandbox is not complete", slog.Any("sandbox", report))
	}
	l.notify(systemd.Ready("listening on " + strings.Join(o.interfaces, ", ")))
	l.log.Info("listening", slog.String("interfaces", strings.Join(o.interfaces, ",")),
		slog.String("store", o.store), slog.Any("sandbox", report))
	err = l.run(ctx)
	if !o.quiet {
		summarize(stdout, l.src.Stats(), l.pipeline.Stats(), time.Since(l.began), o)
	}
	return errors.Join(err, l.gone, l.closeLog())
}

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

// notify reports that the service manager could not be told something.
func (l *listening) notify(err error) {
	if err != nil {
		l.log.Warn("the service manager was not told", slog.Any("err", err))
	}
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

// closeLog reports the messages that were held back, and closes the log.
func (l *listening) closeLog() error {
	if l.limit == nil {
		return nil
	}
	err := l.limit.Flush(context.Background(), true)
	if l.logFile != nil {
		err = errors.Join(err, l.logFile.Close())
	}
	return err
}

// Next implements sensor.Source. Where the interfaces end by themselves, what
// was seen so far is stored as at any other end.
func (l *listening) Next() (*capture.Block, error) {
	b, err := l.src.Next()
	l.block.Store(int64(time.Since(l.began)))
	if gone := new(capture.GoneError); errors.As(err, &gone) {
		l.gone = gone
		return nil, io.EOF
	}
	return b, err
}

// Close implements sensor.Source.
func (l *listening) Close() error { return l.src.Close() }

// run reads until ctx is done or no interface is left, and stores everything.
func (l *listening) run(ctx context.Context) error {
	l.began = time.Now()
	// The signal ends the capture in order; all others go on until everything has
	// been stored.
	defer context.AfterFunc(ctx, func() {
		l.log.Info("ending")
		l.notify(systemd.Stopping("storing what was seen"))
		l.src.Stop()
	})()
	g, gctx := errgroup.WithContext(context.WithoutCancel(ctx))
	helpers, stop := context.WithCancel(gctx)
	defer stop()
	g.Go(func() error {
		defer stop()
		return l.pipeline.Run(gctx, l)
	})
	if l.publisher != nil {
		g.Go(func() error { return l.publisher.Run(helpers) })
		g.Go(func() error { return l.maintain(helpers) })
	}
	if l.logs != nil {
		g.Go(func() error { return l.flushLogs(helpers) })
	}
	if l.metrics != nil {
		reg, err := l.registry()
		if err != nil {
			return err
		}
		g.Go(func() error { return telemetry.Serve(helpers, l.metrics, reg, l.health, l.log) })
	}
	g.Go(func() error { return l.reloads(helpers) })
	g.Go(func() error {
		l.notify(systemd.Watchdog(helpers, l.progress()))
		return nil
	})
	err := g.Wait()
	return errors.Join(err, l.src.Close(), l.finish())
}

// progress returns a function that reports whether blocks came since it was
// called last. They come several times a second, empty ones if need be.
func (l *listening) progress() func() bool {
	last := int64(-1)
	return func() bool {
		block := l.block.Load()
		alive := block != last
		last = block
		return alive
	}
}

// finish stores the last records.
func (l *listening) finish() error {
	var errs []error
	if l.publisher != nil {
		errs = append(errs, l.publisher.Commit())
	}
	if l.logs != nil {
		errs = append(errs, l.logs.Close(time.Now()))
	}
	return errors.Join(errs...)
}

// flushLogs writes Zeek's logs every second, and rotates them in time.
func (l *listening) flushLogs(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			l.noteLogs(l.logs.Flush(now))
		}
	}
}

// noteLogs remembers how writing logs went, and logs where that changes.
func (l *listening) noteLogs(err error) {
	failed := l.logErr.Load() != nil
	switch {
	case err == nil && failed:
		l.logErr.Store(nil)
		l.log.Info("logs are written again", slog.Uint64("lost_lines", l.logs.Stats().Lost))
	case err != nil:
		l.logErr.Store(&err)
		if !failed {
			l.log.Error("logs cannot be written", slog.Any("err", err))
		}
	}
}

// registry returns the metrics of the run.
func (l *listening) registry() (*telemetry.Registry, error) {
	s := sensor.Sources{Capture: l.src.Stats, Pipeline: l.pipeline.Stats}
	if l.publisher != nil {
		s.Store = l.publisher.Stats
	}
	if l.logs != nil {
		s.Logs = l.logs.Stats
	}
	return telemetry.NewRegistry(buildVersion(), sensor.Metrics(s)...)
}

// health tells whether the run does what it should.
func (l *listening) health() telemetry.Health {
	live := sensor.Liveness{Down: l.src.Down(), Started: l.began, Block: l.began.Add(time.Duration(l.block.Load()))}
	if l.publisher != nil {
		s := l.publisher.Stats()
		live.Publication, live.StoreError = s.Last, s.Err
	} else {
		live.Publication = time.Now()
	}
	if err := l.logErr.Load(); err != nil {
		live.LogError = *err
	}
	return live.Health(time.Now())
}

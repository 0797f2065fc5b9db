// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/capture"
	"weir/internal/command"
	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/internal/zeeklog"
	"weir/store/lake"
)

// reading is one reading of captures, from the flags to the commit.
type reading struct {
	o              *options
	log            *slog.Logger
	stdout, stderr io.Writer

	reader  *capture.Reader
	lake    *lake.Lake
	writer  *lake.Writer
	logs    *zeeklog.Logs
	replace []string // imports that the new one replaces
	cancel  context.CancelFunc

	// lasting is set where nothing can be read again: what came through a pipe
	// becomes visible while it goes on, by way of publisher, and a signal ends it
	// like its end.
	lasting   bool
	publisher *sensor.Publisher // nil without a store, or if not lasting
	ended     atomic.Bool       // the input was read to its end
}

// sink ends the reading when it fails.
type sink struct {
	sensor.Sink
	cancel context.CancelFunc
}

func (s sink) Connections(b *flow.ConnBatch) error { return s.check(s.Sink.Connections(b)) }
func (s sink) Intel(b *flow.IntelBatch) error      { return s.check(s.Sink.Intel(b)) }

func (s sink) check(err error) error {
	if err != nil {
		s.cancel()
	}
	return err
}

// readCaptures reads what the options name and commits the result.
func readCaptures(ctx context.Context, o *options, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	r := &reading{o: o, stdout: stdout, stderr: stderr, log: slog.New(handler(stderr, o.level(slog.LevelWarn)))}
	if o.profile != "" {
		stop, err := profile(o.profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	o.tune()
	names, skipped, err := capture.Expand(o.read)
	if err != nil {
		return err
	}
	if skipped > 0 {
		r.log.Warn("files that are no captures were left out", slog.Int("files", skipped))
	}
	if names, err = r.distinct(names); err != nil {
		return err
	}
	if names, err = r.unread(names); err != nil || len(names) == 0 {
		return err
	}
	r.lasting = !slices.ContainsFunc(names, hasIdentity)
	signaled := ctx
	if r.lasting {
		// The signal ends the input, not what is made of it.
		ctx = context.WithoutCancel(ctx)
	}
	// What fails in a sink ends the reading at once, even where it waits for a
	// pipe that says nothing.
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	// Before the first bytes of a pipe there is nothing to end in order.
	waiting := context.AfterFunc(signaled, r.cancel)
	if r.reader, err = capture.Open(capture.Config{
		Inputs: names, Stdin: stdin, Context: ctx,
		Filter: o.filter, Checksums: o.checksums, Log: r.log,
	}); err != nil {
		return inputError(err)
	}
	waiting()
	defer func() {
		if cerr := r.reader.Close(); err == nil {
			err = cerr
		}
	}()
	if err := r.openSinks(names); err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, command.ErrPartial) {
			r.abort()
		}
	}()
	if r.lasting {
		defer context.AfterFunc(signaled, r.reader.Stop)()
		if err := r.run(ctx); err != nil || signaled.Err() == nil {
			return err
		}
		fmt.Fprintln(stderr, "sensor: interrupted, what was read is stored")
		return errStored
	}
	return r.run(ctx)
}

// errStored says that a signal ended an input that goes on for long; what was
// read is stored, and that has been said.
var errStored = errors.New("interrupted")

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

// tune sets the garbage collector up for a run.
func (o *options) tune() {
	if os.Getenv("GOGC") == "" {
		// Little garbage is made, and the memory limit bounds what is left of it.
		debug.SetGCPercent(200)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		// The runtime counts memory that was never touched, which RSS does not:
		// a little above the cap it keeps the cap without collecting all the time.
		debug.SetMemoryLimit(int64(o.memory) / 20 * 23)
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

// distinct leaves out captures with the same content as another one.
func (r *reading) distinct(names []string) ([]string, error) {
	same, err := capture.Duplicates(names)
	if err != nil {
		return nil, err
	}
	var out []string
	for i, name := range names {
		first, again := same[i]
		if !again {
			out = append(out, name)
			continue
		}
		fmt.Fprintf(r.stderr, "sensor: %s: skipped, it has the same content as %s\n", name, names[first])
	}
	return out, nil
}

// unread leaves out the captures that are in the store already.
func (r *reading) unread(names []string) ([]string, error) {
	if r.o.store == "none" {
		return names, nil
	}
	m, err := lake.ReadManifest(r.o.store)
	if errors.Is(err, lake.ErrNotStore) {
		// It is made once there is something to put into it.
		return names, nil
	}
	if err != nil {
		return nil, err
	}
	if r.o.init {
		// The old content goes in the commit that brings the new.
		for i := range m.Imports {
			r.replace = append(r.replace, m.Imports[i].ID)
		}
		return names, nil
	}
	return r.choose(m, names)
}

// choose compares the captures with the imports of the store.
func (r *reading) choose(m *lake.Manifest, names []string) ([]string, error) {
	inputs := make([]lake.Input, len(names))
	for i, name := range names {
		if !hasIdentity(name) {
			inputs[i].Name = name
			continue
		}
		in, err := identify(m, name)
		if err != nil {
			return nil, err
		}
		inputs[i] = in
	}
	verdicts, err := m.Check(inputs, r.o.fingerprint(), func(i int, n int64) (string, error) {
		return prefixSum(names[i], inputs[i], n)
	})
	if err != nil {
		return nil, err
	}
	var unread []string
	replaced := map[string][]string{} // names that are read again, by import
	for i, v := range verdicts {
		switch {
		case v.Knowledge == lake.New:
			unread = append(unread, names[i])
		case r.o.replace:
			unread = append(unread, names[i])
			replaced[v.Import.ID] = append(replaced[v.Import.ID], v.Name)
		case v.Knowledge == lake.Known && v.Import.Damaged:
			return nil, fmt.Errorf("%s is in the store already, but damaged parts of it were dropped: --replace reads it again",
				names[i])
		case v.Knowledge == lake.Known:
			fmt.Fprintf(r.stderr, "sensor: %s: skipped, it is in the store already (read %s as %s)\n",
				names[i], v.Import.Time.Local().Format(time.DateTime), v.Name)
		case v.Knowledge == lake.Differs:
			return nil, fmt.Errorf("%s is in the store already, read with other options (%s; now: %s): --replace puts the new result in its place",
				names[i], v.Import.Options, r.o.fingerprint())
		default:
			return nil, fmt.Errorf("%s begins with what is in the store already as %s, it has grown: --replace reads it whole and puts it in place of the old result",
				names[i], v.Name)
		}
	}
	for id, again := range replaced {
		for _, in := range m.Find(id).Inputs {
			if !slices.Contains(again, in.Name) {
				return nil, fmt.Errorf("%s was read together with %s: to replace it, name both", again[0], in.Name)
			}
		}
		r.replace = append(r.replace, id)
	}
	slices.Sort(r.replace)
	return unread, nil
}

// hasIdentity reports whether an input can be read again, so that it is known by
// its content; what comes through a pipe is not.
func hasIdentity(name string) bool {
	if name == "-" {
		return false
	}
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// identify returns what the store needs to tell whether it knows a capture. The
// whole file is read only if its beginning is known.
func identify(m *lake.Manifest, name string) (lake.Input, error) {
	id, err := capture.IdentifyHead(name)
	if err != nil {
		return lake.Input{}, err
	}
	head := fmt.Sprintf("%x", id.Head)
	known := slices.ContainsFunc(m.Imports, func(imp lake.Import) bool {
		return slices.ContainsFunc(imp.Inputs, func(in lake.Input) bool {
			return in.Head == head || in.HeadLen < int64(id.HeadLen)
		})
	})
	if known && !id.Whole {
		if id, err = capture.Identify(name, 0); err != nil {
			return lake.Input{}, err
		}
	}
	in := lake.Input{Name: name, Head: head, HeadLen: int64(id.HeadLen)}
	if id.Whole {
		in.Size, in.Sum = id.Size, fmt.Sprintf("%x", id.Sum)
	}
	return in, nil
}

// prefixSum returns the sum of the first n bytes of a capture.
func prefixSum(name string, in lake.Input, n int64) (string, error) {
	if n == in.Size && in.Sum != "" {
		return in.Sum, nil
	}
	id, err := capture.Identify(name, n)
	if err != nil {
		return "", err
	}
	if !id.HasPrefix {
		return "", fmt.Errorf("%s is shorter than %d bytes", name, n)
	}
	return fmt.Sprintf("%x", id.Prefix), nil
}

// openSinks opens the store and the logs, after everything else was checked.
func (r *reading) openSinks(names []string) (err error) {
	if r.o.store != "none" {
		r.lake, err = lake.Open(r.o.store, lake.Config{Create: true, Version: buildVersion(), Logger: r.log})
		if err != nil {
			return err
		}
		source := "capture"
		if r.lasting {
			source = "stdin"
		}
		if r.writer, err = r.lake.Begin(lake.Import{
			Sensor: r.o.sensor, Source: source, Options: r.o.fingerprint(),
		}); err != nil {
			return err
		}
		if r.lasting {
			r.publisher = sensor.NewPublisher(r.writer, sensor.PublishConfig{
				Every: r.o.publish, Describe: r.describe, Strict: true, Log: r.log,
			})
		}
	}
	if r.o.zeekLogs != "" {
		if r.logs, err = zeeklog.Create(zeeklog.Config{Dir: r.o.zeekLogs, JSON: r.o.zeekJSON}); err != nil {
			r.abort()
			return err
		}
	}
	return nil
}

// abort drops what was not committed.
func (r *reading) abort() {
	if r.logs != nil {
		r.logs.Abort()
	}
	if r.writer != nil {
		if err := r.writer.Abort(); err != nil {
			r.log.Warn("drop what was not committed", slog.Any("err", err))
		}
	}
}

// run reads to the end and commits.
func (r *reading) run(ctx context.Context) error {
	cfg := r.o.pipeline()
	if r.lasting {
		cfg.Active, cfg.Prompt = r.o.active, true
	}
	switch {
	case r.publisher != nil:
		cfg.Sinks = append(cfg.Sinks, sink{r.publisher, r.cancel})
	case r.writer != nil:
		cfg.Sinks = append(cfg.Sinks, sink{r.writer, r.cancel})
	}
	if r.logs != nil {
		cfg.Sinks = append(cfg.Sinks, sink{r.logs, r.cancel})
	}
	p, err := sensor.New(cfg)
	if err != nil {
		return err
	}
	began := time.Now()
	stop := showProgress(r.stderr, r.reader, r.o.quiet)
	err = r.pump(ctx, p)
	stop()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	r.ended.Store(true)
	stats := r.reader.Stats()
	if r.lasting && stats.Packets == 0 && stats.Damaged == 0 {
		// A pipe that has said nothing leaves no import behind.
		r.abort()
		return nil
	}
	partial := isPartial(stats)
	if err := r.commit(); err != nil {
		return err
	}
	if !r.o.quiet {
		summarize(r.stdout, stats, p.Stats(), time.Since(began), r.o)
	}
	if partial {
		return command.ErrPartial
	}
	return nil
}

// commit makes the result visible: in the store first, since giving the finished
// logs their names is all that is left to do then.
func (r *reading) commit() error {
	if r.logs != nil {
		if err := r.logs.Finish(); err != nil {
			return err
		}
	}
	var err error
	switch {
	case r.publisher != nil:
		err = r.publisher.Commit()
	case r.writer != nil:
		err = r.writer.Commit(r.describe())
	}
	if err != nil {
		return err
	}
	if r.logs == nil {
		return nil
	}
	stale, err := r.logs.Commit()
	for _, name := range stale {
		r.log.Warn("a log of an earlier run stays", slog.String("log", name))
	}
	return err
}

// pump reads to the end, and publishes meanwhile where the input goes on for long.
func (r *reading) pump(ctx context.Context, p *sensor.Pipeline) error {
	if r.publisher == nil {
		return p.Run(ctx, r.reader)
	}
	g, ctx := errgroup.WithContext(ctx)
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error {
		defer stop()
		return p.Run(ctx, r.reader)
	})
	g.Go(func() error { return r.publisher.Run(publishing) })
	return g.Wait()
}

// isPartial reports whether a part of the input was skipped.
func isPartial(stats capture.Stats) bool {
	for reason := range stats.Rejected {
		if capture.Reason(reason).Skipped() && stats.Rejected[reason] > 0 {
			return true
		}
	}
	return stats.Damaged > 0
}

// describe returns what is known of the input so far.
func (r *reading) describe() lake.Final {
	stats := r.reader.Stats()
	final := lake.Final{Packets: stats.Packets, Truncated: isPartial(stats), Replace: r.replace}
	if !r.ended.Load() {
		return final
	}
	for _, f := range r.reader.Files() {
		in := lake.Input{Name: f.Name, Size: f.Size}
		if hasIdentity(f.Name) {
			in.Sum, in.Head, in.HeadLen = fmt.Sprintf("%x", f.Sum), fmt.Sprintf("%x", f.Head), int64(f.HeadLen)
		}
		final.Inputs = append(final.Inputs, in)
	}
	return final
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

// summarize prints what was read and what came out of it.
func summarize(w io.Writer, in capture.Stats, out sensor.Stats, took time.Duration, o *options) {
	seconds := max(took.Seconds(), 1e-9)
	fmt.Fprintf(w, "packets      %d (%d bytes) in %.2f s, %.0f packets/s\n",
		in.Packets, in.Bytes, took.Seconds(), float64(in.Packets)/seconds)
	if in.Packets > in.Delivered {
		var reasons []string
		for i, n := range in.Rejected {
			if n > 0 {
				reasons = append(reasons, fmt.Sprintf("%s %d", capture.Reason(i), n))
			}
		}
		fmt.Fprintf(w, "rejected     %d: %s\n", in.Packets-in.Delivered, strings.Join(reasons, ", "))
	}
	if in.Received > 0 || in.Lost.Sum() > 0 {
		fmt.Fprintf(w, "lost         %d: %s\n", in.Lost.Sum(), strings.Join(lossesOf(in.Lost), ", "))
	}
	fmt.Fprintf(w, "connections  %d", out.Connections)
	if n := out.Table.EndedEarly; n > 0 {
		fmt.Fprintf(w, ", %d of them ended early to stay within %s of memory", n, o.memory.String())
	}
	fmt.Fprintln(w)
	if limits := limitsReached(out); len(limits) > 0 {
		fmt.Fprintf(w, "limits       %s\n", strings.Join(limits, ", "))
	}
	intel := make([]string, len(out.Intel))
	for i, k := range flow.Kinds() {
		intel[i] = fmt.Sprintf("%s %d", k.Name, out.Intel[i])
	}
	fmt.Fprintf(w, "intel        %s\n", strings.Join(intel, ", "))
	if o.store != "none" {
		fmt.Fprintf(w, "store        %s\n", o.store)
	}
}

// lossesOf says how many packets of interfaces were lost, by reason.
func lossesOf(l capture.Losses) []string {
	return []string{
		fmt.Sprintf("kernel %d", l.Kernel), fmt.Sprintf("interface %d", l.Interface),
		fmt.Sprintf("overload %d", l.Overload), fmt.Sprintf("unread %d", l.Unread),
	}
}

// limitsReached says what was ignored or given up, and how often.
func limitsReached(s sensor.Stats) []string {
	var out []string
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{s.Table.IgnoredChecksum, "packets with a wrong checksum"},
		{s.Table.IgnoredHeader, "packets with a bad TCP header"},
		{s.Table.HistoryLettersLost, "letters of long histories"},
		{s.Reassembly.Conflicts, "TCP segments that contradict an earlier copy"},
		{s.Reassembly.NotKept, "TCP segments not kept"},
		{s.Reassembly.Skipped, "TCP streams given up"},
		{s.Dissect.SessionFull, "dissected streams given up for their size"},
		{s.Dissect.MemoryFull, "dissected streams cut for lack of memory"},
		{s.Dissect.RecordsDropped, "records of connections with too many"},
	} {
		if x.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return out
}

// SPDX-License-Identifier: Apache-2.0

package logging_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/logging"
)

// limited returns a limited logger, and its lines without time.
func limited(interval time.Duration) (*slog.Logger, *logging.Limit, func() []string) {
	var out bytes.Buffer
	limit := logging.NewLimit(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}), interval)
	return slog.New(limit), limit, func() []string {
		defer out.Reset()
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, limit, lines := limited(0)
		other := log.With(slog.String("iface", "eth1"))
		check := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, lines()); diff != "" {
				t.Errorf("lines differ (-want +got):\n%s", diff)
			}
		}
		for i := range 100 {
			log.Warn("packets dropped", slog.Int("n", i))
		}
		other.Warn("packets dropped")
		log.Warn("interface is down")
		log.Error("packets dropped")
		check(`level=WARN msg="packets dropped" n=0`, `level=WARN msg="interface is down"`, `level=ERROR msg="packets dropped"`)

		time.Sleep(logging.DefaultInterval - 1)
		log.Warn("packets dropped")
		check("")
		time.Sleep(time.Nanosecond)
		log.Warn("packets dropped", slog.Int("n", 7))
		log.Warn("interface is down")
		check(`level=WARN msg="packets dropped" n=7 repeated=101`, `level=WARN msg="interface is down"`)

		// What nothing follows is told after the interval.
		log.Warn("packets dropped", slog.Int("n", 8))
		other.Warn("packets dropped", slog.Int("n", 9))
		if err := limit.Flush(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		check("")
		time.Sleep(logging.DefaultInterval)
		if err := limit.Flush(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		check(`level=WARN msg="packets dropped" iface=eth1 n=9 repeated=1`)
		log.Warn("packets dropped")
		if err := limit.Flush(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		check(`level=WARN msg="packets dropped" repeated=0`)
	})
}

func TestLimitLeavesInfo(t *testing.T) {
	log, _, lines := limited(time.Hour)
	for range 3 {
		log.Info("start")
		log.Debug("step")
	}
	if got := lines(); len(got) != 6 {
		t.Errorf("%d lines %q, want 6", len(got), got)
	}
}

// However many messages there are, memory is bounded and none is lost.
func TestLimitIsBounded(t *testing.T) {
	log, limit, lines := limited(time.Hour)
	const messages = 5000
	for i := range messages {
		for range 3 {
			log.Warn(fmt.Sprintf("message %d", i)) //nolint:sloglint // the test needs many
		}
	}
	if n := limit.Messages(); n > 256 {
		t.Errorf("%d messages are remembered, want at most 256", n)
	}
	if err := limit.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	got := lines()
	repeated := 0
	for _, line := range got {
		if strings.HasSuffix(line, "repeated=1") {
			repeated++
		}
	}
	if len(got) != 2*messages || repeated != messages {
		t.Errorf("%d lines, %d of them for repeated ones, want %d and %d", len(got), repeated, 2*messages, messages)
	}
}

func TestLimitConcurrent(t *testing.T) {
	log, limit, lines := limited(time.Hour)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				log.Warn("packets dropped")
			}
		})
	}
	wait.Wait()
	if err := limit.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	want := []string{`level=WARN msg="packets dropped"`, `level=WARN msg="packets dropped" repeated=1598`}
	if diff := cmp.Diff(want, lines()); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
}

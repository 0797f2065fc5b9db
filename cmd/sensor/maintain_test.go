// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/store/lake"
)

// scriptedStore is a store that answers as a test says, and notes when it was
// asked.
type scriptedStore struct {
	start    time.Time
	at       []string // of compactions, since the start
	compact  func(since time.Duration) (lake.CompactStats, error)
	retain   func(since time.Duration) ([]lake.ExpiredDay, error)
	sweep    func(since time.Duration) error
	memory   int64
	retained int
	swept    int
}

func (s *scriptedStore) Compact(_ context.Context, cfg lake.CompactConfig) (lake.CompactStats, error) {
	since := time.Since(s.start)
	s.at, s.memory = append(s.at, since.String()), cfg.Memory
	if s.compact == nil {
		return lake.CompactStats{}, nil
	}
	return s.compact(since)
}

func (s *scriptedStore) Retain(lake.RetainConfig) ([]lake.ExpiredDay, error) {
	s.retained++
	if s.retain == nil {
		return nil, nil
	}
	return s.retain(time.Since(s.start))
}

func (s *scriptedStore) Sweep() error {
	s.swept++
	if s.sweep == nil {
		return nil
	}
	return s.sweep(time.Since(s.start))
}

// keep lets a keeper run for so long, and returns what it logged.
func keep(t *testing.T, s *scriptedStore, k keeper, last time.Duration) []string {
	t.Helper()
	var out bytes.Buffer
	level := new(slog.LevelVar)
	k.log = slog.New(handler(&out, level))
	synctest.Test(t, func(t *testing.T) {
		s.start = time.Now()
		k.store = s
		if k.limits == nil {
			k.limits = func() lake.RetainConfig { return lake.RetainConfig{MaxAge: time.Hour} }
		}
		ctx, cancel := context.WithTimeout(t.Context(), last)
		defer cancel()
		k.run(ctx)
	})
	if out.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n")
}

func TestKeeperBacksOff(t *testing.T) {
	n := 0
	s := &scriptedStore{compact: func(since time.Duration) (lake.CompactStats, error) {
		n++
		switch {
		case since < time.Minute || since >= time.Hour:
			return lake.CompactStats{}, nil
		case n == 3:
			return lake.CompactStats{}, fmt.Errorf("compact store: %w", lake.ErrCompacting)
		case n == 6:
			return lake.CompactStats{}, fmt.Errorf("write part: %w", syscall.EACCES)
		}
		return lake.CompactStats{}, fmt.Errorf("write part %d: %w", n, syscall.ENOSPC)
	}}
	got := keep(t, s, keeper{compact: true, memory: 1e6}, 65*time.Minute)
	want := []string{
		"30s", "1m0s", // fails
		"2m0s", // another one is at it: no failure
		"2m30s", "3m30s", "5m30s", "9m30s", "17m30s", "33m30s", "49m30s",
	}
	if diff := cmp.Diff(want, s.at); diff != "" {
		t.Errorf("compactions (-want +got):\n%s", diff)
	}
	wantLog := []string{
		`level=WARN msg="parts of the store cannot be merged" err="write part 2: no space left on device"`,
		`level=WARN msg="parts of the store cannot be merged" err="write part: permission denied"`,
		`level=WARN msg="parts of the store cannot be merged" err="write part 7: no space left on device"`,
	}
	if diff := cmp.Diff(wantLog, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if s.memory != 1e6 || s.retained != 7 || s.swept != 6 {
		t.Errorf("memory %d, %d times retained, %d times swept, want 1000000, 7, 6", s.memory, s.retained, s.swept)
	}
}

// TestKeeperRecovers: the first success is told, and ends the waiting.
func TestKeeperRecovers(t *testing.T) {
	s := &scriptedStore{compact: func(since time.Duration) (lake.CompactStats, error) {
		if since < 2*time.Minute {
			return lake.CompactStats{}, syscall.ENOSPC
		}
		return lake.CompactStats{Unfit: []error{errors.New("bad.parquet")}}, nil
	}}
	got := keep(t, s, keeper{compact: true}, 5*time.Minute-time.Second)
	if diff := cmp.Diff([]string{"30s", "1m30s", "3m30s", "4m0s", "4m30s"}, s.at); diff != "" {
		t.Errorf("compactions (-want +got):\n%s", diff)
	}
	unfit := `level=WARN msg="a part of the store cannot be merged, run flowcli check" err=bad.parquet`
	if diff := cmp.Diff([]string{
		`level=WARN msg="parts of the store cannot be merged" err="no space left on device"`,
		unfit, `level=INFO msg="parts of the store are merged again"`, unfit, unfit,
	}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestKeeperWaitsForClock: retention that does not believe the clock says so
// once, and goes on to remove what is too much.
func TestKeeperWaitsForClock(t *testing.T) {
	s := &scriptedStore{retain: func(since time.Duration) ([]lake.ExpiredDay, error) {
		switch {
		case since == 40*time.Minute:
			return []lake.ExpiredDay{{Day: "2026-03-01", Parts: 3, Rows: 20, Bytes: 100}}, lake.ErrClock
		case since < time.Hour:
			return nil, fmt.Errorf("%w: %v", lake.ErrClock, since)
		}
		return nil, nil
	}, sweep: func(since time.Duration) error {
		if since < 30*time.Minute {
			return syscall.EACCES
		}
		return nil
	}}
	got := keep(t, s, keeper{}, 2*time.Hour+time.Second)
	if diff := cmp.Diff([]string{
		`level=WARN msg="what is old stays in the store" err="retention by age waits: 0s"`,
		`level=WARN msg="files that nothing names stay in the store" err="permission denied"`,
		`level=INFO msg="removed a day from the store" day=2026-03-01 parts=3 rows=20 bytes=100`,
		`level=INFO msg="what is old is removed from the store again"`,
	}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if len(s.at) > 0 {
		t.Errorf("compactions at %v, want none", s.at)
	}
	if s.retained != 13 || s.swept != 12 {
		t.Errorf("%d times retained, %d swept, want 13 and 12", s.retained, s.swept)
	}
}

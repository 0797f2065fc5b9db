// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"fmt"
	"time"

	"weir/internal/telemetry"
)

// Liveness is what tells whether a live sensor works. A zero time is one that
// was not reached yet; then Started counts.
type Liveness struct {
	// Started is when the capture began.
	Started time.Time
	// Block is when the reader last yielded a block of packets, empty ones
	// included; they come several times a second.
	Block time.Time
	// Publication is when the store last took, or had nothing to take.
	Publication time.Time
	// StoreError and LogError are what went wrong last, nil once it works again.
	StoreError, LogError error
	// Spooled is when the spool of a database last took, or had nothing to take;
	// nil where there is none.
	Spooled *time.Time
	// SpoolError is what went wrong with the spool last, and ForwardError what
	// keeps records in it that waiting does not mend; nil once it works again. A
	// server that cannot be reached is neither: everything is recorded all the same.
	SpoolError, ForwardError error
	// Down lists interfaces that are down or gone.
	Down []string
}

// Limits of Health: several times what a working sensor takes.
const (
	maxBlockAge       = 5 * time.Second
	maxPublicationAge = 30 * time.Second
)

// Health says what is wrong at a time.
func (l *Liveness) Health(now time.Time) telemetry.Health {
	age := func(t time.Time) time.Duration {
		if t.IsZero() {
			t = l.Started
		}
		return max(0, now.Sub(t))
	}
	block, publication := age(l.Block), age(l.Publication)
	h := telemetry.Health{Details: map[string]float64{
		"last_block_age_seconds":       block.Seconds(),
		"last_publication_age_seconds": publication.Seconds(),
	}}
	problem := func(format string, args ...any) { h.Problems = append(h.Problems, fmt.Sprintf(format, args...)) }
	if block > maxBlockAge {
		problem("no packets were looked at for %v", block.Round(time.Second))
	}
	if publication > maxPublicationAge {
		problem("nothing was published for %v", publication.Round(time.Second))
	}
	if l.StoreError != nil {
		problem("store: %v", l.StoreError)
	}
	if l.Spooled != nil {
		spooled := age(*l.Spooled)
		h.Details["last_spool_publication_age_seconds"] = spooled.Seconds()
		if spooled > maxPublicationAge {
			problem("nothing was put into the spool for %v", spooled.Round(time.Second))
		}
	}
	if l.SpoolError != nil {
		problem("spool: %v", l.SpoolError)
	}
	if l.ForwardError != nil {
		problem("database: %v", l.ForwardError)
	}
	if l.LogError != nil {
		problem("logs: %v", l.LogError)
	}
	for _, name := range l.Down {
		problem("interface %s is down", name)
	}
	return h
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"weir/internal/command"
	"weir/internal/config"
	"weir/internal/term"
	"weir/store"
	"weir/store/lake"
	"weir/store/neo4j"
)

// graph is a Neo4j database.
type graph struct{ o *options }

func (g *graph) kind() string { return "a Neo4j database" }

// open implements place.
func (g *graph) open(ctx context.Context) (store.Reader, error) { return g.connect(ctx, false) }

// connect implements connector.
func (g *graph) connect(ctx context.Context, create bool) (*neo4j.DB, error) {
	password, err := config.Password(g.o.passwordFile)
	if err != nil {
		return nil, err
	}
	return neo4j.Open(ctx, g.o.store, neo4j.Config{
		Password: password, QueryTimeout: g.o.timeout, Create: create, Logger: g.o.logger(),
	})
}

// contents implements eraser.
func (g *graph) contents(ctx context.Context) (text string, err error) {
	err = using(ctx, g.o, g.connecting(true), func(ctx context.Context, db *neo4j.DB) error {
		s, err := db.Status(ctx)
		if err != nil || s.Rows == 0 && len(s.Imports) == 0 {
			return err
		}
		text = fmt.Sprintf("%s holds %s connections of %d imports", s.Location, term.Number(s.Connections), len(s.Imports))
		return nil
	})
	return text, err
}

// connecting returns connect for using.
func (g *graph) connecting(create bool) func(context.Context) (*neo4j.DB, error) {
	return func(ctx context.Context) (*neo4j.DB, error) { return g.connect(ctx, create) }
}

// erase implements eraser.
func (g *graph) erase(ctx context.Context) error {
	return using(ctx, g.o, g.connecting(true), func(ctx context.Context, db *neo4j.DB) error {
		progress := g.o.progress("nodes removed")
		defer progress.clear()
		return db.Purge(ctx, progress.count)
	})
}

// reduce implements reducer.
func (g *graph) reduce(ctx context.Context, width time.Duration) (*reduced, error) {
	var r neo4j.Reduced
	err := using(ctx, g.o, g.connecting(false), func(ctx context.Context, db *neo4j.DB) (err error) {
		progress := g.o.progress("flows")
		defer progress.clear()
		r, err = db.ReducePrecision(ctx, width, progress.count)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reduced{before: r.Before, after: r.After, flows: &r.Flows}, nil
}

// expire implements expirer.
func (g *graph) expire(ctx context.Context, b bounds, dryRun bool) (expired, error) {
	if b.size > 0 {
		return nil, &command.UsageError{Err: errors.New("expire --max-size: not on a Neo4j database: its size on disk does not shrink with what it holds; use --before or --older-than")}
	}
	before := b.before
	if b.age > 0 {
		// Both bounds hold.
		if t := time.Now().Add(-b.age); t.After(before) {
			before = t
		}
	}
	if before.IsZero() {
		return nil, errNoBound
	}
	var e neo4j.Expired
	err := using(ctx, g.o, g.connecting(false), func(ctx context.Context, db *neo4j.DB) (err error) {
		e, err = db.Expire(ctx, before, dryRun)
		return err
	})
	return expiredFlows(e), err
}

// expiredFlows is what left a graph.
type expiredFlows neo4j.Expired

func (e expiredFlows) none() bool { return e.Flows == 0 && e.Intel == 0 && e.Hosts == 0 }

func (e expiredFlows) question() string {
	return fmt.Sprintf("Drop %s flows, and what belongs to no other?", term.Number(e.Flows))
}

func (e expiredFlows) text(w io.Writer, done string) error {
	text := fmt.Sprintf("%s %s flows", done, term.Number(e.Flows))
	if e.Intel > 0 || e.Hosts > 0 {
		text += fmt.Sprintf(", %s intel and %s hosts of no other flow", term.Number(e.Intel), term.Number(e.Hosts))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func (e expiredFlows) json(w io.Writer) error { return writeJSON(w, neo4j.Expired(e)) }

// describe implements place. What waits in the spool is told, too, where nothing
// can be learned from the server: then above all.
func (g *graph) describe(ctx context.Context) (*description, error) {
	d := new(description)
	var err error
	if d.Spool, err = g.spool(); err != nil {
		return nil, err
	}
	err = using(ctx, g.o, g.connecting(false), func(ctx context.Context, db *neo4j.DB) (err error) {
		d.Status, err = db.Status(ctx)
		return err
	})
	if err != nil && d.Spool == nil {
		return nil, err
	}
	return d, err
}

// spool returns what waits to be sent, nil where this machine has no spool for
// the database.
func (g *graph) spool() (*spoolStatus, error) {
	path := g.o.spool
	if path == "" {
		server, err := neo4j.ParseURI(g.o.store)
		if err == nil {
			path, err = config.DefaultSpool(server.Host, server.Port, server.Database)
		}
		if err != nil {
			return nil, err
		}
	}
	b, err := neo4j.SpoolBacklog(path)
	if g.o.spool == "" && (errors.Is(err, lake.ErrNotStore) || errors.Is(err, fs.ErrPermission)) {
		return nil, nil // there is none, or it is somebody else's
	}
	if err != nil {
		return nil, err
	}
	s := &spoolStatus{Path: path, Backlog: b}
	if !b.Oldest.IsZero() {
		s.Age = max(0, time.Since(b.Oldest)).Seconds()
	}
	return s, nil
}

// logger returns where stores tell what they had to try again.
func (o *options) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(o.stderr, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// SPDX-License-Identifier: Apache-2.0

// Package neo4j keeps flows in a Neo4j server, as a graph of hosts, flows and
// what is known about them. docs/neo4j.md describes the graph. Records come in
// through a spool, a lake of their own, whose parts a Forwarder sends in chunks:
// neither an outage nor a kill loses or doubles any.
package neo4j

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j/config"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j/notifications"

	"weir/store"
)

// Config says how a server is reached. The zero value means the defaults.
type Config struct {
	// Password is that of the user in the URI.
	Password string
	// ConnectTimeout bounds how long Open waits for the server (default 8 s).
	ConnectTimeout time.Duration
	// QueryTimeout bounds each query (default 10 minutes).
	QueryTimeout time.Duration
	// Create makes the schema where the database has none.
	Create bool
	// Precision is the width of the timeline's slots where the schema is made, in
	// whole seconds (default one hour).
	Precision time.Duration
	// Logger receives retries, and of OpenLazy an outage; nil discards.
	Logger *slog.Logger
}

// Validate reports values that make no sense.
func (c *Config) Validate() error {
	switch {
	case c.ConnectTimeout < 0 || c.QueryTimeout < 0:
		return errors.New("a timeout is negative")
	case c.Precision < 0 || c.Precision%time.Second != 0:
		return fmt.Errorf("precision %v: expected whole seconds", c.Precision)
	}
	return nil
}

const (
	// format is the version of the graph.
	format = 1
	// poolSize bounds connections: sessions of a forwarder, and queries at a time.
	poolSize = 32
	// livenessCheck is how long a connection may be unused before it is asked
	// whether the server is still there: a firewall may have forgotten it.
	livenessCheck = 30 * time.Second
	// minMajor and minMinor are the oldest version that has all that queries use:
	// CALL (x) { … }.
	minMajor, minMinor = 5, 23
)

// DB is a database. It is safe for concurrent use.
type DB struct {
	driver neo4j.DriverWithContext
	where  *target
	cfg    Config
	log    *slog.Logger
	// bookmarks make reads see earlier writes in a cluster; nil without one.
	bookmarks neo4j.BookmarkManager
	// retries counts transactions that were tried again.
	retries atomic.Int64

	// notes gets the queries of questions, which are not run; nil runs them.
	notes *notes

	// checked says that the server's version and the database's schema are known to
	// be right; checking holds a token while nobody finds out. Waiting for it ends
	// with the waiter's context, which a mutex does not care for.
	checked  atomic.Bool
	checking chan struct{}
}

var _ store.Reader = (*DB)(nil)

// Open connects to the database that uri names, as
// neo4j://user@host:7687/database, and checks its version and schema.
func Open(ctx context.Context, uri string, cfg Config) (*DB, error) {
	d, err := newDB(uri, cfg)
	if err != nil {
		return nil, err
	}
	if err := d.ready(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// OpenLazy is Open, except that a server that cannot be reached is no error, which
// is logged: it is checked when it answers.
func OpenLazy(ctx context.Context, uri string, cfg Config) (*DB, error) {
	d, err := newDB(uri, cfg)
	if err != nil {
		return nil, err
	}
	switch err := d.ready(ctx); {
	case err == nil:
	case !Outage(err):
		return nil, errors.Join(err, d.Close())
	default:
		// Whoever mistyped a host or a port should not have to wait for the first record.
		d.log.Warn("the database cannot be reached yet", slog.String("store", d.Location()), slog.Any("err", err))
	}
	return d, nil
}

// newDB returns a DB that is not connected.
func newDB(uri string, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	where, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 8 * time.Second
	}
	if cfg.QueryTimeout == 0 {
		cfg.QueryTimeout = 10 * time.Minute
	}
	if cfg.Precision == 0 {
		cfg.Precision = time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &DB{where: where, cfg: cfg, log: cfg.Logger, checking: make(chan struct{}, 1)} // one finds out
	d.checking <- struct{}{}
	if where.routing() {
		d.bookmarks = neo4j.NewBookmarkManager(neo4j.BookmarkManagerConfig{})
	}
	d.driver, err = neo4j.NewDriverWithContext(where.server(), neo4j.BasicAuth(where.user, cfg.Password, ""),
		func(c *config.Config) {
			c.UserAgent = "weir"
			c.MaxConnectionPoolSize = poolSize
			c.SocketConnectTimeout = cfg.ConnectTimeout
			c.ConnectionAcquisitionTimeout = 30 * time.Second
			c.ConnectionLivenessCheckTimeout = livenessCheck
			c.TelemetryDisabled = true
			c.NotificationsMinSeverity = notifications.DisabledLevel
		})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return d, nil
}

// Location returns the URI of the database, without secrets.
func (d *DB) Location() string { return d.where.String() }

// Close ends the connections.
func (d *DB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.driver.Close(ctx); err != nil {
		return fmt.Errorf("close the connections to %s: %w", d.where, err)
	}
	return nil
}

// ready checks the server and the database, once it succeeded no more.
func (d *DB) ready(ctx context.Context) error {
	if d.checked.Load() {
		return nil
	}
	select {
	case <-d.checking:
		defer func() { d.checking <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if d.checked.Load() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, d.cfg.ConnectTimeout)
	defer cancel()
	has, err := d.check(limited)
	if err != nil {
		return d.explain(ctx, err)
	}
	if !has {
		if !d.cfg.Create {
			return d.failure(NoStore, nil, "there is no weir store in this database: make one with --init")
		}
		// Making indexes may take long where there is something already.
		if err := d.makeSchema(ctx); err != nil {
			return err
		}
	}
	d.checked.Store(true)
	return nil
}

// check reports whether the database has a store.
func (d *DB) check(ctx context.Context) (bool, error) {
	info, err := d.driver.GetServerInfo(ctx)
	if err != nil {
		return false, err
	}
	if err := d.checkVersion(info.Agent()); err != nil {
		return false, err
	}
	var formats []int64
	err = d.once(ctx, neo4j.AccessModeRead, d.cfg.QueryTimeout, func(t *tx) error {
		return t.each(`MATCH (s:Store) RETURN s.format AS format LIMIT 2`, nil, func(r *neo4j.Record) error {
			f, _, err := neo4j.GetRecordValue[int64](r, "format")
			formats = append(formats, f)
			return err
		})
	})
	switch {
	case err != nil:
		return false, err
	case len(formats) == 0:
		return false, nil
	case len(formats) > 1:
		return false, d.failure(Database, nil, "there are several nodes with the label Store, not made by weir")
	case formats[0] != format:
		return false, d.failure(Version, nil, fmt.Sprintf(
			"the store has format %d, this version of weir knows format %d", formats[0], format))
	}
	return true, nil
}

// checkVersion says whether a server is new enough; agent is as "Neo4j/5.26.30".
func (d *DB) checkVersion(agent string) error {
	version, ok := strings.CutPrefix(agent, "Neo4j/")
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	second, _, _ = strings.Cut(second, "-") // as in 5.27-aura
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(second)
	if !ok || err1 != nil || err2 != nil {
		return d.failure(Version, nil, fmt.Sprintf("the server is not Neo4j: it says it is %.50q", agent))
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return d.failure(Version, nil, fmt.Sprintf(
			"the server's version is too old: it is Neo4j %s, weir needs %d.%d or newer", version, minMajor, minMinor))
	}
	return nil
}

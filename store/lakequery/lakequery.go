// SPDX-License-Identifier: Apache-2.0

// Package lakequery answers questions about a lake: it reads the parts that
// the manifest names with DuckDB, in this process. A DB may stay open while
// others write: each query sees one consistent snapshot.
package lakequery

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/store"
	"weir/store/lake"
)

// Config says how much a DB may use. The zero value means the defaults.
type Config struct {
	// Memory bounds what DuckDB holds in memory, in bytes (default 1 GiB);
	// larger queries spill into files.
	Memory int64
	// Threads is the number of threads that run queries (default: one a
	// processor).
	Threads int
	// TempDir is where queries spill to (default: the system's).
	TempDir string
	// MaxTemp bounds the spilled files, in bytes (default 16 GiB).
	MaxTemp int64
}

// Defaults of Config.
const (
	DefaultMemory  = 1 << 30
	DefaultMaxTemp = 16 << 30
	// minMemory is what DuckDB needs to read a row group with a few threads.
	minMemory = 64 << 20
)

// Validate reports settings that make no sense.
func (c Config) Validate() error {
	if c.Memory != 0 && c.Memory < minMemory {
		return fmt.Errorf("memory %d is below the least of %d bytes", c.Memory, int64(minMemory))
	}
	if c.Threads < 0 {
		return fmt.Errorf("threads %d is negative", c.Threads)
	}
	if c.MaxTemp < 0 {
		return fmt.Errorf("space for temporary files %d is negative", c.MaxTemp)
	}
	return nil
}

// DB is an open lake. It is safe for concurrent use.
type DB struct {
	*lakeDB
	// notes is where queries are noted instead of running them, nil where they run.
	notes *notes
}

// lakeDB is what a DB and those that only explain its queries share.
type lakeDB struct {
	path string // as given, for messages
	root string // absolute, as DuckDB sees it
	temp string // removed by Close
	db   *sql.DB
	// pageFlows is how many flows are gathered at once.
	pageFlows int

	threads int

	places places
	// mu guards manifest, which is replaced together with the views; version, which
	// grows whenever these are made anew; made, the state of places by then; pins,
	// which numbers pinned snapshots; and verified, the sums of the parts that were
	// found to be good, by their paths.
	mu       sync.Mutex
	manifest *lake.Manifest
	version  int64
	made     int64
	pins     int64
	verified map[string]string
}

var _ store.Reader = (*DB)(nil)

// Open opens the lake at path for queries.
func Open(ctx context.Context, path string, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d, err := open(ctx, path, cfg)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return d, nil
}

func open(ctx context.Context, path string, cfg Config) (*DB, error) {
	// Whether it is a store at all is cheap to know.
	if _, err := lake.ReadManifest(path); err != nil {
		return nil, err
	}
	root, err := absolute(path)
	if err != nil {
		return nil, err
	}
	d := &DB{lakeDB: &lakeDB{path: path, root: root}}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	d.db = sql.OpenDB(connector)
	if err := d.configure(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("set up DuckDB: %w", err), d.Close())
	}
	if err := d.Refresh(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// absolute returns the path of the store for DuckDB, which takes some
// characters of file names as patterns and knows no way to quote them.
func absolute(path string) (string, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(root, "*?[") {
		return "", fmt.Errorf("%s: a store's path must not contain any of * ? [", root)
	}
	return root, nil
}

// configure sets limits and closes the sandbox, for good.
func (d *DB) configure(ctx context.Context, cfg Config) error {
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.MaxTemp == 0 {
		cfg.MaxTemp = DefaultMaxTemp
	}
	if cfg.Threads == 0 {
		cfg.Threads = runtime.GOMAXPROCS(0)
	}
	d.pageFlows = int(cfg.Memory / flowBytes)
	d.threads = cfg.Threads
	temp, err := os.MkdirTemp(cfg.TempDir, "weir-query-")
	if err != nil {
		return err
	}
	d.temp = temp
	for _, setting := range []string{
		"TimeZone = 'UTC'",
		fmt.Sprintf("memory_limit = '%d B'", cfg.Memory),
		fmt.Sprintf("threads = %d", cfg.Threads),
		"temp_directory = " + quote(temp),
		fmt.Sprintf("max_temp_directory_size = '%d B'", cfg.MaxTemp),
		"autoinstall_known_extensions = false",
		"autoload_known_extensions = false",
		"parquet_metadata_cache = true",
		"preserve_insertion_order = false",
		"allowed_directories = [" + quote(d.root) + "]",
		"enable_external_access = false",
		"lock_configuration = true",
	} {
		if _, err := d.db.ExecContext(ctx, "SET GLOBAL "+setting); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	for _, macro := range macros() {
		if _, err := d.db.ExecContext(ctx, macro); err != nil {
			return err
		}
	}
	return nil
}

// Close frees what the DB holds.
func (d *DB) Close() error {
	err := d.db.Close()
	if d.temp != "" {
		err = errors.Join(err, os.RemoveAll(d.temp))
	}
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Refresh makes what was committed meanwhile visible to the queries that
// follow.
func (d *DB) Refresh(ctx context.Context) error {
	// Under the lock what is read later is newer, whatever its generation: the
	// store may have been made anew.
	d.mu.Lock()
	defer d.mu.Unlock()
	var tried int64
	for try := 1; ; try++ {
		m, err := lake.ReadManifest(d.path)
		if err != nil {
			return err
		}
		if d.manifest != nil && d.manifest.Generation == m.Generation {
			return nil
		}
		err = d.install(ctx, m)
		// Parts may leave the store between the two; then there is a new manifest.
		if err == nil || !isIO(err) || try == maxTries || m.Generation == tried {
			return err
		}
		tried = m.Generation
	}
}

// snapshot returns the manifest that the views stand for. It is not changed.
func (d *DB) snapshot() *lake.Manifest {
	m, _ := d.installed()
	return m
}

// installed returns the manifest that the views stand for, nil if there is none
// yet, and the version of the views.
func (d *DB) installed() (*lake.Manifest, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.manifest, d.version
}

// install replaces the views, all at once, by those of a manifest. The caller
// holds d.mu.
func (d *DB) install(ctx context.Context, m *lake.Manifest) error {
	if err := d.verify(ctx, m); err != nil {
		return err
	}
	if err := d.replaceViews(ctx, m); err != nil {
		return err
	}
	d.places.forget(m)
	d.manifest = m
	return nil
}

// replaceViews makes the views of a manifest anew, all at once. The caller holds
// d.mu.
func (d *DB) replaceViews(ctx context.Context, m *lake.Manifest) error {
	err := d.following(ctx, m.Parts, func() error {
		d.made = d.places.moves()
		return d.inOne(ctx, d.views(m))
	})
	if err != nil {
		return fmt.Errorf("make views: %w", err)
	}
	d.version++
	return nil
}

// inOne executes statements in one transaction.
func (d *DB) inOne(ctx context.Context, statements []string) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, text := range statements {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// maxTries is how many snapshots a query takes at most, because parts vanished
// under it, see trying.
const maxTries = 20

// query runs a query. Where a part has left its place since the snapshot was
// taken, it starts again: nothing of the result was seen yet, since DuckDB
// returns when the result is complete.
func (d *DB) query(ctx context.Context, text string, args ...any) (rows *sql.Rows, err error) {
	err = d.trying(ctx, func() error {
		rows, err = d.run(ctx, text, args...)
		return err
	})
	return rows, err
}

// explain says more about an error of DuckDB.
func (d *DB) explain(ctx context.Context, err error) error {
	if derr := new(duckdb.Error); errors.As(err, &derr) && derr.Type == duckdb.ErrorTypeOutOfMemory {
		// DuckDB's advice is about settings that nobody can change here.
		return store.ErrMemory
	}
	return d.damage(ctx, err)
}

// isIO reports whether a file could not be read.
func isIO(err error) bool {
	var derr *duckdb.Error
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &derr) && derr.Type == duckdb.ErrorTypeIO
}

// quote returns a text as a literal of SQL.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// ident returns a name as an identifier of SQL.
func ident(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/store/lake"
	"weir/store/neo4j"
)

// spoolMark is the file of a spool that says which database it is for.
const spoolMark = ".spool"

// openSpool opens the spool of a database. A store that is none is refused, since
// what was sent leaves the spool, and so is the spool of another database.
func (o *options) openSpool(log *slog.Logger) (*lake.Lake, error) {
	// Nobody asks a spool questions: what was sent can go at once.
	spool, err := lake.Open(o.spoolDir, lake.Config{
		Create: true, Version: buildVersion(), Logger: log, Grace: time.Millisecond,
	})
	if err == nil {
		err = markSpool(spool, &o.server)
	}
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	return spool, nil
}

// markSpool makes sure that a spool is for a database.
func markSpool(spool *lake.Lake, server *neo4j.Endpoint) error {
	name, own := filepath.Join(spool.Path(), spoolMark), server.String()
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	marked := strings.TrimSpace(string(text))
	if marked == own {
		return nil
	}
	m, err := spool.Manifest()
	if err != nil {
		return err
	}
	switch {
	case len(m.Parts) == 0 && len(m.Imports) == 0:
	case marked == "":
		return fmt.Errorf("%s is a store, and records would leave it: name another directory with --spool", spool.Path())
	default:
		return fmt.Errorf("in %s records wait for the database %s, not for %s: name another directory with --spool, or, if it is the same database, write %s into %s",
			spool.Path(), marked, own, own, name)
	}
	if err := os.WriteFile(name, []byte(own+"\n"), 0o644); err != nil { //nolint:gosec // no secret, and another user reads it
		return err
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"weir/internal/config"
	"weir/store/neo4j"
)

// noStore is the name of no store at all.
const noStore = "none"

// chooseStores tells directory and database apart, and checks the flags that are
// about one of them; given are those on the command line.
func (o *options) chooseStores(given map[string]bool) error {
	names := o.stores
	if len(names) == 0 {
		name, err := config.DefaultStore()
		if err != nil {
			return err
		}
		names = []string{name}
	}
	o.dir, o.uri = "", ""
	for _, name := range names {
		switch {
		case name == "":
			return errors.New("--store: the name of a store is empty")
		case name == noStore:
			if len(names) > 1 {
				return errors.New("--store none stands alone")
			}
		case neo4j.IsURI(name):
			server, err := neo4j.ParseURI(name)
			if err != nil {
				return fmt.Errorf("--store: %w", err)
			}
			if o.uri != "" {
				return fmt.Errorf("--store names two databases, %s and %s: there can be one, and one directory", o.uri, name)
			}
			o.server = server
			o.uri = name
		case strings.Contains(name, "://"):
			scheme, _, _ := strings.Cut(name, "://")
			return fmt.Errorf("--store: %s:// is not the scheme of a store: write neo4j:// or bolt:// (with +s or +ssc for TLS), or a directory", scheme)
		case o.dir != "":
			return fmt.Errorf("--store names two directories, %s and %s: there can be one, and one database", o.dir, name)
		default:
			o.dir = name
		}
	}
	return o.checkStores(given)
}

// checkStores checks the flags that are about a store of one sort.
func (o *options) checkStores(given map[string]bool) error {
	if o.uri == "" {
		for _, name := range []string{"password-file", "spool", "spool-size"} {
			if given[name] {
				return fmt.Errorf("--%s needs a database (--store neo4j://…)", name)
			}
		}
		if o.dir == "" && (o.init || o.replace) {
			return errors.New("--init and --replace need a store")
		}
		return nil
	}
	if o.dir == "" {
		for _, name := range []string{"retain", "max-size", "no-compact"} {
			if given[name] {
				return fmt.Errorf("--%s is for a store that is a directory; from a database, flowcli expire removes what is old", name)
			}
		}
	}
	if o.replace {
		return errors.New("--replace: a database adds up what it is sent and cannot take it apart again; " +
			"read into a directory, whose captures can be replaced, or empty the database with --init and read everything again")
	}
	if o.spool == "" {
		spool, err := config.DefaultSpool(o.server.Host, o.server.Port, o.server.Database)
		if err != nil {
			return err
		}
		o.spoolDir = spool
	} else {
		o.spoolDir = o.spool
	}
	if o.dir != "" && filepath.Clean(o.dir) == filepath.Clean(o.spoolDir) {
		return fmt.Errorf("--spool and --store are the same directory, %s", o.dir)
	}
	if o.spoolSize == 0 {
		return errors.New("--spool-size 0 leaves no room for anything")
	}
	return nil
}

// places names the stores for people.
func (o *options) places() string {
	var names []string
	for _, name := range []string{o.dir, o.uri} {
		if name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return noStore
	}
	return strings.Join(names, " and ")
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// DefaultStore returns the store that is used where none is named:
// $WEIR_STORE, else /var/lib/weir for root, else $XDG_DATA_HOME/weir
// (~/.local/share/weir).
func DefaultStore() (string, error) {
	if s := os.Getenv("WEIR_STORE"); s != "" {
		return s, nil
	}
	dir, err := dataDir("weir")
	if err != nil {
		return "", fmt.Errorf("find the default store: %w", err)
	}
	return dir, nil
}

// dataDir returns where this user keeps data of a name.
func dataDir(name string) (string, error) {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib", name), nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "share", name), nil
}

// SpoolRoot returns the directory below which the spools of Neo4j databases are
// where none is named: beside the default store, /var/lib/weir-spool for root, else
// $XDG_DATA_HOME/weir-spool (~/.local/share/weir-spool).
func SpoolRoot() (string, error) {
	root, err := dataDir("weir-spool")
	if err != nil {
		return "", fmt.Errorf("find the default spool: %w", err)
	}
	return root, nil
}

// DefaultSpool returns the spool of a database: a directory below SpoolRoot whose
// name is made of host, port and the database's name, "" for the home database.
func DefaultSpool(host string, port uint16, database string) (string, error) {
	root, err := SpoolRoot()
	if err != nil {
		return "", err
	}
	name := url.QueryEscape(strings.ToLower(host)) + "_" + strconv.Itoa(int(port))
	if database != "" {
		name += "_" + url.QueryEscape(strings.ToLower(database))
	}
	return filepath.Join(root, name), nil
}

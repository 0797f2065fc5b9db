// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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

// DefaultSpool returns the spool of the database that uri names: a directory
// below SpoolRoot whose name is made of host, port and database. The user and the
// way of encryption make no difference.
func DefaultSpool(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		// The error of url.Parse has the URI, and a password that is in it.
		return "", errors.New("find the default spool: the URI has no host")
	}
	root, err := SpoolRoot()
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		port = defaultBoltPort
	}
	name := url.QueryEscape(strings.ToLower(u.Hostname())) + "_" + port
	if database := strings.Trim(u.Path, "/"); database != "" {
		name += "_" + url.QueryEscape(strings.ToLower(database))
	}
	return filepath.Join(root, name), nil
}

// defaultBoltPort is where a Neo4j server listens.
const defaultBoltPort = "7687"

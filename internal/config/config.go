// SPDX-License-Identifier: Apache-2.0

// Package config finds and reads weir's settings: the defaults of the machine,
// weir.toml, and the environment.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// Sections are the tables of weir.toml, named after the programs.
func Sections() []string { return []string{"sensor", "flowcli"} }

// Apply sets every flag that was not given on the command line from the
// environment (WEIR_STORE for --store) or else from weir.toml: from a key of the
// table [section], or from the key store at the top, which holds for every
// program. path names the file; if empty, it is $WEIR_CONFIG, else the first
// of /etc/weir/weir.toml and $XDG_CONFIG_HOME/weir/weir.toml that exists.
// Unknown keys, and values that a flag refuses, are errors that name the file
// and the key. The flags in skip are never set.
func Apply(flags *pflag.FlagSet, section, path string, skip ...string) error {
	file, err := Find(path)
	if err != nil {
		return err
	}
	values := map[string][]string{}
	if file != "" {
		if values, err = read(file, section, flags); err != nil {
			return err
		}
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || slices.Contains(skip, f.Name) {
			return
		}
		env := "WEIR_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(env); ok && v != "" {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("environment %s: %w", env, err))
			}
			return
		}
		for _, v := range values[f.Name] {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: key %q: %w", file, f.Name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Find returns the name of the file that Apply reads, "" if there is none.
func Find(path string) (string, error) {
	if path == "" {
		path = os.Getenv("WEIR_CONFIG")
	}
	if path != "" {
		return path, nil
	}
	candidates := []string{"/etc/weir/weir.toml"}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "weir", "weir.toml"))
	}
	for i, name := range candidates {
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		// A home that this user may not enter is somebody else's, whose variables
		// are still set.
		if i > 0 && errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return "", fmt.Errorf("find configuration: %w", err)
	}
	return "", nil
}

// read returns the values of the file for one program, by flag name. A list
// gives its flag several values.
func read(file, section string, flags *pflag.FlagSet) (map[string][]string, error) {
	var doc map[string]any
	if _, err := toml.DecodeFile(file, &doc); err != nil {
		if bad, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("%s:%d: %s", file, bad.Position.Line, bad.Message)
		}
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	values := map[string][]string{}
	own := map[string]any{}
	for key, v := range doc {
		table, isTable := v.(map[string]any)
		switch {
		case isTable && key == section:
			own = table
		case isTable && slices.Contains(Sections(), key):
		case isTable:
			return nil, fmt.Errorf("%s: unknown table [%s], known are %s", file, key, strings.Join(Sections(), ", "))
		case key == "store":
			// What holds for every program; a flag set may lack it.
			if flags.Lookup(key) != nil {
				values[key] = texts(v)
			}
		default:
			return nil, fmt.Errorf("%s: unknown key %q outside of a table", file, key)
		}
	}
	for key, v := range own {
		if flags.Lookup(key) == nil {
			return nil, fmt.Errorf("%s: unknown key %q in [%s]", file, key, section)
		}
		values[key] = texts(v)
	}
	return values, nil
}

// texts returns a value as flags take it.
func texts(v any) []string {
	list, ok := v.([]any)
	if !ok {
		return []string{fmt.Sprint(v)}
	}
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = fmt.Sprint(x)
	}
	return out
}

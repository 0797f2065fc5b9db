// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir/internal/command"
)

// format is how an answer is written.
type format string

// Formats. Pictures have no flag: the suffix of --output names them.
const (
	asText   format = "text"
	asJSON   format = "json"
	asNDJSON format = "ndjson"
	asCSV    format = "csv"
	asSVG    format = "svg"
	asPNG    format = "png"
)

// formats are the words of --format.
func formats() []string {
	return []string{string(asText), string(asJSON), string(asNDJSON), string(asCSV)}
}

// picture reports whether the format draws an answer instead of writing it.
func (f format) picture() bool { return f == asSVG || f == asPNG }

// outputOptions are the flags that say how and where an answer is written. They
// are the same for lists, SQL and Cypher.
type outputOptions struct {
	format            string
	json, ndjson, csv bool
	separator         string
	// plain says that the command line has the separator; one from a configuration
	// file holds for text only.
	plain bool
	file  fileName
}

// fileName is the name of a file, which is never empty.
type fileName string

func (n *fileName) String() string { return string(*n) }
func (n *fileName) Type() string   { return "file" }

// Set implements pflag.Value.
func (n *fileName) Set(name string) error {
	if name == "" {
		return errors.New("the name of the file is empty")
	}
	*n = fileName(name)
	return nil
}

// addFlags adds them to a command: those of every command that prints an answer.
func (t *outputOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&t.format, "format", "", "print the answer as `text`, json (one document), ndjson (an object a line) or csv")
	f.BoolVarP(&t.json, "json", "j", false, "short for --format json: one array, written as it comes; --count prints one object")
	f.BoolVar(&t.ndjson, "ndjson", false, "short for --format ndjson")
	f.BoolVar(&t.csv, "csv", false, "short for --format csv: with a header, times in UTC, lists as JSON; what a spreadsheet would take for a formula starts with an apostrophe")
	f.StringVarP(&t.separator, "separator", "s", "", "print this `text` between columns, without padding and header")
	f.Var(&t.file, "output", "write to this `file`, which is there when it is complete; where no flag says the format, its suffix does: .txt .json .ndjson .csv .svg .png")
}

// completions says how shells complete their values.
func (t *outputOptions) completions() map[string]cobra.CompletionFunc {
	return map[string]cobra.CompletionFunc{"format": command.Words(formats()...), "output": command.Files()}
}

// flagOf returns the flag that says the format, and the format, "" for none.
func (t *outputOptions) flagOf() (flag string, f format, err error) {
	var given []string
	add := func(set bool, name string, is format) {
		if set {
			given, f = append(given, name), is
		}
	}
	add(t.json, "--json", asJSON)
	add(t.ndjson, "--ndjson", asNDJSON)
	add(t.csv, "--csv", asCSV)
	if t.format != "" {
		is := format(t.format)
		if is == "table" { // the word that sql and cypher had before
			is = asText
		}
		switch is {
		case asText, asJSON, asNDJSON, asCSV:
		case asSVG, asPNG:
			return "", "", fmt.Errorf("--format %s: write --output NAME.%[1]s", is)
		default:
			return "", "", fmt.Errorf("--format %q is none of %s", t.format, strings.Join(formats(), ", "))
		}
		add(true, "--format", is)
	}
	add(t.separator != "" && t.plain, "--separator", asText)
	if t.separator == "" && t.plain {
		return "", "", errors.New("--separator is empty: columns would run into each other")
	}
	if len(given) > 1 && !t.agree() {
		return "", "", fmt.Errorf("%s and %s exclude each other", given[0], given[1])
	}
	if len(given) > 0 {
		flag = given[0]
	}
	return flag, f, nil
}

// agree reports whether all flags that are given say the same.
func (t *outputOptions) agree() bool {
	said := make(map[format]bool)
	for f, set := range map[format]bool{asJSON: t.json, asNDJSON: t.ndjson, asCSV: t.csv, asText: t.separator != "" && t.plain} {
		if set {
			said[f] = true
		}
	}
	switch t.format {
	case "":
	case "table":
		said[asText] = true
	default:
		said[format(t.format)] = true
	}
	return len(said) == 1
}

// wanted returns the format that flags and file say.
func (t *outputOptions) wanted() (format, error) {
	flag, f, err := t.flagOf()
	if err != nil {
		return "", usage(err)
	}
	if t.file == "" {
		if f == "" {
			f = asText
		}
		return f, nil
	}
	suffix := strings.TrimPrefix(strings.ToLower(filepath.Ext(string(t.file))), ".")
	is := format(suffix)
	switch suffix {
	case "txt":
		is = asText
	case "jsonl":
		is = asNDJSON
	case "json", "ndjson", "csv", "svg", "png":
	default:
		is = ""
	}
	switch {
	case is.picture() && f != "":
		return "", usage(fmt.Errorf("%s does not go with --output %s, which is a picture", flag, t.file))
	case f != "":
		return f, nil
	case is != "":
		return is, nil
	case suffix == "" || !regularOrNew(string(t.file)):
		return asText, nil
	}
	return "", usage(fmt.Errorf("--output %s: no format has the suffix .%s; say --format, or name it .txt, .json, .ndjson, .csv, .svg or .png", t.file, suffix))
}

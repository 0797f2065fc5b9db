// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/term"
)

// writeJSON writes a value as one line of JSON that no terminal acts on.
func writeJSON(w io.Writer, v any) error {
	line, err := encodeJSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return term.EscapeJSON(bytes.TrimRight(b.Bytes(), "\n")), nil
}

// jsonValue returns a value of a raw query for JSON: what JSON has no number
// for becomes text.
func jsonValue(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case []byte:
		return hex.EncodeToString(v)
	case time.Time:
		return v.UTC()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = jsonValue(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = jsonValue(e)
		}
		return out
	}
	return v
}

// cellText returns a value of a raw query for people. Times are in UTC.
func cellText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case *big.Int:
		return v.String()
	case json.Number:
		return v.String()
	case []byte:
		return hex.EncodeToString(v)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.999999")
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = cellText(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		if text, ok := graphText(v); ok {
			return text
		}
		keys := slices.Sorted(maps.Keys(v))
		for i, k := range keys {
			keys[i] = k + ": " + cellText(v[k])
		}
		return "{" + strings.Join(keys, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// graphText returns a node or a relation of a graph as Cypher writes them:
// (:Host {addr: 10.0.0.1}), [:INTEL {count: 1}].
func graphText(v map[string]any) (string, bool) {
	properties, ok := v["properties"].(map[string]any)
	if !ok || len(v) != 2 {
		return "", false
	}
	text := ""
	if len(properties) > 0 {
		text = " " + cellText(properties)
	}
	if typ, ok := v["type"].(string); ok {
		return "[:" + typ + text + "]", true
	}
	labels, ok := v["labels"].([]any)
	if !ok {
		return "", false
	}
	names := ""
	for _, l := range labels {
		names += ":" + cellText(l)
	}
	return "(" + strings.TrimPrefix(names+text, " ") + ")", true
}

// csvText returns a value of a raw query for a CSV file: times in RFC 3339,
// lists as JSON. A text that a spreadsheet would take for a formula gets an
// apostrophe in front, and control characters are written as \xNN.
func csvText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		text := term.Escape(v)
		// Some take the wide forms for the same.
		if strings.IndexAny(v, "=+-@\t\r\uff1d\uff0b\uff0d\uff20") == 0 {
			text = "'" + text
		}
		return text, nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case []any, map[string]any:
		text, err := encodeJSON(jsonValue(v))
		return string(text), err
	}
	return cellText(v), nil
}

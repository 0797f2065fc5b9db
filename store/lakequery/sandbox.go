// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/store"
)

// maxQuery bounds the text of a raw query.
const maxQuery = 1 << 20

// onlySelect is what people are told whose query is something else.
const onlySelect = "only a single SELECT (also WITH, FROM, VALUES, DESCRIBE, SHOW TABLES, SUMMARIZE) is allowed"

// tableFunctions lists the functions that a raw query may use in place of a
// table. The others read files, change settings (enable_logging even writes
// files), run queries given as text, or take addresses in memory.
func tableFunctions() []string {
	return []string{
		"unnest", "range", "generate_series", "repeat", "repeat_row", "json_each", "json_tree",
		"summary", "histogram", "histogram_values", "duckdb_columns", "duckdb_tables",
		"duckdb_views", "duckdb_functions", "duckdb_types", "duckdb_keywords",
		"pragma_table_info", "pragma_version", "pg_timezone_names",
	}
}

// deniedFunctions lists the scalar functions with an effect beyond the result.
func deniedFunctions() []string { return []string{"write_log"} }

// parsed is DuckDB's syntax tree of a text, as json_serialize_sql returns it.
type parsed struct {
	Error      bool   `json:"error"`
	Type       string `json:"error_type"`
	Message    string `json:"error_message"`
	Position   string `json:"position"`
	Statements []any  `json:"statements"`
}

// check refuses a raw query that is not one SELECT, or uses functions that
// reach out of the store, before anything of it is prepared: preparing some
// statements already has effects (EXPORT DATABASE makes a directory).
func (d *DB) check(ctx context.Context, text string) error {
	if len(text) > maxQuery {
		return refuse("the query has %d bytes, more than %d", len(text), maxQuery)
	}
	var tree string
	row := d.db.QueryRowContext(ctx, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", text)
	if err := row.Scan(&tree); err != nil {
		return rawError(ctx, err)
	}
	var p parsed
	if err := json.Unmarshal([]byte(tree), &p); err != nil {
		return fmt.Errorf("read syntax tree: %w", err)
	}
	switch {
	case p.Error && p.Type == "parser":
		e := &store.QueryError{Msg: p.Message, Offset: -1}
		if n := 0; p.Position != "" {
			if _, err := fmt.Sscan(p.Position, &n); err == nil && n >= 0 && n <= len(text) {
				e.Offset = n
			}
		}
		return e
	case p.Error:
		return refuse(onlySelect)
	case len(p.Statements) != 1:
		return refuse("%s; this has %d statements", onlySelect, len(p.Statements))
	}
	return checkTree(p.Statements[0])
}

func refuse(format string, args ...any) error {
	return &store.QueryError{Msg: fmt.Sprintf(format, args...), Offset: -1}
}

// checkTree looks at every function in a syntax tree.
func checkTree(node any) error {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			if err := checkTree(child); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := checkNode(node); err != nil {
			return err
		}
		for _, child := range node {
			if err := checkTree(child); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNode(node map[string]any) error {
	if node["type"] == "TABLE_FUNCTION" {
		call, _ := node["function"].(map[string]any)
		name, _ := call["function_name"].(string)
		if !slices.Contains(tableFunctions(), strings.ToLower(name)) {
			return refuseAt(call, "the function %q is not allowed in place of a table; use the tables, and unnest or range", name)
		}
	}
	if name, _ := node["table_name"].(string); node["type"] == "BASE_TABLE" && strings.ContainsAny(name, "./:*") {
		// DuckDB takes it for a file's name, where no table has it.
		return refuseAt(node, "the table %q does not exist, and files cannot be read", name)
	}
	if name, ok := node["function_name"].(string); ok {
		if slices.Contains(deniedFunctions(), strings.ToLower(name)) {
			return refuseAt(node, "the function %q is not allowed", name)
		}
	}
	return nil
}

// refuseAt refuses what a node of the syntax tree stands for.
func refuseAt(node map[string]any, format string, args ...any) error {
	e := &store.QueryError{Msg: fmt.Sprintf(format, args...), Offset: -1}
	// A node without a place in the text has the greatest 64-bit number.
	if at, ok := node["query_location"].(float64); ok && at >= 0 && at < math.MaxInt32 {
		e.Offset = int(at)
	}
	return e
}

// prepareSelect makes sure that DuckDB takes the text for one SELECT, too.
func prepareSelect(conn *sql.Conn, text string) error {
	return conn.Raw(func(c any) error {
		s, err := c.(*duckdb.Conn).Prepare(text)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		typ, err := s.(*duckdb.Stmt).StatementType()
		switch {
		case err != nil:
			return err
		case typ != duckdb.STATEMENT_TYPE_SELECT:
			return refuse(onlySelect)
		case s.NumInput() > 0:
			return refuse("parameters ($1, ?) have no value here: write the values")
		}
		return nil
	})
}

// rawError says whether an error of a raw query lies in its text.
func rawError(ctx context.Context, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	var derr *duckdb.Error
	if !errors.As(err, &derr) {
		return err
	}
	switch derr.Type {
	case duckdb.ErrorTypeIO, duckdb.ErrorTypeInternal, duckdb.ErrorTypeFatal, duckdb.ErrorTypeInterrupt:
		return err
	case duckdb.ErrorTypeOutOfMemory:
		return store.ErrMemory
	case duckdb.ErrorTypePermission:
		return refuse("files outside of the tables cannot be read")
	}
	return &store.QueryError{Msg: derr.Msg, Offset: -1}
}

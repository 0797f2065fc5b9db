// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/store"
)

// tree lists the files below a directory and their sizes.
func tree(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files := make(map[string]int64)
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		files[name] = fi.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRawRefuses(t *testing.T) {
	path := testLake(t)
	dir := filepath.Dir(path)
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("name\nhush-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, path)
	_ = os.Symlink(secret, filepath.Join(path, "link.csv"))
	before := tree(t, dir)

	queries := []string{
		// Other statements.
		"", " ; ", "-- nothing",
		"COPY conn TO '@/out.csv'", "COPY (SELECT 1) TO '@/store/conn/out.parquet' (FORMAT parquet)",
		"COPY conn FROM '@/secret.csv'",
		"EXPORT DATABASE '@/store/exported'", "IMPORT DATABASE '@/store'",
		"ATTACH '@/store/x.db'", "ATTACH ':memory:' AS m", "DETACH memory", "USE memory",
		"INSTALL httpfs", "LOAD httpfs", "FORCE INSTALL httpfs FROM '@'",
		"SET threads = 7", "SET GLOBAL enable_external_access = true", "RESET lock_configuration",
		"SET VARIABLE x = 1", "PRAGMA threads = 7", "PRAGMA version", "PRAGMA enable_profiling",
		"PRAGMA import_database('@')", "CALL pragma_version()", "CALL enable_logging()",
		"CREATE TABLE t AS SELECT 1", "CREATE TEMP VIEW v AS SELECT 1", "CREATE MACRO f(x) AS x",
		"CREATE OR REPLACE VIEW conn AS SELECT 1", "DROP VIEW conn", "ALTER VIEW conn RENAME TO c",
		"CREATE SECRET (TYPE http)", "INSERT INTO conn SELECT * FROM conn", "DELETE FROM conn",
		"UPDATE conn SET src = ''", "MERGE INTO conn USING dns ON true WHEN MATCHED THEN DELETE",
		"BEGIN", "COMMIT", "ROLLBACK", "CHECKPOINT", "VACUUM", "ANALYZE",
		"PREPARE p AS SELECT 1", "EXECUTE p", "DEALLOCATE p",
		"EXPLAIN SELECT 1", "EXPLAIN ANALYZE COPY conn TO '@/out.csv'",
		// Several statements, and statements inside of others.
		"SELECT 1; SELECT 2", "SELECT 1; COPY conn TO '@/out.csv'", "COPY conn TO '@/out.csv'; SELECT 1",
		"SELECT 1;;DROP VIEW conn", "SELECT 1 -- x\n; SET threads = 7",
		"WITH x AS (COPY conn TO '@/out.csv') SELECT 1",
		"WITH x AS (DELETE FROM conn RETURNING *) SELECT * FROM x",
		"WITH x AS (SELECT 1) INSERT INTO conn SELECT * FROM x",
		"WITH x AS (SELECT 1) COPY x TO '@/out.csv'",
		"SELECT * FROM (COPY conn TO '@/out.csv')",
		// Files.
		"SELECT * FROM '@/secret.csv'", `SELECT * FROM "@/secret.csv"`, "DESCRIBE '@/secret.csv'",
		"SUMMARIZE '@/secret.csv'", "FROM '/etc/passwd.csv'",
		"SELECT * FROM read_csv('@/secret.csv')", "SELECT * FROM read_csv_auto('@/secret.csv')",
		"SELECT * FROM READ_TEXT('/etc/passwd')", "SELECT * FROM read_blob('/proc/self/environ')",
		"SELECT * FROM read_json('@/x')", "SELECT * FROM read_parquet('@/x')",
		"SELECT * FROM main.read_text('/etc/passwd')", "SELECT * FROM system.main.read_text('/etc/passwd')",
		`SELECT * FROM "read_text"('/etc/passwd')`, "SELECT * FROM glob('/etc/*')",
		"SELECT * FROM sniff_csv('@/secret.csv')", "SELECT * FROM parquet_metadata('@/x')",
		"SELECT (SELECT content FROM read_text('/etc/passwd'))",
		"SELECT 1 WHERE EXISTS (FROM read_text('/etc/passwd'))",
		"WITH x AS MATERIALIZED (FROM read_text('/etc/passwd')) SELECT * FROM x",
		"WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL (SELECT n + 1 FROM x, read_text('/etc/passwd'))) FROM x",
		"SELECT 1 UNION ALL SELECT size FROM read_text('/etc/passwd')",
		"SELECT * FROM conn, LATERAL (SELECT * FROM read_text('/etc/' || conn.proto))",
		"SELECT * FROM conn JOIN read_text('/etc/passwd') r ON true",
		"SELECT * FROM (PIVOT (FROM read_text('/etc/passwd')) ON size IN (1))",
		"SELECT list_transform([1], lambda x: (SELECT count(*) FROM read_text('/etc/passwd')))",
		"DESCRIBE (FROM read_text('/etc/passwd'))", "VALUES ((SELECT content FROM read_text('/etc/passwd')))",
		"SELECT * FROM '@/store/../secret.csv'", "SELECT * FROM '@/store/link.csv'",
		"SELECT * FROM 'https://example.com/x.csv'", "SELECT * FROM read_csv('s3://b/x')",
		// Functions with effects, and those that run texts.
		"SELECT * FROM enable_logging(storage = 'file', storage_path = '@/store/log')",
		"SELECT * FROM enable_logging()", "SELECT * FROM disable_logging()", "SELECT * FROM enable_profiling()",
		"SELECT * FROM truncate_duckdb_logs()", "SELECT write_log('x')", "SELECT * FROM checkpoint()",
		"SELECT * FROM force_checkpoint()", "SELECT * FROM query('SELECT 1')",
		"SELECT * FROM query_table('conn')", "SELECT * FROM arrow_scan(1::UBIGINT::POINTER, 2::UBIGINT::POINTER, 3::UBIGINT::POINTER)",
		"SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
		"SELECT * FROM sql_auto_complete('SEL')", "SELECT getenv('HOME')",
		"SELECT * FROM duckdb_secrets()", "SELECT * FROM nosuch()",
		// Mistakes.
		"SELEC 1", "SELECT * FROM nosuch", "SELECT nosuch FROM conn", "SELECT $1", "SELECT ?",
		"SELECT 'x'::INTEGER", strings.Repeat(" ", 1<<20) + "SELECT 1",
		"SELECT " + strings.Repeat("(", 20000) + "1" + strings.Repeat(")", 20000),
	}
	for _, query := range queries {
		query = strings.ReplaceAll(query, "@", dir)
		rows, err := db.Raw(t.Context(), query)
		if _, ok := errors.AsType[*store.QueryError](err); !ok {
			t.Errorf("Raw(%.200q) = %v, want a QueryError", query, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("Raw(%q) tells the file's content: %v", query, err)
		}
		if err == nil {
			rows.Close()
		}
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
	if n, err := db.Counts(t.Context(), store.Query{}); err != nil || n.Flows != 7 {
		t.Errorf("Counts() after that = %+v, %v, want 7 flows", n, err)
	}
	if _, rows := sqlRows(t, db, "SELECT current_setting('threads') <> 7, current_setting('enable_external_access')"); rows[0][0] != true || rows[0][1] != false {
		t.Errorf("settings changed: %v", rows)
	}
}

func TestRawErrorOffset(t *testing.T) {
	db := openDB(t, testLake(t))
	tests := []struct {
		query, part string
		offset      int
	}{
		{"SELECT 1 FROM WHERE", "syntax error", 14},
		{"SELECT * FROM read_text('/x')", "read_text", 14},
		{"DROP VIEW conn", "only a single SELECT", -1},
		{"SELECT 1; SELECT 2", "2 statements", -1},
	}
	for _, tc := range tests {
		var queryErr *store.QueryError
		_, err := db.Raw(t.Context(), tc.query)
		if !errors.As(err, &queryErr) || queryErr.Offset != tc.offset || !strings.Contains(queryErr.Msg, tc.part) {
			t.Errorf("Raw(%q) = %#v, want %q at %d", tc.query, err, tc.part, tc.offset)
		}
	}
}

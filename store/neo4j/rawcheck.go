// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store"
)

// explainPrefix makes the server plan a query without running it.
const explainPrefix = "EXPLAIN "

// checkRead refuses a query that does something else than reading the database.
// That the server refuses changes does not keep a query from reading the server's
// files (LOAD CSV) or ending what others do (TERMINATE, procedures): the plan shows it.
func (d *DB) checkRead(ctx context.Context, text string) error {
	s := d.session(ctx, neo4j.AccessModeRead)
	defer closeSession(ctx, s)
	var summary neo4j.ResultSummary
	result, err := s.Run(ctx, explainPrefix+text, nil, neo4j.WithTxTimeout(d.cfg.QueryTimeout))
	if err == nil {
		summary, err = result.Consume(ctx)
	}
	if e := new(neo4j.Neo4jError); errors.As(err, &e) && strings.Contains(e.Msg, "conflicting values for execution mode") {
		return &store.QueryError{Msg: "PROFILE is for a query's plan, which is not shown here: leave it out", Offset: -1}
	}
	if err != nil {
		return err
	}
	if plan := summary.Plan(); plan != nil {
		return checkPlan(plan)
	}
	return nil
}

// checkPlan refuses operators of a plan.
func checkPlan(p neo4j.Plan) error {
	operator, _, _ := strings.Cut(p.Operator(), "@")
	switch operator {
	case "LoadCSV":
		return notReading("LOAD CSV reads files and addresses outside of the database")
	case "TerminateTransactions":
		return notReading("TERMINATE TRANSACTIONS ends what others do")
	case "ProcedureCall":
		details, _ := p.Arguments()["Details"].(string)
		if name, _, _ := strings.Cut(details, "("); !readingProcedure(name) {
			return notReading(fmt.Sprintf("the procedure %.100s may do more than reading", name))
		}
	}
	for _, c := range p.Children() {
		if err := checkPlan(c); err != nil {
			return err
		}
	}
	return nil
}

// readingProcedure reports whether a procedure is known to do nothing but read the
// database. Those that others add to a server (APOC) may do anything.
func readingProcedure(name string) bool {
	switch name {
	case "dbms.components", "dbms.info", "dbms.showCurrentUser", "dbms.listCapabilities":
		return true
	case "db.clearQueryCaches":
		return false
	}
	return strings.HasPrefix(name, "db.")
}

// notReading returns the error for a query that may not run where only reading is
// allowed.
func notReading(why string) error {
	return &store.QueryError{Msg: why + ": only reading the database is allowed here", Offset: -1, Writes: true}
}

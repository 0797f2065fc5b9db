// SPDX-License-Identifier: Apache-2.0

package neo4j_test

import (
	"testing"

	"weir/store/neo4j"
)

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]neo4j.Endpoint{
		"bolt://neo4j@graph:17687/weir":      {Host: "graph", Port: 17687},
		"neo4j+s://graph.example.com":        {Host: "graph.example.com", Port: 7687, TLS: true, Routing: true},
		"bolt+ssc://neo4j@[2001:db8::1]:70/": {Host: "2001:db8::1", Port: 70, TLS: true},
	} {
		if got, err := neo4j.ParseURI(uri); err != nil || got != want {
			t.Errorf("ParseURI(%q) = %+v, %v, want %+v", uri, got, err, want)
		}
	}
	if got, err := neo4j.ParseURI("bolt://graph:0"); err == nil {
		t.Errorf("ParseURI() of port 0 = %+v, want an error", got)
	}
}

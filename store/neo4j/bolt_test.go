// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sort"
	"strings"
	"testing"
)

// fakeServer speaks as much Bolt 5.4 as it takes to open a database: for what no
// Neo4j Community server can be made to say.
type fakeServer struct {
	agent string
	// reply says what a query is answered with: the code of an error, or "" for no rows.
	reply func(query string) string
}

// Messages of Bolt.
const (
	boltHello    = 0x01
	boltGoodbye  = 0x02
	boltReset    = 0x0f
	boltRun      = 0x10
	boltSuccess  = 0x70
	boltIgnored  = 0x7e
	boltFailure  = 0x7f
	boltChunkMax = 0xffff
)

// start serves until the test ends, and returns the address.
func (f *fakeServer) start(t testing.TB) string {
	t.Helper()
	return serve(t, f.handle)
}

// serve calls handle for every connection until the test ends, and returns the
// address.
func serve(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, handle)
	return l.Addr().String()
}

// serveOn is serve with a listener.
func serveOn(t testing.TB, l net.Listener, handle func(net.Conn)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

// handle serves one connection.
func (f *fakeServer) handle(conn net.Conn) {
	var handshake [20]byte
	if _, err := io.ReadFull(conn, handshake[:]); err != nil {
		return
	}
	if _, err := conn.Write([]byte{0, 0, 4, 5}); err != nil {
		return
	}
	failed := false
	for {
		msg, err := readMessage(conn)
		if err != nil || len(msg) < 2 || msg[1] == boltGoodbye {
			return
		}
		var out []byte
		switch tag := msg[1]; {
		case tag == boltReset:
			failed = false
			out = message(boltSuccess, map[string]any{})
		case failed:
			out = message(boltIgnored, nil)
		case tag == boltHello:
			out = message(boltSuccess, map[string]any{"server": f.agent, "connection_id": "bolt-1"})
		case tag == boltRun && f.reply(queryOf(msg)) != "":
			failed = true
			out = message(boltFailure, map[string]any{"code": f.reply(queryOf(msg)), "message": "No write operations are allowed"})
		default:
			out = message(boltSuccess, map[string]any{"fields": []any{"format"}, "has_more": false, "type": "r"})
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// queryOf returns a RUN message from its query on; what follows does no harm.
func queryOf(msg []byte) string { return string(msg[2:]) }

// readMessage joins the chunks of a message.
func readMessage(r io.Reader) ([]byte, error) {
	var msg []byte
	for {
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint16(size[:])
		if n == 0 {
			if len(msg) == 0 {
				continue // keeps the connection alive
			}
			return msg, nil
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(r, chunk); err != nil {
			return nil, err
		}
		msg = append(msg, chunk...)
	}
}

// message returns a message of one chunk.
func message(tag byte, fields map[string]any) []byte {
	body := []byte{0xb0, tag}
	if fields != nil {
		body[0]++
		body = pack(body, fields)
	}
	var b bytes.Buffer
	b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(body))))
	b.Write(body)
	b.Write([]byte{0, 0})
	return b.Bytes()
}

// pack appends a small value in PackStream's form.
func pack(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case string:
		return append(append(b, 0xd0, byte(len(v))), v...)
	case []any:
		b = append(b, 0x90|byte(len(v)))
		for _, e := range v {
			b = pack(b, e)
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		b = append(b, 0xa0|byte(len(v)))
		for _, k := range keys {
			b = pack(pack(b, k), v[k])
		}
	}
	return b
}

func TestFakeServer(t *testing.T) {
	var queries []string
	f := &fakeServer{agent: "Neo4j/5.26.0", reply: func(q string) string {
		queries = append(queries, q)
		return ""
	}}
	d, err := newDB("bolt://neo4j@"+f.start(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if has, err := d.check(t.Context()); has || err != nil {
		t.Errorf("check: %v, %v; want an empty database", has, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if len(queries) == 0 || !strings.Contains(queries[0], "Store") {
		t.Errorf("queries %q", queries)
	}
}

// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is where NameServer listens.
const nameServer = "127.0.77.53"

// NameServer answers over TCP, until the test ends, that host (with a dot at its
// end) has the IPv4 address that it yields, and that there is no other host. It
// returns the name of a resolv.conf that says so, which everybody may read.
func NameServer(t *testing.T, host string, address func() [4]byte) (resolvConf string) {
	t.Helper()
	listener, err := net.Listen("tcp", nameServer+":53")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		served.Wait()
	})
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := answerName(conn, host, address()); err != nil {
				t.Errorf("name server: %v", err)
			}
		}
	})
	dir, err := os.MkdirTemp("", "names")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	resolvConf = filepath.Join(dir, "resolv.conf")
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // every user of the test must get there
		t.Fatal(err)
	}
	if err := os.WriteFile(resolvConf, []byte("nameserver "+nameServer+"\n"), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	return resolvConf
}

// answerName answers one question.
func answerName(conn net.Conn, host string, address [4]byte) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return fmt.Errorf("read a question: %w", err)
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return fmt.Errorf("read a question: %w", err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if len(m.Questions) != 1 {
		return fmt.Errorf("%d questions at once", len(m.Questions))
	}
	switch q := m.Questions[0]; {
	case q.Name.String() != host:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: address},
		}}
	}
	answer, err := m.AppendPack(make([]byte, 2))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
	_, err = conn.Write(answer)
	return err
}

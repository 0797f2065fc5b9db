// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/nettest"
)

// A quiet interface yields empty blocks, so that time goes on.
func TestLiveQuiet(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}})
	last, began := flow.Time(0), time.Now()
	for i := range 5 {
		at := time.Now()
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(at); took > 500*time.Millisecond {
			t.Errorf("block %d came after %v", i, took)
		}
		if len(b.Packets) != 0 || b.Now <= last {
			t.Errorf("block %d: %d packets, now %d after %d", i, len(b.Packets), b.Now, last)
		}
		last = b.Now
		b.Release()
	}
	if ahead := time.Duration(int64(last) - time.Now().UnixNano()); ahead > 0 || ahead < -time.Second {
		t.Errorf("the last block's time is %v ahead", ahead)
	}
	if time.Since(began) < 500*time.Millisecond {
		t.Error("empty blocks come too often")
	}
}

// An interface that goes down and up again is read again.
func TestLiveDownUp(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	var logged strings.Builder
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	out := drain(l, 0)
	first := send(t, s, 100, 10_000)
	time.Sleep(300 * time.Millisecond)
	nettest.IP(t, "link", "set", "vb", "down")
	time.Sleep(1500 * time.Millisecond)
	if got := l.Down(); len(got) != 1 || got[0] != "vb" {
		t.Errorf("Down = %v, want vb", got)
	}
	used := cpu()
	time.Sleep(500 * time.Millisecond)
	if used = cpu() - used; used > 100*time.Millisecond {
		t.Errorf("waiting for the interface took %v of CPU in 500 ms", used)
	}
	nettest.IP(t, "link", "set", "vb", "up")
	nettest.IP(t, "link", "set", "va", "up")
	up := time.Now()
	for l.Stats().Packets == first.OK {
		if time.Since(up) > 2*time.Second {
			t.Fatal("nothing is read 2 s after the interface is up again")
		}
		send(t, s, 1, 0)
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("read again after %v", time.Since(up))
	time.Sleep(600 * time.Millisecond)
	if got := l.Down(); len(got) != 0 {
		t.Errorf("Down = %v, want none", got)
	}
	end(t, l, out, io.EOF)
	if log := logged.String(); strings.Count(log, "interface is down") != 1 || strings.Count(log, "interface is up again") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// An interface that vanishes is opened again when it is back.
func TestLiveVanish(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	var logged strings.Builder
	l := listen(t, capture.LiveConfig{
		Interfaces: []string{"vb"}, Filter: "udp port 53", Log: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	out := drain(l, 0)
	first := send(t, s, 100, 10_000)
	time.Sleep(300 * time.Millisecond)
	nettest.IP(t, "link", "del", "vb")
	time.Sleep(time.Second)
	nettest.Pair(t, "va", "vb")
	s = nettest.NewSender(t, "va")
	back := time.Now()
	for l.Stats().Packets == first.OK {
		if time.Since(back) > 3*time.Second {
			t.Fatal("nothing is read 3 s after the interface is back")
		}
		send(t, s, 1, 0)
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("read again after %v", time.Since(back))
	end(t, l, out, io.EOF)
	if log := logged.String(); strings.Count(log, "interface is gone") != 1 || strings.Count(log, "interface is back") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// Without privileges an interface that has vanished is gone for good; reading goes
// on as long as there is another one.
func TestLiveGone(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	nettest.Pair(t, "vc", "vd")
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb", "vd"}})
	s := nettest.NewSender(t, "vc")
	helper := deleter(t)
	if err := syscall.Setgroups(nil); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setuid(65534); err != nil {
		t.Fatal(err)
	}
	out := drain(l, 0)
	helper("vb")
	time.Sleep(time.Second)
	sent := send(t, s, 100, 10_000)
	time.Sleep(300 * time.Millisecond)
	if got := l.Stats().Packets; got != sent.OK {
		t.Errorf("%d packets of the other interface, want %d", got, sent.OK)
	}
	select {
	case d := <-out:
		t.Fatalf("reading ended with %v while an interface is left", d.err)
	default:
	}
	helper("vd")
	var gone *capture.GoneError
	d := <-out
	if !errors.As(d.err, &gone) || len(gone.Interfaces) != 2 || !strings.Contains(d.err.Error(), "vb, vd") {
		t.Errorf("Next = %v, want a GoneError of both", d.err)
	}
	balanced(t, l.Stats())
	t.Log(d.err)
	var denied *capture.PermissionError
	if _, err := capture.Listen(capture.LiveConfig{Interfaces: []string{"va"}}); !errors.As(err, &denied) &&
		!strings.Contains(err.Error(), "no interface") {
		t.Errorf("Listen = %v", err)
	}
	if _, err := capture.Listen(capture.LiveConfig{Interfaces: []string{"lo"}}); !errors.As(err, &denied) ||
		!strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("Listen without privileges = %v, want a PermissionError", err)
	}
}

// deleter returns a function that deletes an interface even after this process
// has given up its privileges.
func deleter(t *testing.T) func(name string) {
	t.Helper()
	in := nettest.Privileged(t)
	return func(name string) { in("link", "del", name) }
}

// The kernel shows a packet on the loopback interface twice, as it leaves and as
// it comes back. One of the two is read, and the other one is nobody's loss.
func TestLiveLoopback(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	for _, name := range []string{"lo", capture.AnyInterface} {
		l := listen(t, capture.LiveConfig{Interfaces: []string{name}})
		out := drain(l, 0)
		conn, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			_, _ = conn.Write([]byte("hello")) // nobody listens: it is refused every other time
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		// Copies are counted once reads time out.
		before := l.Stats()
		for until := time.Now().Add(3 * time.Second); time.Now().Before(until) &&
			(before.Received < 200 || before.Received != before.Packets); before = l.Stats() {
			time.Sleep(20 * time.Millisecond)
		}
		_, s := end(t, l, out, io.EOF)
		if before.Received != before.Packets || s.Lost.Sum() != 0 {
			t.Errorf("%s: received %d, packets %d, unread %d, want all read", name, before.Received, before.Packets, s.Lost.Unread)
		}
		if copies := s.Rejected[capture.Copy]; copies < 100 || s.Packets != 2*copies {
			t.Errorf("%s: %d of %d packets are copies, want half of them", name, copies, s.Packets)
		}
		if s.Files != 1 {
			t.Errorf("%s: %d interfaces, want 1", name, s.Files)
		}
	}
}

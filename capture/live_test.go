// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/nettest"
)

// Tests on interfaces run where WEIR_TEST_NETNS is set, each in a network of its
// own: see package nettest.

// drained is what a goroutine has taken from a Live until its end.
type drained struct {
	packets uint64
	empty   int // blocks without packets
	err     error
	maxLost uint64
	back    int // blocks whose Now or Lost went back
	took    time.Duration
}

// drain takes all blocks, slowly where pause says so.
func drain(l *capture.Live, pause time.Duration) <-chan drained {
	out := make(chan drained, 1)
	go func() {
		var d drained
		var now flow.Time
		for {
			b, err := l.Next()
			if err != nil {
				d.err = err
				out <- d
				return
			}
			if len(b.Packets) == 0 {
				d.empty++
			}
			if b.Now < now || b.Lost < d.maxLost {
				d.back++
			}
			now, d.maxLost = b.Now, b.Lost
			d.packets += uint64(len(b.Packets))
			if pause > 0 {
				time.Sleep(pause)
			}
			b.Release()
		}
	}()
	return out
}

func listen(t *testing.T, cfg capture.LiveConfig) *capture.Live {
	t.Helper()
	l, err := capture.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func send(t *testing.T, s *nettest.Sender, n, rate int) nettest.Sent {
	t.Helper()
	sent, err := s.Send(n, rate, nil, nettest.UDP(100, 50, 53))
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// end stops a Live and returns what came.
func end(t *testing.T, l *capture.Live, out <-chan drained, want error) (drained, capture.Stats) {
	t.Helper()
	l.Stop()
	return wait(t, l, out, want)
}

func wait(t *testing.T, l *capture.Live, out <-chan drained, want error) (drained, capture.Stats) {
	t.Helper()
	began := time.Now()
	select {
	case d := <-out:
		d.took = time.Since(began)
		if !errors.Is(d.err, want) {
			t.Errorf("Next = %v, want %v", d.err, want)
		}
		if d.back > 0 {
			t.Errorf("%d blocks go back in Now or Lost", d.back)
		}
		s := l.Stats()
		balanced(t, s)
		if d.packets != s.Delivered {
			t.Errorf("blocks hold %d packets, %d were delivered", d.packets, s.Delivered)
		}
		return d, s
	case <-time.After(10 * time.Second):
		t.Fatal("Next does not end")
	}
	panic("unreachable")
}

// balanced checks the equations that Stats promises.
func balanced(t *testing.T, s capture.Stats) {
	t.Helper()
	rejected := uint64(0)
	for _, n := range s.Rejected {
		rejected += n
	}
	if s.Packets != s.Delivered+rejected {
		t.Errorf("packets %d != delivered %d + rejected %d", s.Packets, s.Delivered, rejected)
	}
	if sum := s.Packets + s.Lost.Kernel + s.Lost.Overload + s.Lost.Unread; s.Received != sum {
		t.Errorf("received %d != packets %d + kernel %d + overload %d + unread %d = %d",
			s.Received, s.Packets, s.Lost.Kernel, s.Lost.Overload, s.Lost.Unread, sum)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// At a usual rate nothing is lost.
func TestLivePace(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}, Promiscuous: true})
	out := drain(l, 0)
	sent := send(t, s, 50_000, 10_000)
	_, stats := end(t, l, out, io.EOF)
	t.Logf("sent %+v, stats %+v", sent, stats)
	if sent.Refused != 0 || stats.Packets != sent.OK || stats.Delivered != sent.OK || stats.Lost != (capture.Losses{}) {
		t.Errorf("sent %+v, got %d packets, %d delivered, lost %+v", sent, stats.Packets, stats.Delivered, stats.Lost)
	}
}

// Far above capacity all that is lost is counted.
func TestLiveOverload(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	for _, tc := range []struct {
		name   string
		kernel int
		pause  time.Duration
	}{
		{"fast", 0, 0},
		{"small kernel buffer", 1 << 20, 0},
		{"slow consumer", 0, 50 * time.Millisecond},
		{"both", 1 << 20, 50 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}, KernelBuffer: tc.kernel, Blocks: 4})
			out := drain(l, tc.pause)
			stop := make(chan struct{})
			time.AfterFunc(2*time.Second, func() { close(stop) })
			sent, err := s.Send(1<<30, 0, stop, nettest.UDP(100, 50, 53))
			if err != nil {
				t.Fatal(err)
			}
			_, stats := end(t, l, out, io.EOF)
			t.Logf("sent %+v, %d packets, lost %+v", sent, stats.Packets, stats.Lost)
			if got := stats.Received + stats.Lost.Interface + stats.Lost.Queue; got != sent.OK+sent.Refused {
				t.Errorf("received %d + interface %d + queue %d = %d, sent %d", stats.Received, stats.Lost.Interface,
					stats.Lost.Queue, got, sent.OK+sent.Refused)
			}
			if tc.pause > 0 && stats.Lost.Overload == 0 {
				t.Error("nothing was dropped for a slow consumer")
			}
			if stats.Packets == 0 {
				t.Error("nothing was delivered")
			}
		})
	}
}

// A short halt of who takes the packets loses none.
func TestLiveStall(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}, BlockSize: 1, Blocks: 2})
	stalled := make(chan struct{})
	out := make(chan drained, 1)
	go func() {
		<-stalled
		out <- <-drain(l, 0)
	}()
	time.AfterFunc(350*time.Millisecond, func() { close(stalled) })
	// 7 MB, while the blocks have room for less than 1 MB.
	sent, err := s.Send(5_000, 20_000, nil, nettest.UDP(1400, 50, 53))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(3 * time.Second); l.Stats().Packets < sent.OK && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	_, stats := end(t, l, out, io.EOF)
	if stats.Packets != sent.OK || stats.Lost != (capture.Losses{}) {
		t.Errorf("sent %+v, got %d packets, lost %+v", sent, stats.Packets, stats.Lost)
	}
}

// Reading stops quickly while packets come in, and what was received is counted.
func TestLiveStop(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	for range 3 {
		l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}})
		out := drain(l, 0)
		stop := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(1<<30, 0, stop, nettest.UDP(200, 50, 53))
			done <- err
		}()
		time.Sleep(300 * time.Millisecond)
		d, stats := end(t, l, out, io.EOF)
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d.took > time.Second {
			t.Errorf("Stop took %v", d.took)
		}
		if stats.Packets == 0 {
			t.Error("nothing was delivered")
		}
		t.Logf("stopped after %v, %d packets, lost %+v", d.took, stats.Packets, stats.Lost)
	}
}

// Close ends a reading at any time, and leaves no goroutine.
func TestLiveClose(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := s.Send(1<<30, 50_000, stop, nettest.UDP(200, 50, 53))
		done <- err
	}()
	before := runtime.NumGoroutine()
	for i := range 100 {
		l, err := capture.Listen(capture.LiveConfig{Interfaces: []string{"va", "vb"}, KernelBuffer: 1 << 20, Blocks: 2, BlockSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		out := drain(l, time.Duration(i%3)*time.Millisecond)
		time.Sleep(time.Duration(i%7) * time.Millisecond)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = l.Close()
			_ = l.Close()
		}()
		for _, ch := range []func() bool{
			func() bool { <-closed; return true },
			func() bool { d := <-out; return errors.Is(d.err, capture.ErrClosed) },
		} {
			ok := make(chan bool, 1)
			go func() { ok <- ch() }()
			select {
			case good := <-ok:
				if !good {
					t.Error("Next does not return ErrClosed")
				}
			case <-time.After(5 * time.Second):
				t.Fatal("Close hangs")
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// All interfaces, and several of them.
func TestLiveSeveral(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	nettest.Pair(t, "vc", "vd")
	s1, s2 := nettest.NewSender(t, "va"), nettest.NewSender(t, "vc")
	for _, tc := range []struct {
		names []string
		times uint64 // how often a frame is seen
	}{
		{[]string{"vb", "vd"}, 1},
		{[]string{"va", "vb", "vc", "vd"}, 2},
		{[]string{"any"}, 2},
		{[]string{"vb", "lo"}, 1},
	} {
		t.Run(strings.Join(tc.names, ","), func(t *testing.T) {
			l := listen(t, capture.LiveConfig{Interfaces: tc.names, Promiscuous: true})
			out := drain(l, 0)
			sent := send(t, s1, 2000, 20_000).OK
			if tc.names[1%len(tc.names)] != "lo" {
				sent += send(t, s2, 1000, 20_000).OK
			}
			_, stats := end(t, l, out, io.EOF)
			if stats.Delivered != sent*tc.times {
				t.Errorf("delivered %d, want %d times %d", stats.Delivered, tc.times, sent)
			}
		})
	}
}

// The kernel filters, by the filter that is in force.
func TestLiveFilter(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	mixed := func(i int, buf []byte) int {
		nettest.Frame(buf[:100], uint32(i), uint16(53+i%4))
		return 100
	}
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}, Filter: "udp dst port 53"})
	out := drain(l, 0)
	if _, err := s.Send(4000, 20_000, nil, mixed); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if st := l.Stats(); st.Received != 1000 || st.Packets != 1000 {
		t.Errorf("received %d, packets %d, want 1000", st.Received, st.Packets)
	}
	var bad *capture.FilterError
	if err := l.SetFilter("no such thing"); !errors.As(err, &bad) {
		t.Errorf("SetFilter(bad) = %v, want a FilterError", err)
	}
	if err := l.SetFilter("ip protochain 17"); !errors.As(err, &bad) {
		t.Errorf("SetFilter(protochain) = %v, want a FilterError", err)
	}
	if err := l.SetFilter("udp dst port 53 or udp dst port 54"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(4000, 20_000, nil, mixed); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if st := l.Stats(); st.Received != 3000 || st.Packets != 3000 {
		t.Errorf("received %d, packets %d, want 3000", st.Received, st.Packets)
	}
	if err := l.SetFilter(""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(1000, 20_000, nil, mixed); err != nil {
		t.Fatal(err)
	}
	_, stats := end(t, l, out, io.EOF)
	if stats.Packets != 4000 {
		t.Errorf("packets %d, want 4000", stats.Packets)
	}
	if err := l.SetFilter("tcp"); err != nil {
		t.Errorf("SetFilter after the end = %v", err)
	}
}

// The filter changes under load, and the books stay balanced.
func TestLiveFilterLoad(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}})
	out := drain(l, 0)
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := s.Send(1<<30, 0, stop, nettest.UDP(200, 50, 53))
		done <- err
	}()
	for _, expr := range []string{"tcp", "udp", "tcp", ""} {
		time.Sleep(300 * time.Millisecond)
		if err := l.SetFilter(expr); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, stats := end(t, l, out, io.EOF)
	t.Logf("received %d, packets %d, lost %+v", stats.Received, stats.Packets, stats.Lost)
	// What came just when the filter changed cannot be told apart.
	if stats.Lost.Unread > 100 {
		t.Errorf("%d packets are unread after an orderly end", stats.Lost.Unread)
	}
}

// Reading allocates nothing for a packet.
func TestLiveAllocations(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	l := listen(t, capture.LiveConfig{Interfaces: []string{"vb"}})
	out := drain(l, 0)
	fill := nettest.UDP(100, 50, 53)
	burst := func(n int) uint64 {
		var before, after runtime.MemStats
		want := l.Stats().Packets + uint64(n)
		runtime.ReadMemStats(&before)
		if _, err := s.Send(n, 50_000, nil, fill); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(3 * time.Second); l.Stats().Packets < want && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	burst(20_000)
	const n = 100_000
	if allocs := burst(n); allocs > n/200 {
		t.Errorf("%d allocations for %d packets", allocs, n)
	} else {
		t.Logf("%d allocations for %d packets", allocs, n)
	}
	end(t, l, out, io.EOF)
}

// What cannot be opened is refused, each for its reason.
func TestListenErrors(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	nettest.Pair(t, "vc", "vd")
	nettest.IP(t, "link", "set", "vd", "down")
	for _, tc := range []struct {
		name string
		cfg  capture.LiveConfig
		want any
		text string
	}{
		{"none", capture.LiveConfig{}, new(*capture.UsageError), "no interface given"},
		{"twice", capture.LiveConfig{Interfaces: []string{"va", "va"}}, new(*capture.UsageError), "twice"},
		{"any and another", capture.LiveConfig{Interfaces: []string{"any", "va"}}, new(*capture.UsageError), "any"},
		{"unknown", capture.LiveConfig{Interfaces: []string{"vaa"}}, new(*capture.UsageError), "did you mean va?"},
		{"unknown, one known", capture.LiveConfig{Interfaces: []string{"va", "nothing"}}, new(*capture.UsageError), "there are: "},
		{"filter", capture.LiveConfig{Interfaces: []string{"va"}, Filter: "tcp port"}, new(*capture.FilterError), "tcp port"},
		{"loop", capture.LiveConfig{Interfaces: []string{"va"}, Filter: "ip6 protochain 6"}, new(*capture.FilterError), "loops"},
		{"snap length", capture.LiveConfig{Interfaces: []string{"va"}, SnapLen: 1 << 20}, new(*capture.UsageError), "snap length"},
		{"down", capture.LiveConfig{Interfaces: []string{"vd"}}, nil, "down"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := capture.Listen(tc.cfg)
			if err == nil || tc.want != nil && !errors.As(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Listen = %v, want %T with %q", err, tc.want, tc.text)
			}
		})
	}
	list, err := capture.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	up := map[string]bool{}
	for _, i := range list {
		up[i.Name] = i.Up
	}
	if _, ok := up["any"]; !ok || !up["va"] || up["vd"] {
		t.Errorf("Interfaces = %+v", list)
	}
}

// TestLiveLoopback reads the interface on which the kernel sees every packet twice:
// none is lost.
func TestLiveLoopback(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	for _, name := range []string{"lo", capture.AnyInterface} {
		l, err := capture.Listen(capture.LiveConfig{Interfaces: []string{name}, Filter: "udp port 9999"})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("udp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			// Nobody listens, which every second write is told.
			_, _ = conn.Write([]byte("to myself"))
		}
		_ = conn.Close()
		time.AfterFunc(300*time.Millisecond, l.Stop)
		for {
			b, err := l.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		s := l.Stats()
		if s.Lost.Sum() != 0 || s.Packets == 0 || s.Received != s.Packets {
			t.Errorf("%s: %d packets received, %d read, lost %+v", name, s.Received, s.Packets, s.Lost)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

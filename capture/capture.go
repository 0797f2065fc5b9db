// SPDX-License-Identifier: Apache-2.0

// Package capture turns capture files into batches of decoded IP packets.
//
// A [Reader] reads pcap and pcapng, plain, gzip or zstd, from files,
// directories and standard input, merges several inputs by time, and decodes
// every frame in place: link layer, tunnels, fragments, IP and transport. It
// hands out a [Block] at a time; the packets of a block point into the buffer
// that was filled by the read call, so nothing is copied or allocated for a
// packet. Every frame that does not become a packet is counted under a
// [Reason]: Stats.Packets is always Stats.Delivered plus the sum of
// Stats.Rejected. What UDP packets carry in tunnels comes on top, see TunnelStats.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"weir/internal/flow"
)

// Defaults and limits.
const (
	// DefaultBlockSize is the size of a block's buffer.
	DefaultBlockSize = 512 << 10
	// DefaultBlocks is how many blocks there are.
	DefaultBlocks = 8
	// MaxFrame is the largest captured frame that is believed; a record that
	// claims more is malformed. It is libpcap's limit, too.
	MaxFrame = 256 << 10
	// HeadSize is how much of an input's beginning its head hash covers.
	HeadSize = 64 << 10
)

// Config says what to read and how. The zero value of a field is its default.
type Config struct {
	// Inputs are files, directories and "-" for Stdin. Of a directory, all
	// regular files that look like captures are read, recursively, in the order
	// of their names.
	Inputs []string
	// Stdin is what "-" reads.
	Stdin io.Reader
	// Context ends the reading when it is done: Open and Next then return an
	// error that wraps Context.Err(), even while they wait for Stdin, a fifo or a
	// terminal. A read of Stdin that is under way is left behind. Nil never ends
	// it.
	Context context.Context
	// Filter is a BPF expression as tcpdump knows it; empty takes everything.
	// It is applied to frames, before fragments and tunnels are resolved.
	Filter string
	// Checksums verifies IPv4 header, TCP, UDP and ICMP checksums. Captures
	// taken on a sending host carry offloaded, wrong ones, so it is off by
	// default, and an IP total length of 0 (segmentation offload) is then
	// accepted as well.
	Checksums bool
	// UDPTimeout is after how much silence a UDP connection is over, as in the table
	// of connections: packets out of a tunnel over UDP name the connection (default:
	// a minute).
	UDPTimeout time.Duration
	// BlockSize and Blocks bound the memory of the reader: Blocks buffers of
	// BlockSize bytes, and at most four times as much for the decoded packets
	// in the worst case (frames of 36 bytes).
	BlockSize, Blocks int
	// Seed is the seed of Packet.Hash; 0 takes a random one.
	Seed uint64
	// Log gets a line per file, warnings about damaged input and about unknown
	// link types. Nil discards them.
	Log *slog.Logger
}

// UsageError says that a configuration makes no sense, whatever the inputs hold.
type UsageError struct{ Reason string }

// Error returns the reason.
func (e *UsageError) Error() string { return e.Reason }

// Validate reports what is wrong with a configuration: a *UsageError.
func (c *Config) Validate() error {
	switch {
	case len(c.Inputs) == 0:
		return &UsageError{"no capture given"}
	case c.BlockSize < 0 || c.BlockSize > 1<<30:
		return &UsageError{fmt.Sprintf("block size %d is out of range", c.BlockSize)}
	case c.UDPTimeout < 0:
		return &UsageError{fmt.Sprintf("timeout %v is negative", c.UDPTimeout)}
	case c.Blocks < 0 || c.Blocks == 1:
		return &UsageError{fmt.Sprintf("number of blocks %d is out of range", c.Blocks)}
	}
	stdin := 0
	for _, in := range c.Inputs {
		if in == "-" {
			stdin++
		}
	}
	switch {
	case stdin > 1:
		return &UsageError{"standard input is given more than once"}
	case stdin == 1 && c.Stdin == nil:
		return &UsageError{"no standard input to read"}
	}
	return nil
}

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("capture reader is closed")

// Reader reads captures. Next and Files belong to one goroutine; Stats and
// Close may be called from any, at any time.
type Reader struct {
	log  *slog.Logger
	pool *pool
	life life
	end  context.CancelCauseFunc // ends the pool's context
	stop context.CancelFunc      // ends what is read from pipes
	dec  *decoder

	inputs  []*input  // in the order given
	pending []*input  // not yet open, the earliest first
	active  []*cursor // being read; a heap by time when there are several
	files   []File    // indexed as inputs
	filters *filterSet
	scratch []byte // for draining what cannot be parsed

	// busy is held by a Next under way. It guards err and what is open.
	busy sync.Mutex
	err  error // what Next returns from now on

	// mu guards snap, the statistics as of the last block.
	mu   sync.Mutex
	snap Stats
}

// Open opens the inputs and looks at the beginning of each, so that what is
// missing, unreadable or not a capture is known before anything is delivered. A
// configuration that Validate rejects is a *UsageError, a bad filter expression a
// *FilterError. Close must be called in the end.
func Open(cfg Config) (*Reader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.BlockSize == 0 {
		cfg.BlockSize = DefaultBlockSize
	}
	if cfg.Blocks == 0 {
		cfg.Blocks = DefaultBlocks
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Context == nil {
		cfg.Context = context.Background()
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64() | 1
	}
	names, skipped, err := Expand(cfg.Inputs)
	if err != nil {
		return nil, err
	}
	filters := newFilterSet(cfg.Filter, cfg.Log)
	ctx, end := context.WithCancelCause(cfg.Context)
	stopped, stop := context.WithCancel(context.Background())
	r := &Reader{
		life:    life{ctx, stopped},
		stop:    stop,
		log:     cfg.Log,
		pool:    newPool(ctx, cfg.Blocks, cfg.BlockSize),
		end:     end,
		dec:     newDecoder(cfg.Checksums, cfg.Seed, filters, cfg.UDPTimeout),
		filters: filters,
		files:   make([]File, len(names)),
	}
	r.dec.stats.Skipped = skipped
	if err := r.openInputs(names, cfg.Stdin); err != nil {
		end(ErrClosed)
		return nil, errors.Join(err, r.closeInputs())
	}
	r.publish()
	return r, nil
}

// openInputs peeks into every input and orders them by their first packet.
func (r *Reader) openInputs(names []string, stdin io.Reader) error {
	for i, name := range names {
		in := &input{index: i, name: name, stdin: stdin}
		r.inputs = append(r.inputs, in)
		if err := r.peek(in, len(names) == 1); err != nil {
			return err
		}
		r.dec.stats.Total += in.stored
		r.pending = insertPending(r.pending, in)
	}
	r.dec.stats.Files = len(names)
	if err := r.filters.check(); err != nil {
		return err
	}
	r.dec.identity = r.inputs[0].identity
	return nil
}

// Next returns the next block of packets, in the order of their times as far as
// the inputs are in order themselves. It waits until a block is free. At the end
// of all inputs it returns io.EOF. The caller owns the block, and gives it back
// with Release. A block may be empty: all its frames were rejected.
func (r *Reader) Next() (*Block, error) {
	r.busy.Lock()
	defer r.busy.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	b, err := r.next()
	r.publish()
	if err != nil {
		r.err = err
		_ = r.closeInputs() // err says more
		return nil, err
	}
	return b, nil
}

func (r *Reader) next() (*Block, error) {
	for {
		if err := r.activate(); err != nil {
			return nil, err
		}
		if len(r.active) == 0 {
			return nil, io.EOF
		}
		b, err := r.pool.get()
		if err != nil {
			return nil, err
		}
		r.dec.block = b
		before := r.dec.stats.Packets
		if len(r.active) == 1 {
			err = r.fillDirect(b)
		} else {
			err = r.fillMerged(b)
		}
		if err != nil {
			b.Release()
			return nil, err
		}
		if r.dec.stats.Packets == before {
			b.Release()
			continue
		}
		b.finish(r.dec.now)
		return b, nil
	}
}

// Stats returns the state of the reading as of the last block. It may be called
// at any time from any goroutine.
func (r *Reader) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snap
}

func (r *Reader) publish() {
	s := r.dec.stats
	s.Now = r.dec.now
	s.Fragments = r.dec.frags.stats
	for _, c := range r.active {
		s.Read += c.st.raw.n
	}
	r.mu.Lock()
	r.snap = s
	r.mu.Unlock()
}

// Files describes the inputs, in the order given and directories expanded. It is
// complete once Next has returned io.EOF.
func (r *Reader) Files() []File { return append([]File(nil), r.files...) }

// Stop ends in good order what does not end by itself: what was read so far from
// standard input, fifos and terminals is delivered, and they count as being at
// their end, though a read may wait for more. Regular files are read to theirs.
func (r *Reader) Stop() { r.stop() }

// Close ends a Next that waits, for a block or for standard input, a fifo or a
// terminal, and lets later ones return ErrClosed. Files still open are closed by
// the Next that notices, or here if there is none under way.
func (r *Reader) Close() error {
	r.end(ErrClosed)
	if r.busy.TryLock() {
		defer r.busy.Unlock()
		if r.err == nil {
			r.err = ErrClosed
		}
		return r.closeInputs()
	}
	return nil
}

// File describes an input that was read.
type File struct {
	Name string
	// Sum is the xxh3-128 of the decompressed content, Head that of its first
	// HeadLen bytes (at most HeadSize).
	Sum, Head [16]byte
	HeadLen   int
	// Size is the length of the decompressed content.
	Size int64
	// Packets counts the frames of the file, rejected ones included.
	Packets uint64
	// Truncated says where and why reading stopped early; nil if the file was
	// read to its end.
	Truncated *DamageError
}

// DamageError says that an input ended inside a record, or was malformed. What
// came before was delivered.
type DamageError struct {
	Name string
	// Offset is where the first record begins that could not be read, in bytes
	// of the decompressed content.
	Offset int64
	// Reason says what is wrong with it.
	Reason string
	// Cut is set where the input just ends too early.
	Cut bool
}

// Error names the file, the offset and the reason.
func (e *DamageError) Error() string {
	if e.Cut {
		return fmt.Sprintf("%s: cut short: the record at byte %d is incomplete (%s)",
			e.Name, e.Offset, e.Reason)
	}
	return fmt.Sprintf("%s: malformed at byte %d: %s", e.Name, e.Offset, e.Reason)
}

// Block is a batch of decoded packets and the memory they point into.
//
// It is reference counted: Next returns it with one reference, Hold adds some,
// and the last Release gives it back to the reader.
type Block struct {
	// Packets are the packets in the order of the input. Read only.
	Packets []flow.Packet
	// Now is the highest time seen in the input up to here, that of rejected
	// packets included. A time more than a day ahead of it counts once 8 packets
	// in succession have one. Now goes back in one case: if 8 packets in
	// succession lie more than a day before it, since the input then began with
	// times from the future. Of a Live it is the time when the block was handed
	// out, by a clock that nobody sets: see LiveConfig.
	Now flow.Time
	// Passed are values of Now at which packets were rejected, other than by a
	// filter, each but once and in their order; not all of them where a block has
	// very many. Timers run by them, too.
	Passed []flow.Time
	// Lost is how many packets of the input were lost before this block, for
	// whatever reason, since the reading began. Files lose none.
	Lost uint64

	blockState
}

// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Identity is what a file holds, whatever its name and compression: hashes
// (xxh3-128) of the decompressed content.
type Identity struct {
	// Head is the hash of the first HeadLen bytes, at most HeadSize.
	Head    [16]byte
	HeadLen int
	// Size and Sum are those of the whole content, as far as it can be
	// decompressed. IdentifyHead sets them only if the head is all there is.
	Size int64
	Sum  [16]byte
	// Whole says that Size and Sum are set.
	Whole bool
	// Prefix is the hash of the first bytes of the content, as many as Identify
	// was asked for; HasPrefix says that there are that many.
	Prefix    [16]byte
	HasPrefix bool
}

// IdentifyHead reads only the beginning of a file: whether it may have been read
// before, in full or in part, is decided by Head in most cases. What is not a
// regular file cannot be read twice: it is left alone, and its identity is zero.
func IdentifyHead(path string) (Identity, error) { return identify(path, 0, true) }

// Identify reads and hashes the whole file, and its first prefix bytes: whether
// an import of a shorter file is the beginning of this one. 0 asks for none. What
// is not a regular file is left alone, as by IdentifyHead.
func Identify(path string, prefix int64) (Identity, error) { return identify(path, prefix, false) }

func identify(path string, prefix int64, headOnly bool) (id Identity, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return id, nil
	}
	st, err := openStream(forever(), path, nil)
	if err != nil {
		return id, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	buf := make([]byte, readSize)
	for {
		room := buf
		if left := prefix - st.size; left > 0 && left < int64(len(room)) {
			room = room[:left]
		}
		if headOnly {
			// One more byte tells whether there is more than the head.
			room = room[:min(int64(len(room)), HeadSize+1-st.size)]
		}
		_, err := st.Read(room)
		if prefix > 0 && st.size == prefix && !id.HasPrefix {
			id.Prefix, id.HasPrefix = st.sum.Sum128().Bytes(), true
		}
		if st.raw.err != nil {
			return id, fmt.Errorf("read %s: %w", path, st.raw.err)
		}
		// What cannot be decompressed ends the content like its end.
		id.Whole = err != nil
		if err != nil || headOnly && st.size > HeadSize {
			break
		}
	}
	id.Head, id.HeadLen = st.head, st.headLen
	if id.Whole {
		id.Size, id.Sum = st.size, st.sum.Sum128().Bytes()
	}
	return id, nil
}

// Expand replaces every directory by the captures in it, recursively and in the
// order of their names. Symbolic links in it, special files and files that are no
// captures are left out and counted. Other inputs stay as they are. It is for
// callers that want to look at the files before Open, which expands by itself.
func Expand(inputs []string) (files []string, skipped int, err error) {
	for _, in := range inputs {
		if in == "-" {
			files = append(files, in)
			continue
		}
		info, err := os.Stat(in)
		if err != nil {
			return nil, 0, err
		}
		if !info.IsDir() {
			files = append(files, in)
			continue
		}
		before := len(files)
		// The separator lets the walk enter a directory named by a link.
		err = filepath.WalkDir(in+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir():
				return nil
			case !d.Type().IsRegular():
				skipped++
				return nil
			}
			ok, err := isCapture(path)
			if err != nil {
				return err
			}
			if ok {
				files = append(files, path)
			} else {
				skipped++
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		if len(files) == before {
			return nil, 0, fmt.Errorf("open %s: no captures in this directory", in)
		}
	}
	return files, skipped, nil
}

// Duplicates finds inputs with the same content among what Expand returned, be
// they the same file, a copy or compressed: the index of each but the first leads
// to that of the first. Whole files are read only where their heads are the same.
// Standard input and what is not a regular file have no duplicates.
func Duplicates(names []string) (map[int]int, error) {
	type head struct {
		sum [16]byte
		n   int
	}
	type file struct {
		index int
		info  fs.FileInfo
		id    Identity
	}
	dups := map[int]int{}
	if len(names) < 2 {
		return dups, nil
	}
	firsts := map[head][]*file{} // files that are no duplicates
	for i, name := range names {
		if name == "-" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		f := &file{index: i, info: info}
		if f.id, err = IdentifyHead(name); err != nil {
			return nil, err
		}
		key := head{f.id.Head, f.id.HeadLen}
		same := slices.IndexFunc(firsts[key], func(g *file) bool { return os.SameFile(f.info, g.info) })
		if same < 0 && len(firsts[key]) > 0 {
			for _, g := range append([]*file{f}, firsts[key]...) {
				if g.id.Whole {
					continue
				}
				if g.id, err = Identify(names[g.index], 0); err != nil {
					return nil, err
				}
			}
			same = slices.IndexFunc(firsts[key], func(g *file) bool {
				return f.id.Size == g.id.Size && f.id.Sum == g.id.Sum
			})
		}
		if same < 0 {
			firsts[key] = append(firsts[key], f)
		} else {
			dups[i] = firsts[key][same].index
		}
	}
	return dups, nil
}

// isCapture looks for the magic number of a capture.
func isCapture(path string) (ok bool, err error) {
	st, err := openStream(forever(), path, nil)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	head := make([]byte, 12)
	n, err := io.ReadFull(st.rd, head)
	if st.raw.err != nil {
		return false, fmt.Errorf("read %s: %w", path, st.raw.err)
	}
	_ = err // what cannot be decompressed is no capture
	head = head[:n]
	return len(head) >= 4 && sniff(head) != formatNone, nil
}

// format is the kind of a capture file.
type format uint8

const (
	formatNone format = iota
	formatPcap
	formatPcapng
)

// sniff tells the format from the first bytes. Less than a magic number will do
// if it is the beginning of one: the capture is then cut.
func sniff(head []byte) format {
	if len(head) == 0 {
		return formatNone
	}
	n := min(len(head), 4)
	for _, magic := range [][]byte{
		{0xa1, 0xb2, 0xc3, 0xd4}, {0xd4, 0xc3, 0xb2, 0xa1}, // microseconds
		{0xa1, 0xb2, 0x3c, 0x4d}, {0x4d, 0x3c, 0xb2, 0xa1}, // nanoseconds
		{0xa1, 0xb2, 0xcd, 0x34}, {0x34, 0xcd, 0xb2, 0xa1}, // Kuznetzov's
	} {
		if bytes.Equal(head[:n], magic[:n]) {
			return formatPcap
		}
	}
	if !bytes.Equal(head[:n], sectionMagic[:n]) {
		return formatNone
	}
	if len(head) >= 12 {
		if _, ok := sectionOrder(head[8:12]); !ok {
			return formatNone
		}
	}
	return formatPcapng
}

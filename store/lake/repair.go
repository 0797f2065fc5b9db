// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Repair checks the store at path as Check does, and makes it one that queries
// can read, in one change: a damaged manifest is replaced by its copy, damaged
// parts leave the manifest, and with them what was made of them. Files are moved
// to the directory .damaged of the store, not removed. The report says what was
// lost.
func Repair(ctx context.Context, path string, cfg CheckConfig) (*Report, error) {
	r, m, err := check(ctx, path, cfg)
	if err == nil && len(r.Damage) > 0 {
		var l *Lake
		if l, err = newLake(path, Config{LockWait: cfg.LockWait, Logger: cfg.Logger}); err == nil {
			if m == nil {
				err = errors.New("the manifest and its copy are both damaged: nothing says what the files belong to")
			} else {
				err = l.repair(ctx, r)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("repair store: %w", err)
	}
	return r, nil
}

// repair mends what r lists.
func (l *Lake) repair(ctx context.Context, r *Report) error {
	bad := make(map[string]bool)
	for i := range r.Damage {
		bad[r.Damage[i].Path] = true
	}
	return l.locked(func() error {
		stamp := time.Now().UnixNano()
		m, err := ReadManifest(l.path)
		restored := false
		if damaged := new(DamagedError); errors.As(err, &damaged) {
			m, err = l.restore(r, stamp)
			restored = true
		}
		if err != nil {
			return err
		}
		// What was replaced meanwhile is not damaged any more, and a part may
		// be missing only because the restored manifest is the older one.
		for i := range m.Parts {
			p := &m.Parts[i]
			if !bad[p.Path] {
				continue
			}
			reason, err := l.checkPart(ctx, p)
			if err != nil {
				return err
			}
			if reason == "" || l.bringBack(ctx, p) {
				delete(bad, p.Path)
				if reason != "" {
					r.Mended = append(r.Mended, Problem{p.Path, "found among replaced files"})
				}
			}
		}
		whole := slices.Clone(m.Parts)
		gone := m.removeParts(func(p *Part) bool { return bad[p.Path] })
		old := make([]Part, 0, len(gone)) // roll-ups are made again, nothing is lost with them
		var aside []string
		for i := range gone {
			p := &gone[i]
			if bad[p.Path] {
				aside = append(aside, p.Path)
			}
			switch {
			case bad[p.Path] && IsRollup(p.Kind):
				r.Mended = append(r.Mended, Problem{p.Path, "the roll-up is dropped, the next compaction makes it again"})
			case bad[p.Path]:
				r.Lost = append(r.Lost, lossOf(m, p))
				if imp := m.Find(p.Import); imp != nil {
					imp.Damaged = true
				}
			default:
				old = append(old, *p)
			}
		}
		if !restored && len(gone) == 0 {
			return nil
		}
		if err := l.replaceManifest(m); err != nil {
			return err
		}
		r.Repaired = true
		l.log.Warn("repaired store", slog.Int("parts_dropped", len(gone)), slog.Int("parts_before", len(whole)))
		for _, name := range aside {
			if err := l.setAside(name, stamp); err != nil {
				return err
			}
		}
		return l.retire(old)
	})
}

// restore reads the manifest's copy, in whose place the manifest was damaged.
// The parts that the copy does not name are set aside: if it is the older one,
// they hold what came in after it, or what a killed program left.
func (l *Lake) restore(r *Report, stamp int64) (*Manifest, error) {
	m, err := readManifestFile(l.join(copyName))
	if err != nil {
		return nil, fmt.Errorf("read copy of the manifest: %w", err)
	}
	data, err := os.ReadFile(l.join(manifestName))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	dir := l.join(damagedName, strconv.FormatInt(stamp, 10))
	if err := l.mkdirAll(dir); err != nil {
		return nil, fmt.Errorf("set aside manifest: %w", err)
	}
	name := filepath.Join(dir, manifestName)
	if err := cmp.Or(writeNew(name, data, true), l.give(name)); err != nil {
		return nil, fmt.Errorf("set aside manifest: %w", err)
	}
	same := statedGeneration(data) == m.Generation
	unnamed, err := l.unnamed(m)
	if err != nil {
		return nil, err
	}
	if same {
		r.Mended = append(r.Mended, Problem{manifestName, "restored from its copy"})
	} else {
		r.Unknown = true
		r.Mended = append(r.Mended, Problem{
			manifestName, fmt.Sprintf("restored from its copy, which is of generation %d", m.Generation),
		})
		for _, name := range unnamed {
			if err := l.setAside(name, stamp); err != nil {
				return nil, err
			}
			r.Notes = append(r.Notes, Problem{name, "set aside: the restored manifest does not name it"})
		}
	}
	// Readers may have seen the generation after the copy's.
	m.Generation++
	return m, nil
}

// statedGeneration finds the generation in a damaged manifest, -1 if it cannot
// be told.
func statedGeneration(data []byte) int64 {
	head := data[:min(len(data), 200)]
	found := regexp.MustCompile(`"generation":([0-9]{1,18}),`).FindSubmatch(head)
	if found == nil {
		return -1
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(found[1])), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// bringBack puts a part that is missing in its place again, where it is good
// and was only retired.
func (l *Lake) bringBack(ctx context.Context, p *Part) bool {
	to := l.join(filepath.FromSlash(p.Path))
	if _, err := os.Lstat(to); !missing(err) {
		return false
	}
	entries, err := readDir(l.join(oldName))
	if err != nil {
		return false
	}
	for _, e := range entries {
		q := *p
		q.Path = path.Join(oldName, e.Name(), path.Base(p.Path))
		if VerifyWhole(ctx, l.path, &q) != nil || l.mkdirAll(filepath.Dir(to)) != nil {
			continue
		}
		if os.Rename(l.join(filepath.FromSlash(q.Path)), to) == nil && syncDir(filepath.Dir(to)) == nil {
			return true
		}
	}
	return false
}

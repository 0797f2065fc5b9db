// SPDX-License-Identifier: Apache-2.0

// Package confine gives up what a process that reads packets needs only at its
// start: root, capabilities, and most of the system's calls and files.
//
// A sensor parses what strangers send. [Enter] is called once everything that
// takes privileges is open: capture handles, the store, logs, the listener of
// the metrics. It holds for the whole process: for every thread that is there,
// and for every thread that comes later, since a thread inherits all of it from
// the one that starts it. There is no way back. The steps, in their order:
//
//   - the process becomes another user and leaves all groups but that user's;
//   - every set of capabilities becomes empty: effective, permitted,
//     inheritable, ambient;
//   - no core file is written;
//   - no_new_privs: no program that it could execute gives any of that back;
//   - Landlock: files are those named in [Config], and TCP connections those to
//     the ports named there; nothing can be bound;
//   - seccomp: calls that nothing here needs return EPERM, among them every way
//     to run a program, to trace another process, to open a socket of another
//     kind than the notification socket's, or to make memory executable.
//
// What is open stays open: a capture handle goes on reading, and the listener
// goes on accepting connections.
package confine

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Policy says what happens where the kernel lacks a part of the sandbox, which
// is seccomp and Landlock. It is a flag's value.
type Policy uint8

// Policies. The zero value takes what there is, and [Report] says what is not.
const (
	On Policy = iota
	Strict
	Off
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case On:
		return "on"
	case Strict:
		return "strict"
	case Off:
		return "off"
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// Set parses a policy's name.
func (p *Policy) Set(s string) error {
	for _, q := range []Policy{On, Strict, Off} {
		if s == q.String() {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("%q is none of on, strict, off", s)
}

// Type returns the word for the value in a flag's description.
func (p *Policy) Type() string { return "policy" }

// Config says what a process keeps.
type Config struct {
	// User is the name or number of the user to become. Only root can become
	// another one. Empty means nobody for root, and no change for others; "root"
	// stays root, without capabilities: then files of others are out of reach.
	User string
	// Sandbox says whether to use seccomp and Landlock.
	Sandbox Policy
	// ReadWrite are directories in which files may be made, written, renamed and
	// removed. They exist, and the new user can write there.
	ReadWrite []string
	// ReadOnly are files and directories that may be read, besides those of
	// [SystemFiles]. Those that are missing are left out, and stay unreadable if
	// they come later: to read a file that may be replaced, name its directory.
	// A rule for a file below /proc lasts only until the kernel forgets the name:
	// name /proc itself, or keep the file open.
	ReadOnly []string
	// ConnectTCP are the ports to which TCP connections may be made.
	ConnectTCP []uint16
	// LookUp keeps what [Resolver] needs to look up host names: the port of DNS for
	// TCP connections, and the files that say whom to ask. Without it there are only
	// addresses, and the names of /etc/hosts.
	LookUp bool
}

// SystemFiles returns what may be read in any case: counters of interfaces, time
// zones, and what C's library wants to know about the machine.
func SystemFiles() []string {
	return []string{
		"/sys/class/net", "/sys/devices", "/usr/share/zoneinfo", "/etc/localtime", "/etc/hosts",
		"/dev/null", "/dev/urandom",
	}
}

// Validate checks what can be checked without changing anything.
func (c *Config) Validate() error {
	if c.Sandbox > Off {
		return fmt.Errorf("unknown sandbox policy %d", c.Sandbox)
	}
	for _, list := range [][]string{c.ReadWrite, c.ReadOnly} {
		for _, path := range list {
			if !filepath.IsAbs(path) {
				return fmt.Errorf("%q is not an absolute path", path)
			}
		}
	}
	if slices.Contains(c.ConnectTCP, 0) {
		return errors.New("there is no TCP port 0 to connect to")
	}
	account, err := Lookup(c.User)
	if err != nil {
		return err
	}
	if uid := os.Getuid(); uid != 0 && account.UID != uid {
		return fmt.Errorf("only root can become user %s", account.Name)
	}
	return nil
}

// Account is a user as the kernel knows it.
type Account struct {
	Name     string
	UID, GID int
}

// Lookup returns the user that [Enter] becomes for [Config.User], so that files
// can be given to it before. A number needs no entry in the user database.
func Lookup(name string) (Account, error) {
	uid := os.Getuid()
	if name == "" {
		if uid != 0 {
			return Account{Name: "uid " + strconv.Itoa(uid), UID: uid, GID: os.Getgid()}, nil
		}
		name = "nobody"
	}
	found, err := user.Lookup(name)
	if err == nil {
		return account(found)
	}
	if name == "nobody" {
		// In a container that has no user database: the kernel's own nobody.
		name = strconv.Itoa(overflowID)
	}
	n, bad := strconv.ParseUint(name, 10, 31)
	if bad != nil {
		return Account{}, fmt.Errorf("look up user: %w", err)
	}
	if found, err := user.LookupId(name); err == nil {
		return account(found)
	}
	a := Account{Name: "uid " + name, UID: int(n), GID: int(n)}
	if a.UID == uid {
		a.GID = os.Getgid()
	}
	return a, nil
}

// overflowID is the number that the kernel shows for users it cannot name.
const overflowID = 65534

func account(u *user.User) (Account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return Account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	if uid == os.Getuid() {
		// Who stays keeps the group, too.
		return Account{Name: u.Username, UID: uid, GID: os.Getgid()}, nil
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return Account{}, fmt.Errorf("group of user %s: %w", u.Username, err)
	}
	return Account{Name: u.Username, UID: uid, GID: gid}, nil
}

// Report says what is in force for the whole process. The user, the absence of
// capabilities and no_new_privs have been read back from every thread.
type Report struct {
	User     Account
	Seccomp  bool
	Landlock int // version of the interface that is used, 0 if none
	// Missing says what of the sandbox could not be had and why, a sentence each.
	// It stays empty if the policy is Off.
	Missing []string
}

// LogValue returns the report as attributes of a log line.
func (r Report) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int("uid", r.User.UID), slog.Int("gid", r.User.GID),
		slog.Bool("seccomp", r.Seccomp), slog.Int("landlock", r.Landlock),
	}
	if len(r.Missing) > 0 {
		attrs = append(attrs, slog.String("missing", strings.Join(r.Missing, "; ")))
	}
	return slog.GroupValue(attrs...)
}

// Enter gives up what the configuration does not keep. After an error the
// process is confined in part, and should end: there is no way back. It is
// called once, from any goroutine.
func Enter(c Config) (Report, error) {
	if err := c.Validate(); err != nil {
		return Report{}, err
	}
	account, err := Lookup(c.User)
	if err != nil {
		return Report{}, err
	}
	r := Report{User: account}
	if err := dropPrivileges(account); err != nil {
		return r, err
	}
	if err := writable(c.ReadWrite, account); err != nil {
		return r, err
	}
	if c.Sandbox == Off {
		return r, nil
	}
	if c.LookUp {
		c = c.withLookUp()
	}
	if err := r.sandbox(&c); err != nil {
		return r, err
	}
	if c.Sandbox == Strict && len(r.Missing) > 0 {
		return r, fmt.Errorf("sandbox is not complete: %s", strings.Join(r.Missing, "; "))
	}
	return r, nil
}

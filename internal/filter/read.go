// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/flow"
)

// isNothing reports whether a value is a word for a missing one.
func isNothing(text string) bool {
	return slices.Contains([]string{"none", "null", "nil", "undefined"}, strings.ToLower(text))
}

// readValue reads a literal of a field's type.
func readValue(f *field, text string, opts *Options) (value, error) {
	var v value
	var err error
	switch f.typ {
	case Text:
		v.text, err = readText(f, text)
	case Address:
		v.addr, err = readAddr(text)
	case Number:
		v.num, err = readNumber(text, f.max)
	case Size:
		v.num, err = readSize(text)
	case Time:
		v.num, err = readTime(text, opts)
	case Duration:
		v.num, err = readDuration(text)
	case Bool:
		v.num, err = readBool(text)
	}
	if err != nil && isNothing(text) {
		err = fmt.Errorf("%w; for flows without %s write !%s", err, f.name, f.name)
	}
	return v, err
}

// readText folds the case of a text where the field's does not count. Numbers
// of protocols that have a name become the name.
func readText(f *field, text string) (string, error) {
	if f.fold {
		text = strings.ToLower(text)
	}
	if f.from != fromFlow || f.flow.attr != attrProto {
		return text, nil
	}
	if strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("%s is not a protocol", shown(text))
	}
	switch text {
	case "icmp6", "icmpv6", "ipv6-icmp":
		return flow.ProtoLabel(flow.ICMPv6), nil
	}
	if !isNumber(text) {
		return text, nil
	}
	n, err := readNumber(text, maxProto)
	if err != nil {
		return "", err
	}
	return flow.ProtoLabel(uint8(n)), nil
}

func readAddr(text string) (flow.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return flow.Addr{}, fmt.Errorf("%s is not an address", shown(text))
	}
	return flow.AddrFrom(ip), nil
}

// readNetwork reads a network, with or without bits set behind its length.
func readNetwork(text string) (netip.Prefix, error) {
	net, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is not a network", shown(text))
	}
	if net.Addr().Is4In6() && net.Bits() >= 96 {
		net = netip.PrefixFrom(net.Addr().Unmap(), net.Bits()-96)
	}
	return net.Masked(), nil
}

// isNumber reports whether text is a decimal or hexadecimal number.
func isNumber(text string) bool {
	_, err := parseInt(text)
	return err == nil
}

// tooLarge is a number that is.
type tooLarge string

func (t tooLarge) Error() string { return shown(string(t)) + " is too large" }

// parseInt reads a number that is not negative.
func parseInt(text string) (int64, error) {
	digits, base := text, 10
	if rest, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		digits, base = rest, 16
	}
	// ParseUint would take a sign for base 0 only, and underscores.
	n, err := strconv.ParseUint(digits, base, 63)
	if errors.Is(err, strconv.ErrRange) {
		return 0, tooLarge(text)
	}
	if err != nil {
		return 0, fmt.Errorf("%s is not a number", shown(text))
	}
	return int64(n), nil
}

func readNumber(text string, limit int64) (int64, error) {
	n, err := parseInt(text)
	if err == nil && limit > 0 && n > limit {
		return 0, fmt.Errorf("%s is too large; the greatest value is %d", shown(text), limit)
	}
	return n, err
}

// readSize reads a number with an optional decimal suffix: 10k, 1.5MB.
func readSize(text string) (int64, error) {
	n, err := parseInt(text)
	if err == nil || errors.As(err, new(tooLarge)) {
		return n, err
	}
	digits := strings.TrimRight(text, "kKmMgGtTpPbB")
	scale := int64(1)
	suffix := strings.ToLower(text[len(digits):])
	if i := strings.IndexByte("kmgtp", firstByte(suffix)); suffix != "" && i >= 0 {
		suffix = suffix[1:]
		for range i + 1 {
			scale *= 1000
		}
	}
	if suffix != "" && suffix != "b" {
		return 0, fmt.Errorf("%s is not a size: write 1500, 10k or 5M", shown(text))
	}
	if n, err = scaled(digits, scale); err != nil {
		return 0, fmt.Errorf("%s is not a size: write 1500, 10k or 5M", shown(text))
	}
	return n, nil
}

func firstByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

var errNumber = errors.New("not a number")

// scaled reads a decimal number times scale, which must come out whole; digits
// after the sixth decimal do not count.
func scaled(text string, scale int64) (int64, error) {
	whole, fraction, dotted := strings.Cut(text, ".")
	if whole == "" || dotted && fraction == "" {
		return 0, errNumber
	}
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/scale {
		return 0, errNumber
	}
	total := int64(n) * scale
	for i := range len(fraction) {
		c := fraction[i]
		if c < '0' || c > '9' {
			return 0, errNumber
		}
		if scale%10 != 0 {
			if c != '0' && i < 6 {
				return 0, errNumber
			}
			continue
		}
		scale /= 10
		total += int64(c-'0') * scale
		if total < 0 {
			return 0, errNumber
		}
	}
	return total, nil
}

// unitMicros returns the units of durations in microseconds, each before those
// that its name ends with.
func unitMicros() []struct {
	name   string
	micros int64
} {
	return []struct {
		name   string
		micros int64
	}{
		{"us", 1},
		{"ms", 1000},
		{"s", 1e6},
		{"m", 60e6},
		{"h", 3600e6},
		{"d", 24 * 3600e6},
		{"w", 7 * 24 * 3600e6},
	}
}

// readDuration reads a number of seconds, or numbers with units: 90, 5m, 1h30m.
func readDuration(text string) (int64, error) {
	bad := fmt.Errorf("%s is not a duration: write 90, 5m or 1h30m", shown(text))
	if n, err := scaled(text, 1e6); err == nil {
		return n, nil
	}
	var total int64
	for rest := text; rest != ""; {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		unit := n
		for unit < len(rest) && rest[unit] >= 'a' && rest[unit] <= 'z' {
			unit++
		}
		var micros int64
		for _, u := range unitMicros() {
			if u.name == rest[n:unit] {
				micros = u.micros
			}
		}
		if micros == 0 {
			return 0, bad
		}
		part, err := scaled(rest[:n], micros)
		if err != nil || total > math.MaxInt64-part {
			return 0, bad
		}
		total += part
		rest = rest[unit:]
	}
	if text == "" {
		return 0, bad
	}
	return total, nil
}

// Bounds of times: the years 1 to 9999, in microseconds since 1970.
const (
	minTime = -62135596800 * 1e6
	maxTime = 253402300800*1e6 - 1
)

// ParseTime reads a point in time as filters have it.
func ParseTime(text string, opts Options) (time.Time, error) {
	micros, err := readTime(strings.TrimSpace(text), &opts)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(micros).UTC(), nil
}

// readTime reads a point in time.
func readTime(text string, opts *Options) (int64, error) {
	micros, ok := parseTime(text, opts)
	if !ok || micros < minTime || micros > maxTime {
		return 0, fmt.Errorf(
			"%s is not a time: write 2024-03-01, 2024-03-01 10:00:00, 2024-03-01T10:00:00Z, "+
				"seconds since 1970, or -2h", shown(text))
	}
	return micros, nil
}

func parseTime(text string, opts *Options) (int64, bool) {
	now := floorMicro(opts.Now)
	switch {
	case text == "now":
		return now, true
	case strings.HasPrefix(text, "-"), strings.HasPrefix(text, "+"):
		d, err := readDuration(text[1:])
		if err != nil || d > maxTime-minTime {
			return 0, false
		}
		if text[0] == '-' {
			d = -d
		}
		return now + d, true
	}
	if n, err := scaled(text, 1e6); err == nil {
		return n, true
	}
	// Fractions of a second are read where a layout has seconds, named or not.
	// RFC 3339 allows its T and Z to be lower case.
	text = strings.ToUpper(text)
	for _, day := range [...]string{"2006-01-02", "2006/01/02"} {
		if t, err := time.ParseInLocation(day, text, opts.Zone); err == nil {
			return floorMicro(t), true
		}
		for _, middle := range [...]string{" ", "T"} {
			for _, clock := range [...]string{"15:04:05", "15:04"} {
				for _, zone := range [...]string{"", "Z07:00"} {
					if t, err := time.ParseInLocation(day+middle+clock+zone, text, opts.Zone); err == nil {
						return floorMicro(t), true
					}
				}
			}
		}
	}
	return 0, false
}

// floorMicro returns t in microseconds since 1970, rounded down.
func floorMicro(t time.Time) int64 { return t.Unix()*1e6 + int64(t.Nanosecond()/1000) }

func readBool(text string) (int64, error) {
	switch strings.ToLower(text) {
	case "true", "t", "yes", "1":
		return 1, nil
	case "false", "f", "no", "0":
		return 0, nil
	}
	return 0, fmt.Errorf("%s is not true or false", shown(text))
}

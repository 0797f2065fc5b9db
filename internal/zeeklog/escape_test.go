// SPDX-License-Identifier: Apache-2.0

package zeeklog

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
)

func TestAppendTSV(t *testing.T) {
	tests := []struct {
		name, text, want string
		inList           bool
	}{
		{name: "plain", text: "/a b,c", want: "/a b,c"},
		{name: "list", text: "a,b", inList: true, want: `a\x2cb`},
		{name: "control", text: "a\tb\x00\x7f", want: `a\x09b\x00\x7f`},
		{name: "backslash", text: `a\b`, want: `a\\b`},
		{name: "utf-8", text: "gr\u00fc\u4f9e", want: "gr\u00fc\u4f9e"},
		{name: "one byte is not utf-8", text: "\u4f9eM\xb8v", want: `\xe4\xbe\x9eM\xb8v`},
		{name: "surrogate", text: "\xed\xa0\x80", want: `\xed\xa0\x80`},
		{name: "empty", text: "", want: "(empty)"},
		{name: "as if unset", text: "-", want: `\x2d`},
		{name: "as if empty", text: "(empty)", want: `\x28empty)`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(appendTSV(nil, []byte(tc.text), tc.inList)); got != tc.want {
				t.Errorf("appendTSV(%q) = %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}

// TestLocal checks what Zeek's default configuration holds to be local.
func TestLocal(t *testing.T) {
	l := newLogs(Config{})
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "172.31.255.255": true, "172.32.0.0": false, "192.168.0.1": true, "127.0.0.1": true,
		"169.254.1.1": true, "100.64.0.1": true, "100.128.0.0": false, "198.51.100.7": true, "255.255.255.255": true,
		"224.0.0.251": true, "224.0.1.1": false, "192.0.2.1": true, "192.0.3.1": false, "8.8.8.8": false,
		"::": true, "::1": true, "fe80::1": true, "fd00::1": true, "2001:db8::1": true, "2001:2::1": true, "2001:200::1": false,
		"2606:4700::1": false,
		// IPv4 networks as RFC 3056 writes them.
		"2002:a01:203::1": true, "2002:ac1f:ffff::1": true, "2002:ac20::1": false, "2002:c0a8:1::1": true,
		"2002:7f00:1::1": true, "2002:a9fe:101::1": true, "2002:6440::1": true, "2002:c633:6407::1": true, "2002:808:808::1": false,
	} {
		if got := l.isLocal(flow.AddrFrom(netip.MustParseAddr(addr))); got != want {
			t.Errorf("isLocal(%s) = %v, want %v", addr, got, want)
		}
	}
}

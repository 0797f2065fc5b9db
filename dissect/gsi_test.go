// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// gsiSteps puts a handshake in tokens, the last of which the server confirms.
func gsiSteps() []step {
	hs := upgradeHandshake()
	token := base64.StdEncoding.EncodeToString
	return []step{
		server("220 GridFTP\r\n"), client("AUTH GSSAPI\r\n"), server("334 go\r\n"),
		client("ADAT " + token([]byte(hs[0].data)) + "\r\n"),
		server("335 ADAT=" + token([]byte(hs[1].data)) + "\r\n"),
		client("ADAT " + token([]byte(hs[2].data)) + "\r\n"), server("235 done\r\n"), client("ENC x\r\n"),
	}
}

func TestGSSAPI(t *testing.T) {
	edit := func(i int, st ...step) []step {
		s := gsiSteps()
		return append(append(s[:i:i], st...), s[i+1:]...)
	}
	const suite = "TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	for _, tc := range []struct {
		name    string
		steps   []step
		want    []string
		service string
	}{
		{"whole", gsiSteps(), []string{upgradedRow}, "ftp,ssl"},
		{"bad encoding", edit(3, client("ADAT FgMB AGsB!\r\n")), nil, "ftp"},
		{"another mechanism", edit(3, client("ADAT YIIB\r\n")), nil, "ftp"},
		{"bad encoding behind a reply", edit(3, gsiSteps()[4], client("ADAT F!\r\n")), []string{suite + " - - F - - F si"}, "ftp"},
		{"bad encoding later", edit(4, server("335 ADAT=F!\r\n"), gsiSteps()[4]), []string{upgradedRow}, "ftp,ssl"},
		{"begins anew", edit(4, client("AUTH TLS\r\n")), []string{"- - - a.b F - - F C"}, "ftp,ssl"},
		{"refused", edit(2, server("504 no\r\n")), nil, "ftp"},
		{"refused later", edit(4, server("535 no\r\n")), []string{"- - - a.b F - - F C"}, "ftp,ssl"},
		{"done early", edit(4, server("235 done\r\n")), []string{"- - - a.b F - - F C"}, "ftp,ssl"},
		{"line without a token", edit(4, server("335 x\r\n"), gsiSteps()[4]), []string{upgradedRow}, "ftp,ssl"},
		{"a gap", edit(4, step{dir: flow.ToClient, gap: 3}), []string{"- - - a.b F - - F C"}, "ftp,ssl"},
		{"longer than a connection may keep", edit(3, client("ADAT "+strings.Repeat("A", DefaultMaxSession)+"\r\n")), nil, "ftp"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tuple := testTuple(flow.TCP, 2811)
			rows, service := conversation(t, Config{}, tuple, flow.SSL, tc.steps, whole)
			if diff := cmp.Diff(append([]string{}, tc.want...), pick(rows, tlsFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if service != tc.service {
				t.Errorf("service = %q, want %q", service, tc.service)
			}
			if !strings.HasPrefix(tc.name, "longer") {
				checkSplits(t, tuple, flow.SSL, tc.steps)
			}
		})
	}
}

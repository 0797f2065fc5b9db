// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// Pieces of a dialogue about TLS.
const (
	mysqlGreeting = "\x1e\x00\x00\x00\x0a8.0.28\x00" + "\x18\x00\x00\x00saltsalt\x00\xff\xff\xff\x02\x00\xff\xdf"
	mysqlSSL      = "\x20\x00\x00\x01\x85\xae\xff\x20\x00\x00\x00\x01\x21" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	mysqlPlain    = "\x09\x00\x00\x01\x85\xa6\xff\x20\x00\x00\x00\x01\x21"
	rdpRequest    = "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x0b\x00\x00\x00"
	rdpCookie     = "\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=user\r\n\x01\x00\x08\x00\x03\x00\x00\x00"
	rdpConfirm    = "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x08\x00\x00\x00"
	rdpData       = "\x03\x00\x00\x0c\x02\xf0\x80\x7f\x65\x82\x01\xb2"
	ldapStart     = "0\x1d\x02\x01\x01w\x18\x80\x161.3.6.1.4.1.1466.20037"
	ldapStarted   = "0\x0c\x02\x01\x01x\x07\x0a\x01\x00\x04\x00\x04\x00"
	ldapRefused   = "0\x0c\x02\x01\x01x\x07\x0a\x01\x35\x04\x00\x04\x00"
	ldapBind      = "0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\x00\x80\x00"
	ldapBound     = "0\x84\x00\x00\x00\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00"
	ldapSearch    = "0\x81\x09\x02\x01\x02c\x04\x04\x00\x0a\x01"
	postgresHello = "\x00\x00\x00\x10\x00\x03\x00\x00user\x00a\x00\x00"
	postgresGSS   = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	xmppClient    = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='a.example' xmlns:stream='http://etherx.jabber.org/streams'>"
	xmppServer    = xmppClient + "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
	xmppStart     = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	xmppProceed   = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
)

type upgradeCase struct {
	port    uint16
	before  []step
	service string // the TLS handshake that follows not counted
	tls     bool   // whether it is read
}

func upgradeCases() map[string]upgradeCase {
	c, s := client, server
	return map[string]upgradeCase{
		"SMTP": {25, []step{
			s("220 mx.example ESMTP\r\n"), c("EHLO a\r\n"), s("250-mx.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"),
			c("STARTTLS\r\n"), s("220 2.0.0 Ready\r\n"),
		}, "smtp", true},
		"SMTP in small letters and many lines": {587, []step{
			s("220-mx.example\r\n220 ESMTP\r\n"), c("ehlo a\r\n"), s("250 x\r\n"), c("starttls\r\n"), s("220-wait\r\n220 go\r\n"),
		}, "smtp", true},
		"SMTP for Exchange":          {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 X-ANONYMOUSTLS\r\n"), c("X-ANONYMOUSTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP on another port":       {2525, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP with a dash":           {2525, []step{s("220-mx\r\n220 y\r\n"), c("HELO a\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP refuses":               {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("454 no\r\n")}, "smtp", false},
		"SMTP is not asked":          {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("NOOP\r\n"), s("220 go\r\n")}, "smtp", false},
		"SMTP behind a mail":         {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("DATA\r\n"), s("354 go\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", false},
		"SMTP refuses, then not":     {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("454 no\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP does not wait":         {25, []step{s("220 mx\r\n"), c("EHLO a\r\nSTARTTLS\r\n"), s("250-x\r\n250 STARTTLS\r\n220 go\r\n")}, "smtp", true},
		"SMTP before the greeting":   {25, []step{c("EHLO a\r\nSTARTTLS\r\n"), s("220 mx\r\n250 x\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP with only a client":    {25, []step{c("EHLO a\r\nMAIL FROM:<a>\r\n")}, "smtp", false},
		"SMTP with a long line":      {25, []step{s("220 " + strings.Repeat("x", 3000) + "\r\n"), c("EHLO " + strings.Repeat("y", 200) + "\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP without codes":         {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("hello\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "", false},
		"SMTP with a gap":            {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250-x\r\n"), {dir: flow.ToClient, gap: 20}, s("0 y\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"SMTP with endless lines":    {25, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s(strings.Repeat("250-x\r\n", maxLines) + "250 x\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", false},
		"a greeting without words":   {9999, []step{s("220 hello\r\n"), c("whatever\r\n"), s("220 go\r\n")}, "", false},
		"a number like a greeting":   {9999, []step{s("2200 hello\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "", false},
		"FTP":                        {21, []step{s("220 (vsFTPd)\r\n"), c("FEAT\r\n"), s("211-Features:\r\n EPRT\r\n211 End\r\n"), c("AUTH TLS\r\n"), s("234 Proceed.\r\n")}, "ftp", true},
		"FTP with SSL":               {21, []step{s("220 x\r\n"), c("AUTH SSL\r\n"), s("234 Proceed.\r\n")}, "ftp", false},
		"FTP in small letters":       {21, []step{s("220 x\r\n"), c("auth TLS\r\n"), s("234 Proceed.\r\n")}, "ftp", true},
		"FTP refuses":                {21, []step{s("220 x\r\n"), c("AUTH TLS\r\n"), s("530 no.\r\n")}, "ftp", false},
		"FTP on another port":        {2121, []step{s("220 x\r\n"), c("USER a\r\n"), s("331 x\r\n"), c("PASS b\r\n"), s("230 x\r\n")}, "ftp", false},
		"FTP without a user":         {2121, []step{s("220 x\r\n"), c("AUTH TLS\r\n"), s("234 Proceed.\r\n")}, "", false},
		"FTP with bad codes":         {21, []step{s("220 x\r\n"), c("USER a\r\n"), s("331 x\r\n"), c("PASV\r\n"), s("99 x\r\n")}, "", false},
		"FTP without a space":        {21, []step{s("220 x\r\n"), c("USER a\r\n"), s("331_x\r\n")}, "", false},
		"FTP with lines inside":      {21, []step{s("220-x\r\n \r\nwelcome\r\n220-\r\n220\r\n221 y\r\n220 z\r\n"), c("USER a\r\n"), s("331\r\n")}, "ftp", false},
		"FTP asks behind a user":     {2121, []step{s("220 x\r\n"), c("USER a\r\n"), s("331 x\r\n"), c("AUTH TLS\r\n"), s("234 Proceed.\r\n")}, "ftp", true},
		"POP3":                       {110, []step{s("+OK ready\r\n"), c("CAPA\r\n"), s("+OK\r\nSTLS\r\n.\r\n"), c("STLS\r\n"), s("+OK begin\r\n")}, "pop3", true},
		"POP3 refuses":               {110, []step{s("+OK ready\r\n"), c("STLS\r\n"), s("-ERR\r\n")}, "", false},
		"POP3 without TLS":           {110, []step{s("+OK ready\r\n"), c("USER a\r\n"), s("+OK\r\n"), c("PASS b\r\n"), s("+OK\r\n")}, "pop3", false},
		"POP3 asks in vain":          {110, []step{s("+OK ready\r\n"), c("STLS\r\n"), s("-ERR\r\n"), c("NOOP\r\n"), s("+OK\r\n")}, "", false},
		"IMAP":                       {143, []step{s("* OK ready\r\n"), c("a1 CAPABILITY\r\n"), s("* CAPABILITY IMAP4rev1\r\na1 OK\r\n"), c("a2 STARTTLS\r\n"), s("* x\r\na2 OK begin\r\n")}, "imap", true},
		"IMAP refuses":               {143, []step{s("* OK ready\r\n"), c("a2 STARTTLS\r\n"), s("a2 BAD no\r\n")}, "imap", false},
		"IMAP with another tag":      {143, []step{s("* OK ready\r\n"), c("a2 STARTTLS\r\n"), s("a1 OK\r\n")}, "imap", false},
		"IMAP logs in":               {143, []step{s("* OK ready\r\n"), c("a1 LOGIN a b\r\n"), s("a1 OK\r\n"), c("a2 STARTTLS\r\n"), s("a2 OK\r\n")}, "imap", false},
		"IMAP on another port":       {1143, []step{s("* OK ready\r\n"), c("a2 STARTTLS\r\n"), s("a2 OK\r\n")}, "", false},
		"IRC":                        {6667, []step{s(":irc.example NOTICE * :hi\r\n"), c("CAP LS\r\nSTARTTLS\r\n"), s(":irc.example 670 * :STARTTLS successful\r\n")}, "irc", true},
		"IRC refuses":                {6669, []step{c("STARTTLS\r\n"), s(":irc.example 691 * :no\r\n")}, "irc", false},
		"IRC registers":              {6667, []step{c("NICK a\r\nUSER a\r\n"), s(":irc.example 001 a :Welcome\r\n"), c("STARTTLS\r\n"), s(":irc.example 670 a :go\r\n")}, "irc", false},
		"IRC on another port":        {7000, []step{c("NICK a\r\nUSER a\r\nSTARTTLS\r\n"), s(":irc.example 670 a :go\r\n")}, "irc", true},
		"IRC without a user":         {7000, []step{c("NICK a\r\nSTARTTLS\r\n"), s(":irc.example 670 a :go\r\n")}, "", false},
		"XMPP":                       {5222, []step{c(xmppClient), s(xmppServer), c(xmppStart), s(xmppProceed)}, "xmpp", true},
		"XMPP between servers":       {5269, []step{c(xmppClient), s(xmppServer), c("<starttls>"), s("<proceed/>")}, "xmpp", true},
		"XMPP on another port":       {5280, []step{c(xmppClient), s(xmppServer), c(xmppStart), s(xmppProceed)}, "xmpp", true},
		"XMPP is not asked":          {5222, []step{c(xmppClient), s(xmppServer + xmppProceed)}, "xmpp", false},
		"XMPP refuses":               {5222, []step{c(xmppClient), s(xmppServer), c(xmppStart), s("<failure/>")}, "xmpp", false},
		"XMPP logs in":               {5222, []step{c(xmppClient), s(xmppServer), c("<auth>x</auth>"), s("<success/>"), c(xmppStart), s(xmppProceed)}, "xmpp", false},
		"XMPP between servers, late": {5269, []step{c(xmppClient), s(xmppServer), c("<db:result>k</db:result>" + xmppStart), s(xmppProceed)}, "xmpp", false},
		"XMPP of a client alone":     {5222, []step{c(xmppClient)}, "xmpp", false},
		"XMPP with a gap":            {5222, []step{c(xmppClient), s(xmppServer), {dir: flow.ToClient, gap: 1}, c(xmppStart), s(xmppProceed)}, "xmpp", false},
		"XML of something else":      {5280, []step{c("<?xml version='1.0'?><x/>"), s("<y/>")}, "", false},
		"MySQL":                      {3306, []step{s(mysqlGreeting), c(mysqlSSL)}, "mysql", true},
		"MySQL without TLS":          {3306, []step{s(mysqlGreeting), c(mysqlPlain)}, "mysql", false},
		"MySQL refuses":              {3306, []step{s("\x17\x00\x00\x00\xff\x10\x04Too many connections")}, "", false},
		"MySQL without a greeting":   {3306, []step{c(mysqlSSL)}, "", false},
		"MySQL on another port":      {3307, []step{s(mysqlGreeting), c(mysqlSSL)}, "", false},
		"RDP":                        {3389, []step{c(rdpRequest), s(rdpConfirm)}, "", true},
		"RDP on another port":        {13389, []step{c(rdpCookie), s(rdpConfirm)}, "", true},
		"RDP without a cookie":       {13389, []step{c(rdpRequest), s(rdpConfirm)}, "", false},
		"RDP without TLS":            {3389, []step{c(rdpCookie), s(rdpConfirm), c(rdpData)}, "rdp", false},
		"RDP with a bad length":      {3389, []step{c("\x03\x00\x00\x06\x02\xe0\x00"), s(rdpConfirm)}, "", false},
		"PostgreSQL":                 {5432, []step{c(requestSSL), s("S")}, "postgresql", true},
		"PostgreSQL elsewhere":       {15432, []step{c(requestSSL), s("S")}, "postgresql", true},
		"PostgreSQL refuses":         {5432, []step{c(requestSSL), s("N"), c(postgresHello), s("R\x00\x00\x00\x08\x00\x00\x00\x00")}, "postgresql", false},
		"PostgreSQL, GSSAPI first":   {5432, []step{c(postgresGSS), s("N"), c(requestSSL), s("S")}, "postgresql", true},
		"PostgreSQL takes GSSAPI":    {5432, []step{c(postgresGSS), s("S")}, "", false},
		"PostgreSQL in the clear":    {5432, []step{c(postgresHello), s("R\x00\x00\x00\x08\x00\x00\x00\x00")}, "", false},
		"PostgreSQL is not asked":    {5432, []step{s("S"), c(requestSSL)}, "", false},
		"PostgreSQL's port, SMTP":    {5432, []step{s("220 mx\r\n"), c("EHLO a\r\n"), s("250 x\r\n"), c("STARTTLS\r\n"), s("220 go\r\n")}, "smtp", true},
		"LDAP":                       {389, []step{c(ldapStart), s(ldapStarted)}, "ldap_tcp", true},
		"LDAP refuses":               {389, []step{c(ldapStart), s(ldapRefused)}, "ldap_tcp", false},
		"LDAP of the catalog":        {3268, []step{c(ldapStart), s(ldapStarted)}, "ldap_tcp", true},
		"LDAP elsewhere":             {1389, []step{c(ldapStart), s(ldapStarted)}, "", false},
		"LDAP elsewhere, bound":      {1389, []step{c(ldapBind), s(ldapBound), c(ldapStart), s(ldapStarted)}, "ldap_tcp", true},
		"LDAP asks for other things": {389, []step{c(ldapBind), s(ldapBound), c(ldapSearch), s(ldapBound), c(ldapStart), s(ldapStarted)}, "ldap_tcp", true},
		"LDAP in the clear":          {389, []step{c(ldapBind), s(ldapBound)}, "ldap_tcp", false},
		"LDAP with a bad length":     {389, []step{c("0\x80\x02\x01\x01"), s(ldapBound)}, "", false},
		"LDAP of something else":     {389, []step{c("hello hello"), s("whatever")}, "", false},
		"RDP of something else":      {3389, []step{c("hello hello")}, "", false},
	}
}

// upgradeHandshake is short, and the same each time.
func upgradeHandshake() []step {
	hello := tlsRecord(22, tlsMessage(1, tlsHello(0x0303, "", oneSuite, "\x00\x00\x00\x08\x00\x06\x00\x00\x03a.b")))
	answer := tlsRecord(22, tlsMessage(2, tlsHello(0x0303, "", "\xc0\x2f\x00", "")))
	ccs, secret := tlsRecord(20, "\x01"), tlsRecord(22, "0123456789")
	return []step{client(hello), server(answer + ccs + secret), client(ccs + secret)}
}

const upgradedRow = "TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - T CsiI"

func TestUpgrade(t *testing.T) {
	for name, tc := range upgradeCases() {
		t.Run(name, func(t *testing.T) {
			tuple := testTuple(flow.TCP, tc.port)
			steps := append(tc.before, upgradeHandshake()...)
			rows, service := conversation(t, Config{}, tuple, flow.SSL, steps, whole)
			want, wantService := []string{}, tc.service
			if tc.tls {
				want = append(want, upgradedRow)
				wantService = strings.TrimPrefix(wantService+",ssl", ",")
			} else {
				// A handshake is nothing that the protocol may have.
				_, service = conversation(t, Config{}, tuple, flow.SSL, tc.before, whole)
			}
			if diff := cmp.Diff(want, pick(rows, tlsFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if service != wantService {
				t.Errorf("service = %q, want %q", service, wantService)
			}
			checkSplits(t, tuple, flow.SSL, steps)
		})
	}
}

// TestUpgradeInOneSegment checks TLS directly behind the words that lead to it.
func TestUpgradeInOneSegment(t *testing.T) {
	hs := upgradeHandshake()
	for _, tc := range []struct {
		name  string
		port  uint16
		steps []step
	}{
		{"MySQL", 3306, []step{server(mysqlGreeting), client(mysqlSSL + hs[0].data)}},
		{"RDP", 3389, []step{server(rdpConfirm), client(rdpRequest + hs[0].data)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows, _ := conversation(t, Config{}, testTuple(flow.TCP, tc.port), flow.SSL, append(tc.steps, hs[1:]...), whole)
			if diff := cmp.Diff([]string{upgradedRow}, pick(rows, tlsFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUpgradeGivesUp checks that the session goes as soon as TLS is out of
// question, and that nothing more is wanted.
func TestUpgradeGivesUp(t *testing.T) {
	for name, steps := range map[string][]step{
		"POP3 logs in": {server("+OK\r\n"), client("USER a\r\n"), server("+OK\r\n"), client("PASS b\r\n"), server("+OK\r\n")},
		"IMAP logs in": {server("* OK\r\n"), client("a LOGIN b c\r\n")},
		"SMTP's mail":  {server("220 x\r\n"), client("EHLO a\r\nDATA\r\n")},
		"no LDAP":      {client("hello")},
		"plain MySQL":  {server(mysqlGreeting), client(mysqlPlain)},
		"many lines":   {server("220 x\r\n" + strings.Repeat("220 x\r\n", maxLines))},
		"SSH":          {server("SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x15"), client("SSH-2.0-y\r\n\x00\x00\x00\x0c\x0a\x15")},
	} {
		port := map[string]uint16{"POP3 logs in": 110, "IMAP logs in": 143, "plain MySQL": 3306, "no LDAP": 389}[name]
		s := NewShard(Config{})
		tuple := testTuple(flow.TCP, port)
		var a App
		for i, st := range steps {
			if !a.Wants(st.dir) {
				t.Errorf("%s: step %d is not wanted", name, i)
			}
			s.Stream(&tuple, &a, st.dir, 1, []byte(st.data))
		}
		if a.Wants(flow.ToServer) || a.Wants(flow.ToClient) || s.Stats().Sessions != 0 {
			t.Errorf("%s: more is wanted, or one of %d sessions is left", name, s.Stats().Sessions)
		}
	}
}

func FuzzUpgrade(f *testing.F) {
	add := func(port uint16, steps []step) {
		q, r := "", ""
		for _, st := range steps {
			if st.dir == flow.ToServer {
				q += st.data
			} else {
				r += st.data
			}
		}
		f.Add(q, r, port, uint16(3))
	}
	for _, tc := range upgradeCases() {
		add(tc.port, append(tc.before, upgradeHandshake()...))
	}
	add(2811, gsiSteps())
	f.Fuzz(func(t *testing.T, q, r string, port, n uint16) {
		// Lines and packets are served in turn, as in a dialogue.
		var steps []step
		for _, part := range strings.SplitAfter(r+"\x00"+q, "\n") {
			steps = append(steps, server(part))
		}
		for i, part := range strings.SplitAfter(q, "\n") {
			steps = append(steps[:min(2*i, len(steps))], append([]step{client(part)}, steps[min(2*i, len(steps)):]...)...)
		}
		tuple := testTuple(flow.TCP, port)
		want, service := conversation(t, Config{}, tuple, flow.SSL, steps, whole)
		got, other := conversation(t, Config{}, tuple, flow.SSL, steps, cutBy(1+int(n)%300))
		if diff := cmp.Diff(want, got); diff != "" || service != other {
			t.Fatalf("cut by %d differs (-whole +cut), service %q and %q:\n%s", 1+int(n)%300, service, other, diff)
		}
	})
}

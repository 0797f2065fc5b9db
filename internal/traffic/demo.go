// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// office is the network of the Demo scenario: twelve desks, a printer, a
// storage server and a router that resolves names. Hidden in its ordinary day
// are a DNS tunnel, a port scan, a beacon and a large backup.
type office struct {
	desks   []site
	router  site
	storage site
	printer site
	sites   []site
	popular *rand.Zipf
}

// task is something that happens once.
type task func(g *generator)

// next implements source.
func (t task) next(g *generator) (int64, bool) {
	t(g)
	return 0, false
}

// after schedules a task for a time since the beginning of the capture.
func (g *generator) after(d time.Duration, t task) { g.add(capturesBegin()+int64(d), t) }

const (
	workday     = 8*time.Hour + 30*time.Minute
	deskCount   = 12
	visits      = 52 // of web sites, by each desk
	tunnelStart = 4*time.Hour + 7*time.Minute
	tunnelTime  = 45 * time.Minute
	tunnelSteps = 1400
	scanStart   = 5*time.Hour + 41*time.Minute
	backupStart = workday + time.Minute
	backupSize  = 18 << 20
)

// machine returns a named machine of the office.
func machine(name string, n byte) site {
	h := newHost(192, 0, int(n), 64)
	h.v4 = [4]byte{192, 168, 10, n}
	copy(h.v6[:], []byte{0x20, 0x01, 0x0d, 0xb8, 0, 0x10})
	return site{host: h, name: name + ".office.test"}
}

// remote returns a named server out on the network.
func remote(name string, n int) site {
	h := newHost(203, 5, n, 55)
	h.v4 = [4]byte{203, 0, 113, byte(n)}
	return site{host: h, name: name}
}

func newOffice(rng *rand.Rand) *office {
	o := &office{
		router: machine("router", 1), storage: machine("storage", 10), printer: machine("printer", 60),
	}
	for i := range deskCount {
		o.desks = append(o.desks, machine(fmt.Sprintf("desk-%02d", i+1), byte(21+i)))
	}
	names := []string{
		"www.example.com", "search.example.com", "mail.example.com", "docs.example.com",
		"cdn.example.net", "news.example.org", "calendar.example.com", "weather.example.org",
		"static.example.net", "shop.test", "www.shop.test", "wiki.example.org", "chat.example.com",
		"images.example.net", "forum.example.org", "updates.example.net", "maps.example.com",
		"video.example.com", "bank.test", "travel.test", "packages.example.org", "git.example.org",
		"music.example.net", "tickets.example.com", "library.example.org", "recipes.test",
	}
	for i, name := range names {
		o.sites = append(o.sites, remote(name, 10+i))
		if i%4 == 2 {
			o.sites[i].alias = fmt.Sprintf("edge%d.cdn.example.net", i)
		}
	}
	o.popular = rand.NewZipf(rng, 1.3, 2, uint64(len(names)-1))
	return o
}

// startDemo schedules the day.
func (g *generator) startDemo() {
	g.corpus = newCorpus(g.rng)
	g.certs = map[string][]byte{}
	o := newOffice(g.rng)
	for i := range o.desks {
		o.browsing(g, &o.desks[i])
	}
	o.services(g)
	o.beacon(g)
	o.tunnel(g)
	o.scan(g)
	backup := remote("backup.example.org", 90)
	g.after(backupStart, func(g *generator) {
		o.ask(g, &o.storage.host, &backup, typeA)
		g.after(backupStart+300*time.Millisecond, func(g *generator) {
			g.start(g.bulk(&o.storage.host, &backup.host, 873, false, true, backupSize), ClassBulk)
		})
	})
}

// ask looks a name up.
func (o *office) ask(g *generator, from *host, s *site, qtype uint16) {
	q := question{name: s.name, qtype: qtype, edns: g.chance(0.4)}
	q.answers = s.addresses(qtype, 300)
	g.dns(from, &o.router.host, false, q)
}

// busy returns a time of the working day, seldom one around noon.
func (g *generator) busy() time.Duration {
	for {
		d := time.Duration(g.rng.Int64N(int64(workday)))
		if d < 3*time.Hour || d > 4*time.Hour || g.chance(0.25) {
			return d
		}
	}
}

// browsing schedules what a desk does on the web: a name, then a connection.
func (o *office) browsing(g *generator, desk *site) {
	for range visits {
		at := g.busy()
		g.after(at, func(g *generator) {
			s := &o.sites[o.popular.Uint64()]
			v6 := g.chance(0.2)
			qtype := uint16(typeA)
			if v6 {
				qtype = typeAAAA
			}
			o.ask(g, &desk.host, s, qtype)
			if g.chance(0.05) {
				typo := question{name: "wwww." + s.name, qtype: typeA, rcode: codeNXDomain}
				g.dns(&desk.host, &o.router.host, false, typo)
			}
			g.after(at+100*time.Millisecond, func(g *generator) {
				if g.chance(0.25) {
					g.http(&desk.host, s, 80, v6, g.between(1, 3))
					return
				}
				g.tls(&desk.host, s, 443, v6, g.someShape(), load{rounds: g.between(2, 4), volume: g.between(2000, 30_000)})
			})
		})
	}
}

// services schedules time, mail, file and print services, and monitoring.
func (o *office) services(g *generator) {
	clock, mail, call := remote("time.example.net", 80), remote("smtp.example.org", 81), remote("meet.example.com", 82)
	for i := range o.desks {
		desk := &o.desks[i]
		for at := time.Duration(i) * 97 * time.Second; at < workday; at += 2048 * time.Second / 2 {
			g.after(at, func(g *generator) { g.ntp(&desk.host, &clock.host, false) })
		}
		for range 3 {
			g.after(g.busy(), func(g *generator) { g.mail(&desk.host, &mail, desk.name) })
			g.after(g.busy(), func(g *generator) { g.shell(&desk.host, &o.storage, 445, "", 24) })
		}
	}
	for range 4 {
		g.after(g.busy(), func(g *generator) { g.shell(&o.desks[1].host, &o.storage, 22, "SSH-2.0-OpenSSH_9.9", 150) })
		g.after(g.busy(), func(g *generator) {
			g.start(g.bulk(&o.desks[4].host, &o.printer.host, 9100, false, true, g.between(100_000, 400_000)), ClassBulk)
		})
	}
	for at := 10 * time.Minute; at < workday; at += 30 * time.Minute {
		g.after(at, func(g *generator) { g.echo(&o.storage.host, &o.router.host, false, 3, true) })
	}
	g.after(90*time.Minute, func(g *generator) {
		o.ask(g, &o.desks[8].host, &call, typeA)
		k := g.connect(&o.desks[8].host, &call.host, protoUDP, 3478, false)
		for i := range 2400 {
			k.say(i%2, int64(20*time.Millisecond), opaque(g.corpus.randomOf(g.rng, g.between(300, 900))))
		}
		g.start(k, ClassUDP)
	})
}

// mail starts the delivery of a message.
func (g *generator) mail(c *host, s *site, from string) {
	k := g.connect(c, &s.host, protoTCP, 25, false)
	lines := []string{
		"220 " + s.name + " ESMTP", "EHLO " + from, "250 " + s.name, "MAIL FROM:<someone@office.test>", "250 Ok",
		"RCPT TO:<someone@example.org>", "250 Ok", "DATA", "354 End data with <CR><LF>.<CR><LF>",
		"Subject: minutes\r\n\r\n" + string(g.corpus.textOf(g.rng, g.between(500, 9000))) + "\r\n.",
		"250 Ok: queued", "QUIT", "221 Bye",
	}
	for i, line := range lines {
		k.say(1-i%2, g.wait(2*time.Millisecond, 60*time.Millisecond), []byte(line+"\r\n"))
	}
	k.end = serverCloses
	g.start(k, ClassBulk)
}

// shell starts an interactive connection: many small messages both ways.
func (g *generator) shell(c *host, s *site, port uint16, banner string, messages int) {
	k := g.connect(c, &s.host, protoTCP, port, false)
	if banner != "" {
		k.say(server, 0, []byte(banner+"\r\n"))
		k.say(client, 0, []byte(banner+"\r\n"))
	}
	for i := range messages {
		k.say(i%2, g.wait(20*time.Millisecond, 3*time.Second), opaque(g.corpus.randomOf(g.rng, 20*g.between(2, 20))))
	}
	g.start(k, ClassBulk)
}

// beacon calls home once a minute, all day.
func (o *office) beacon(g *generator) {
	home := remote("telemetry-sync.example.net", 66)
	desk := &o.desks[2]
	for at := 17 * time.Second; at < workday; at += time.Minute {
		g.after(at+time.Duration(g.wait(0, 150*time.Millisecond)), func(g *generator) {
			shape := tlsShape{version: 0x0303, cipher: 0xc02f}
			g.tls(&desk.host, &home, 8443, false, shape, load{rounds: 1, volume: 120})
		})
	}
}

// tunnel carries data in the labels of names below one domain.
func (o *office) tunnel(g *generator) {
	desk := &o.desks[6]
	encoding := base32.StdEncoding.WithPadding(base32.NoPadding)
	label := func(n int) string {
		return strings.ToLower(encoding.EncodeToString(g.corpus.randomOf(g.rng, n)))
	}
	for i := range tunnelSteps {
		at := tunnelStart + tunnelTime*time.Duration(i)/tunnelSteps
		g.after(at, func(g *generator) {
			q := question{name: label(38) + "." + label(30) + ".t.example.net", qtype: typeTXT}
			q.answers = []answer{{rtype: typeTXT, data: textData(label(100))}}
			g.dns(&desk.host, &o.router.host, false, q)
		})
	}
}

// scan tries the first thousand ports of three machines.
func (o *office) scan(g *generator) {
	from := &o.desks[11]
	for n, to := range []*site{&o.storage, &o.printer, &o.desks[0]} {
		for port := 1; port <= 1000; port++ {
			at := scanStart + time.Duration(n)*40*time.Second + time.Duration(port)*35*time.Millisecond
			g.after(at, func(g *generator) {
				k := g.connect(&from.host, &to.host, protoTCP, uint16(port), false)
				k.rtt = g.wait(100*time.Microsecond, 900*time.Microsecond)
				k.end = refused
				switch {
				case n == 0 && (port == 22 || port == 80 || port == 445):
					k.end = halfOpen
				case n == 2:
					k.end = ignored
				}
				g.start(k, ClassScan)
			})
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"fmt"
	"time"
)

// agents are the user agents of the mix.
func agents() []string {
	return []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
		"curl/8.9.1",
		"python-requests/2.32.3",
		"Debian APT-HTTP/1.3 (2.6.1)",
	}
}

// body is how a reply carries its body.
type body uint8

const (
	sized body = iota
	chunked
	gzipped
	gzippedChunks
	noBody
)

// exchange is one HTTP request with its reply.
type exchange struct {
	method string
	uri    string
	status string // "200 OK"
	kind   string // Content-Type
	posted int    // bytes of the request's body
	size   int    // bytes of the reply's body
	body   body
	// expect asks for "100 Continue" before the body is sent.
	expect bool
}

// request adds the request to c.
func (g *generator) request(c *conn, wait int64, host, agent string, e *exchange) {
	head := make([]byte, 0, 400)
	head = fmt.Appendf(head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n",
		e.method, e.uri, host, agent)
	if e.method == "POST" {
		head = fmt.Appendf(head, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n", e.posted)
	}
	if e.expect {
		head = append(head, "Expect: 100-continue\r\n"...)
	}
	c.say(client, wait, append(head, "Connection: keep-alive\r\n\r\n"...))
	if e.expect {
		c.say(server, 0, []byte("HTTP/1.1 100 Continue\r\n\r\n"))
		c.say(client, 0, g.corpus.textOf(g.rng, e.posted))
	} else {
		c.sayMore(g.corpus.textOf(g.rng, e.posted))
	}
	g.totals.HTTPExchanges++
	g.totals.HTTPRequestBytes += int64(e.posted)
}

// reply adds the reply to c.
func (g *generator) reply(c *conn, wait int64, e *exchange, last bool) {
	head := make([]byte, 0, 300)
	head = fmt.Appendf(head, "HTTP/1.1 %s\r\nDate: Mon, 02 Mar 2026 09:00:00 GMT\r\nServer: nginx/1.26.2\r\n", e.status)
	if e.body != noBody {
		head = fmt.Appendf(head, "Content-Type: %s\r\n", e.kind)
	}
	var data []byte
	length := e.size
	switch e.body {
	case sized, chunked:
		data = g.corpus.textOf(g.rng, e.size)
	case gzipped, gzippedChunks:
		p := g.corpus.packed[g.rng.IntN(len(g.corpus.packed))]
		data, length = p.data, p.length
		head = append(head, "Content-Encoding: gzip\r\n"...)
	case noBody:
		length = 0
	}
	switch {
	case e.body == chunked || e.body == gzippedChunks:
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	case e.body != noBody:
		head = fmt.Appendf(head, "Content-Length: %d\r\n", len(data))
	case e.method == "HEAD":
		head = fmt.Appendf(head, "Content-Length: %d\r\n", e.size)
	}
	if last {
		head = append(head, "Connection: close\r\n"...)
	}
	c.say(server, wait, append(head, "\r\n"...))
	if e.body == chunked || e.body == gzippedChunks {
		for len(data) > 0 {
			n := min(len(data), g.between(500, 8000))
			c.sayMore(fmt.Appendf(nil, "%x\r\n", n))
			c.sayMore(data[:n:n])
			c.sayMore([]byte("\r\n"))
			data = data[n:]
		}
		c.sayMore([]byte("0\r\n\r\n"))
	} else {
		c.sayMore(data)
	}
	g.totals.HTTPResponseBytes += int64(length)
}

// someExchange makes up an exchange.
func (g *generator) someExchange() exchange {
	w := words()
	e := exchange{
		method: "GET", status: "200 OK", kind: "text/html; charset=utf-8",
		uri: fmt.Sprintf("/%s/%s-%d.html?id=%d", w[g.rng.IntN(len(w))], w[g.rng.IntN(len(w))], g.rng.IntN(500), g.rng.IntN(1e6)),
	}
	switch p := g.rng.Float64(); {
	case p < 0.40:
		e.size = g.between(500, 9000)
	case p < 0.60:
		e.kind, e.size = "image/png", g.between(2000, 26_000)
	case p < 0.70:
		e.body, e.size = chunked, g.between(500, 12_000)
	case p < 0.80:
		e.body = gzipped
	case p < 0.84:
		e.body = gzippedChunks
	case p < 0.90:
		e.method, e.posted, e.size = "POST", g.between(20, 3000), g.between(20, 600)
		e.kind = "application/json"
		e.expect = g.chance(0.1)
	case p < 0.93:
		e.body, e.status = noBody, "304 Not Modified"
	case p < 0.95:
		e.body, e.status = noBody, "204 No Content"
	case p < 0.96:
		e.method, e.body, e.size = "HEAD", noBody, g.between(100, 100_000)
	case p < 0.99:
		e.status, e.size = "404 Not Found", g.between(100, 600)
	default:
		e.kind, e.size = "application/octet-stream", g.between(60_000, 160_000)
	}
	return e
}

// http starts an HTTP connection with n exchanges.
func (g *generator) http(c *host, s *site, port uint16, v6 bool, n int) {
	k := g.connect(c, &s.host, protoTCP, port, v6)
	k.synTwice = g.chance(0.003)
	all := agents()
	agent := all[int(c.v4[3])%len(all)]
	think := func() int64 { return g.wait(5*time.Millisecond, 900*time.Millisecond) }
	serve := func() int64 { return g.wait(time.Millisecond, 80*time.Millisecond) }
	pipelined := n > 1 && g.chance(0.03)
	plan := make([]exchange, n)
	for i := range plan {
		plan[i] = g.someExchange()
		if pipelined {
			plan[i].expect = false
		}
	}
	name := s.name
	if port != 80 {
		name = fmt.Sprintf("%s:%d", s.name, port)
	}
	if pipelined {
		for i := range plan {
			g.request(k, 0, name, agent, &plan[i])
		}
	}
	k.end = clientCloses
	if g.chance(0.4) {
		k.end = serverCloses
	}
	if g.chance(0.03) {
		k.end = clientResets
	}
	for i := range plan {
		if !pipelined {
			g.request(k, think(), name, agent, &plan[i])
		}
		last := i == n-1 && k.end == serverCloses
		g.reply(k, serve(), &plan[i], last)
	}
	g.start(k, ClassHTTP)
}

// mixHTTP starts an HTTP connection of the mix.
func (g *generator) mixHTTP() {
	ports := [...]uint16{80, 80, 80, 80, 80, 80, 80, 80, 8080, 8000, 5985, 9080}
	n := 1
	for n < 8 && g.chance(0.45) {
		n++
	}
	g.http(g.hosts.client(g), g.hosts.site(), ports[g.rng.IntN(len(ports))], g.chance(v6Share), n)
}

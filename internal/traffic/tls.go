// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/asn1"
	"encoding/binary"
	"time"
)

// TLS record types.
const (
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// TLS handshake messages.
const (
	helloClient       = 1
	helloServer       = 2
	newTicket         = 4
	certificate       = 11
	serverKeyExchange = 12
	serverHelloDone   = 14
	clientKeyExchange = 16
)

// builder builds nested length-prefixed structures.
type builder struct{ b []byte }

func (w *builder) u8(v ...uint8) { w.b = append(w.b, v...) }
func (w *builder) u16(v ...uint16) {
	for _, x := range v {
		w.b = binary.BigEndian.AppendUint16(w.b, x)
	}
}
func (w *builder) raw(b []byte) { w.b = append(w.b, b...) }

// nested writes what f writes, with its length in n bytes in front.
func (w *builder) nested(n int, f func()) {
	at := len(w.b)
	w.b = append(w.b, make([]byte, n)...)
	f()
	size := len(w.b) - at - n
	for i := range n {
		w.b[at+i] = byte(size >> (8 * (n - 1 - i)))
	}
}

// record writes a TLS record.
func (w *builder) record(kind uint8, version uint16, f func()) {
	w.u8(kind)
	w.u16(version)
	w.nested(2, f)
}

// handshake writes a record with one handshake message.
func (w *builder) handshake(kind uint8, version uint16, f func()) {
	w.record(recordHandshake, version, func() {
		w.u8(kind)
		w.nested(3, f)
	})
}

// extension writes an extension of a hello.
func (w *builder) extension(kind uint16, f func()) {
	w.u16(kind)
	w.nested(2, f)
}

// tlsShape is what a handshake looks like.
type tlsShape struct {
	version uint16 // 0x0303 or 0x0304
	cipher  uint16
	alpn    string // chosen, "" for none
	offers  []string
	resumed bool
	refused bool // the server answers with an alert
}

func (g *generator) clientHello(name string, shape *tlsShape) []byte {
	w := &builder{b: make([]byte, 0, 600)}
	w.handshake(helloClient, 0x0301, func() {
		w.u16(0x0303)
		w.raw(g.corpus.randomOf(g.rng, 32))
		w.nested(1, func() {
			if shape.version == 0x0304 || shape.resumed {
				w.raw(g.corpus.randomOf(g.rng, 32))
			}
		})
		w.nested(2, func() {
			if shape.version == 0x0304 {
				w.u16(0x1301, 0x1302, 0x1303)
			}
			w.u16(0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035)
		})
		w.u8(1, 0) // no compression
		w.nested(2, func() {
			w.extension(0, func() { // server_name
				w.nested(2, func() {
					w.u8(0)
					w.nested(2, func() { w.raw([]byte(name)) })
				})
			})
			w.extension(23, func() {}) // extended_master_secret
			w.extension(10, func() { w.nested(2, func() { w.u16(29, 23, 24) }) })
			w.extension(11, func() { w.u8(1, 0) })
			w.extension(35, func() {
				if shape.resumed {
					w.raw(g.corpus.randomOf(g.rng, 160))
				}
			})
			if len(shape.offers) > 0 {
				w.extension(16, func() {
					w.nested(2, func() {
						for _, p := range shape.offers {
							w.nested(1, func() { w.raw([]byte(p)) })
						}
					})
				})
			}
			w.extension(13, func() { w.nested(2, func() { w.u16(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501) }) })
			if shape.version == 0x0304 {
				w.extension(43, func() { w.nested(1, func() { w.u16(0x0304, 0x0303) }) })
				w.extension(45, func() { w.u8(1, 1) })
				w.extension(51, func() {
					w.nested(2, func() {
						w.u16(29)
						w.nested(2, func() { w.raw(g.corpus.randomOf(g.rng, 32)) })
					})
				})
			}
		})
	})
	return w.b
}

// serverHello returns the server's first flight, up to what is encrypted. The
// session id is the client's where there is one.
func (g *generator) serverHello(hello []byte, name string, shape *tlsShape) []byte {
	// 5 bytes of record, 4 of handshake, 2 of version, 32 of random.
	session := hello[44 : 44+int(hello[43])]
	w := &builder{b: make([]byte, 0, 3000)}
	w.handshake(helloServer, 0x0303, func() {
		w.u16(0x0303)
		w.raw(g.corpus.randomOf(g.rng, 32))
		w.nested(1, func() {
			if len(session) == 0 {
				session = g.corpus.randomOf(g.rng, 32)
			}
			w.raw(session)
		})
		w.u16(shape.cipher)
		w.u8(0)
		w.nested(2, func() {
			if shape.version == 0x0304 {
				w.extension(43, func() { w.u16(0x0304) })
				w.extension(51, func() {
					w.u16(29)
					w.nested(2, func() { w.raw(g.corpus.randomOf(g.rng, 32)) })
				})
				return
			}
			w.extension(0xff01, func() { w.u8(0) })
			w.extension(23, func() {})
			if shape.alpn != "" {
				w.extension(16, func() {
					w.nested(2, func() { w.nested(1, func() { w.raw([]byte(shape.alpn)) }) })
				})
			}
		})
	})
	switch {
	case shape.version == 0x0304:
		w.record(recordCCS, 0x0303, func() { w.u8(1) })
		g.encrypted(w, recordData, g.between(1800, 3600)) // certificate and the rest
	case shape.resumed:
		w.record(recordCCS, 0x0303, func() { w.u8(1) })
		g.encrypted(w, recordHandshake, 40)
	default:
		w.handshake(certificate, 0x0303, func() {
			w.nested(3, func() {
				for _, cert := range [][]byte{g.certificate(name), g.certificate("ca.example.org")} {
					w.nested(3, func() { w.raw(cert) })
				}
			})
		})
		w.handshake(serverKeyExchange, 0x0303, func() {
			w.u8(3)
			w.u16(29)
			w.nested(1, func() { w.raw(g.corpus.randomOf(g.rng, 32)) })
			w.u16(0x0804)
			w.nested(2, func() { w.raw(g.corpus.randomOf(g.rng, 256)) })
		})
		w.handshake(serverHelloDone, 0x0303, func() {})
	}
	return w.b
}

// encrypted writes a record of n bytes that look like ciphertext.
func (g *generator) encrypted(w *builder, kind uint8, n int) {
	w.record(kind, 0x0303, func() { w.raw(g.corpus.randomOf(g.rng, n)) })
}

// sayData makes from send n bytes of application data in records of at most
// 16 KiB.
func (g *generator) sayData(c *conn, from int, wait int64, n int) {
	for first := true; n > 0; first = false {
		size := min(n, 16<<10)
		head := []byte{recordData, 3, 3, byte(size >> 8), byte(size)}
		if first {
			c.say(from, wait, head)
		} else {
			c.sayMore(head)
		}
		c.sayMore(g.corpus.randomOf(g.rng, size))
		n -= size
	}
}

// load is what a TLS connection carries: so many requests, and so many bytes of
// answers to all of them.
type load struct{ rounds, volume int }

// tls starts a TLS connection.
func (g *generator) tls(c *host, s *site, port uint16, v6 bool, shape tlsShape, carry load) {
	k := g.connect(c, &s.host, protoTCP, port, v6)
	g.totals.TLSHandshakes++
	hello := g.clientHello(s.name, &shape)
	k.say(client, g.wait(0, 3*time.Millisecond), hello)
	if shape.refused {
		k.say(server, g.wait(time.Millisecond, 20*time.Millisecond), []byte{recordAlert, 3, 3, 0, 2, 2, 40})
		k.end = serverCloses
		g.start(k, ClassTLS)
		return
	}
	g.totals.TLSEstablished++
	k.say(server, g.wait(time.Millisecond, 30*time.Millisecond), g.serverHello(hello, s.name, &shape))
	w := &builder{}
	switch {
	case shape.version == 0x0304:
		w.record(recordCCS, 0x0303, func() { w.u8(1) })
		g.encrypted(w, recordData, 53) // Finished
	case shape.resumed:
		w.record(recordCCS, 0x0303, func() { w.u8(1) })
		g.encrypted(w, recordHandshake, 40)
	default:
		w.handshake(clientKeyExchange, 0x0303, func() {
			w.nested(1, func() { w.raw(g.corpus.randomOf(g.rng, 32)) })
		})
		w.record(recordCCS, 0x0303, func() { w.u8(1) })
		g.encrypted(w, recordHandshake, 40)
	}
	k.say(client, g.wait(500*time.Microsecond, 5*time.Millisecond), w.b)
	if shape.version == 0x0303 && !shape.resumed {
		w = &builder{}
		w.handshake(newTicket, 0x0303, func() {
			w.raw([]byte{0, 0, 28, 32})
			w.nested(2, func() { w.raw(g.corpus.randomOf(g.rng, 176)) })
		})
		w.record(recordCCS, 0x0303, func() { w.u8(1) })
		g.encrypted(w, recordHandshake, 40)
		k.say(server, g.wait(time.Millisecond, 5*time.Millisecond), w.b)
	}
	for range carry.rounds {
		g.sayData(k, client, g.wait(time.Millisecond, 1200*time.Millisecond), g.between(60, 900))
		g.sayData(k, server, g.wait(2*time.Millisecond, 100*time.Millisecond), max(carry.volume/carry.rounds, 40))
	}
	w = &builder{}
	g.encrypted(w, recordAlert, 26) // close_notify
	k.say(client, g.wait(10*time.Millisecond, 5*time.Second), w.b)
	switch p := g.rng.Float64(); {
	case p < 0.08:
		k.end = clientResets
	case p < 0.30:
		k.end = serverCloses
	case p < 0.31:
		k.end = staysOpen
	}
	g.start(k, ClassTLS)
}

// someShape makes up a handshake.
func (g *generator) someShape() tlsShape {
	shape := tlsShape{version: 0x0304, cipher: 0x1301, alpn: "h2", offers: []string{"h2", "http/1.1"}}
	if g.chance(0.3) {
		shape.cipher = 0x1302
	}
	if g.chance(0.35) {
		shape = tlsShape{version: 0x0303, cipher: 0xc02f, alpn: "http/1.1", offers: []string{"http/1.1"}}
		if g.chance(0.3) {
			shape.cipher, shape.alpn, shape.offers = 0xc030, "", nil
		}
		shape.resumed = g.chance(0.2)
		shape.refused = !shape.resumed && g.chance(0.06)
	}
	return shape
}

// mixTLS starts a TLS connection of the mix.
func (g *generator) mixTLS() {
	ports := [...]uint16{443, 443, 443, 443, 443, 443, 443, 443, 443, 8443, 993, 4433}
	carry := load{rounds: g.between(3, 9), volume: g.between(400, 18_000)}
	if g.chance(0.15) {
		carry.volume = g.between(18_000, 120_000)
	}
	g.tls(g.hosts.client(g), g.hosts.site(), ports[g.rng.IntN(len(ports))], g.chance(v6Share), g.someShape(), carry)
}

// certificate returns the DER form of an X.509 certificate for name, with a key
// and a signature of random bytes.
func (g *generator) certificate(name string) []byte {
	if der := g.certs[name]; der != nil {
		return der
	}
	object := func(arcs ...int) []byte { return der(6, encodeOID(arcs)) }
	distinguished := func(cn string) []byte {
		attribute := der(0x30, object(2, 5, 4, 3), der(12, []byte(cn)))
		return der(0x30, der(0x31, attribute))
	}
	algorithm := der(0x30, object(1, 2, 840, 113549, 1, 1, 11), der(5))
	key := der(0x30, der(2, []byte{1}, g.corpus.randomOf(g.rng, 256)), der(2, []byte{1, 0, 1}))
	tbs := der(
		0x30,
		der(0xa0, der(2, []byte{2})),
		der(2, []byte{1}, g.corpus.randomOf(g.rng, 8)),
		algorithm,
		distinguished("Example Test CA"),
		der(0x30, der(23, []byte("260101000000Z")), der(23, []byte("270101000000Z"))),
		distinguished(name),
		der(0x30, der(0x30, object(1, 2, 840, 113549, 1, 1, 1), der(5)), der(3, []byte{0}, key)),
		der(0xa3, der(0x30, der(0x30, object(2, 5, 29, 17), der(4, der(0x30, der(0x82, []byte(name))))))),
	)
	cert := der(0x30, tbs, algorithm, der(3, []byte{0}, g.corpus.randomOf(g.rng, 256)))
	g.certs[name] = cert
	return cert
}

// der encodes one element of ASN.1's distinguished encoding.
func der(tag byte, content ...[]byte) []byte {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	b := append(make([]byte, 0, n+4), tag)
	switch {
	case n < 128:
		b = append(b, byte(n))
	case n < 256:
		b = append(b, 0x81, byte(n))
	default:
		b = append(b, 0x82, byte(n>>8), byte(n))
	}
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}

// encodeOID returns the content of an object identifier.
func encodeOID(arcs []int) []byte {
	whole, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic(err) // the identifiers are constants of this file
	}
	return whole[2:]
}

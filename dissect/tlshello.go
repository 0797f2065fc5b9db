// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// take cuts n bytes off *data, nil where there are fewer.
func take(data *[]byte, n int) []byte {
	if n > len(*data) {
		*data = nil
		return nil
	}
	head := (*data)[:n]
	*data = (*data)[n:]
	return head
}

// takeVector cuts off bytes behind their length, which has size bytes.
func takeVector(data *[]byte, size int) ([]byte, bool) {
	head := take(data, size)
	if head == nil {
		return nil, false
	}
	n := 0
	for _, b := range head {
		n = n<<8 | int(b)
	}
	if n > len(*data) {
		return nil, false
	}
	return take(data, n), true
}

func (d *tls) clientHello(c *tlsSession, a *App, dir flow.Dir, body []byte) bool {
	if dir == flow.ToClient && !c.flipped && c.version == 0 {
		c.flipped = true
		c.letter('^')
	}
	fixed := take(&body, 34)
	id, ok := takeVector(&body, 1)
	if fixed == nil || !ok {
		return false
	}
	if a.proto == protoDTLS {
		if _, ok = takeVector(&body, 1); !ok { // the cookie
			return false
		}
	}
	if !knownVersion(be16(fixed, 0)) {
		return false
	}
	a.confirm(a.proto)
	if _, ok = takeVector(&body, 2); !ok {
		return false
	}
	if _, ok = takeVector(&body, 1); !ok {
		return false
	}
	take(&body, 2)
	for len(body) >= 4 {
		typ := be16(body, 0)
		take(&body, 2)
		value, ok := takeVector(&body, 2)
		if !ok {
			return false
		}
		switch typ {
		case 0: // server_name
			d.serverName(c, value)
		case 35: // session_ticket
			c.ticket = c.ticket || len(value) > 0
		case 41: // pre_shared_key
			c.psk = true
		}
	}
	c.sessionID(id)
	return true
}

// sessionID notes the session id that the client offers; one of zeros is none.
func (c *tlsSession) sessionID(id []byte) {
	zero := true
	for _, b := range id {
		zero = zero && b == 0
	}
	if len(id) > 0 && !(zero && len(id) == 32) {
		c.idLen = uint8(copy(c.id[:], id))
		c.ticket = false
	}
}

// knownVersion reports whether a hello may be of that version.
func knownVersion(v uint16) bool {
	return v >= versionSSL3 && v <= versionTLS13 || v == versionSSL2 || v>>8 == 0x7f ||
		dtlsVersion(v) || v == versionDTLS13
}

// isDraft reports whether Zeek's scripts take a version for a draft of TLS 1.3,
// which is not quite what its first byte says.
func isDraft(v uint16) bool { return v/0xff == 0x7f }

// serverName takes the first name of the extension.
func (d *tls) serverName(c *tlsSession, value []byte) {
	list, ok := takeVector(&value, 2)
	for ok && len(list) >= 3 {
		typ := take(&list, 1)
		var name []byte
		if name, ok = takeVector(&list, 2); ok && typ[0] == 0 && c.protoLen == 0 {
			if c.text, ok = d.s.bufs.add(c.text[:0], name); ok {
				c.hasName, c.nameLen = true, uint16(len(name))
			}
			return
		}
	}
}

func (d *tls) serverHello(c *tlsSession, body []byte) bool {
	fixed := take(&body, 34)
	if fixed == nil {
		return false
	}
	version := be16(fixed, 0)
	if !knownVersion(version) {
		return false
	}
	var id []byte
	if version>>8 == 0x7f {
		// Drafts of TLS 1.3 left the session id and the compression out.
		if len(body) < 2 {
			return false
		}
	} else {
		var ok bool
		if id, ok = takeVector(&body, 1); !ok || len(body) < 3 {
			return false
		}
	}
	cipher := uint32(be16(body, 0))
	take(&body, 2)
	if version>>8 != 0x7f {
		take(&body, 1)
	}
	take(&body, 2)
	for len(body) >= 4 {
		typ := be16(body, 0)
		take(&body, 2)
		value, ok := takeVector(&body, 2)
		if !ok {
			return false
		}
		switch typ {
		case 16: // application_layer_protocol_negotiation
			if list, ok := takeVector(&value, 2); ok {
				if proto, ok := takeVector(&list, 1); ok {
					d.protocol(c, proto)
				}
			}
		case 40, 51: // key_share
			if len(value) >= 2 {
				c.hasCurve, c.curve = true, be16(value, 0)
			}
		case 41: // pre_shared_key
			c.resumed = c.resumed || c.psk
		case 43: // supported_versions
			if len(value) == 2 {
				c.version = be16(value, 0)
			}
		}
	}
	if c.version == 0 {
		c.version = version
	}
	c.hasCipher, c.cipher = true, cipher
	const retry = "\xCF\x21\xAD\x74\xE5\x9A\x61\x11\xBE\x1D\x8C\x02\x1E\x65\xB8\x91" +
		"\xC2\xA2\x11\x16\x7A\xBB\x8C\x5E\x07\x9E\x09\xE2\xC8\xA8\x33\x9C"
	c.retry = string(fixed[2:]) == retry
	if c.idLen > 0 && string(id) == string(c.id[:c.idLen]) && !isDraft(c.version) &&
		c.version != versionTLS13 {
		c.resumed = true
	}
	return true
}

// protocol notes the protocol that the server chose.
func (d *tls) protocol(c *tlsSession, name []byte) {
	var ok bool
	if c.text, ok = d.s.bufs.add(c.text[:c.nameLen], name); ok {
		c.hasProto, c.protoLen = true, uint16(len(name))
	}
}

// write writes the connection's record.
func (d *tls) write(t *flow.Tuple, c *tlsSession) {
	if !d.s.begin(flow.SSL, t, c.ts, &c.written) {
		return
	}
	out := d.s.Out
	if c.version != 0 {
		d.set(flow.SSLVersion, versionName(c.version), "unknown-", uint32(c.version))
		if isDraft(c.version) {
			d.set(flow.SSLVersion, "", "TLSv13-draft", uint32(c.version%0x7f))
		}
	}
	if c.hasCipher {
		d.set(flow.SSLCipher, cipherName(c.cipher), "unknown-", c.cipher)
	}
	if c.hasCurve {
		d.set(flow.SSLCurve, curveName(c.curve), "unknown-", uint32(c.curve))
	}
	if c.hasName {
		out.SetText(flow.SSLServerName, c.text[:c.nameLen])
	}
	out.SetBool(flow.SSLResumed, c.resumed)
	if c.hasAlert {
		d.set(flow.SSLLastAlert, alertName(c.alert), "unknown-", uint32(c.alert))
	}
	if c.hasProto {
		out.SetText(flow.SSLNextProtocol, c.text[c.nameLen:])
	}
	out.SetBool(flow.SSLEstablished, c.estab)
	out.SetText(flow.SSLHistory, c.history[:c.nhistory])
}

// set sets an attribute to a name, or to a prefix and a number without one.
func (d *tls) set(attr int, name, prefix string, number uint32) {
	if name != "" {
		d.s.Out.SetString(attr, name)
		return
	}
	d.scratch = appendNumber(append(d.scratch[:0], prefix...), number)
	d.s.Out.SetText(attr, d.scratch)
}

// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"

	"weir/internal/flow"
)

// detectHTTP knows HTTP also by a request of a method that Zeek does not know on
// any port: there it is the reply that tells.
func detectHTTP(t *flow.Tuple, dir flow.Dir, data []byte) verdict {
	v := knownHTTP(t, dir, data)
	if v == no && dir == flow.ToServer && isRequest(data) {
		return yes
	}
	return v
}

// isRequest reports whether data, which must be all that Zeek keeps, begins with
// a request line.
func isRequest(data []byte) bool {
	n := 0
	for n < len(data) && isMethod(data[n]) {
		n++
	}
	if n == 0 || n == len(data) || !isLWS(data[n]) || len(data) > probeBytes {
		return false
	}
	line, _, _ := cutLine(data)
	i := bytes.LastIndexByte(line, '/')
	return i >= 5 && isLWS(line[i-5]) && bytes.EqualFold(line[i-4:i], []byte("HTTP"))
}

// knownHTTP knows HTTP by a method or a status line, and by the port.
func knownHTTP(t *flow.Tuple, dir flow.Dir, data []byte) verdict {
	switch t.Dport {
	case 80, 81, 631, 1080, 3128, 8000, 8080, 8888:
		return yes
	}
	if dir == flow.ToClient {
		return hasPrefixFold(data, "HTTP/", true)
	}
	for len(data) > 0 && (data[0] == ' ' || data[0] >= '\t' && data[0] <= '\r') {
		data = data[1:]
	}
	if len(data) == 0 {
		return maybe
	}
	best := no
	for methods := methodsBy(data[0]); methods != ""; {
		i := 0
		for i < len(methods) && methods[i] != ' ' {
			i++
		}
		switch n := min(i, len(data)); {
		case string(data[:n]) != methods[:n]:
		case n == i:
			return yes
		default:
			best = maybe
		}
		methods = methods[min(i+1, len(methods)):]
	}
	return best
}

// methodsBy returns the methods that begin with c and are known on any port.
func methodsBy(c byte) string {
	switch c {
	case 'A':
		return "ACL"
	case 'B':
		return "BASELINE-CONTROL BIND BCOPY BDELETE BMOVE BPROPFIND BPROPPATCH"
	case 'C':
		return "CONNECT COPY CHECKIN CHECKOUT"
	case 'D':
		return "DELETE"
	case 'G':
		return "GET"
	case 'H':
		return "HEAD"
	case 'L':
		return "LABEL LINK LOCK"
	case 'M':
		return "MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE"
	case 'N':
		return "NOTIFY"
	case 'O':
		return "OPTIONS ORDERPATCH"
	case 'P':
		return "POST PUT PATCH PROPFIND PROPPATCH POLL"
	case 'R':
		return "REBIND REPORT RPC_IN_DATA RPC_OUT_DATA"
	case 'S':
		return "SEARCH SUBSCRIBE"
	case 'T':
		return "TRACE"
	case 'U':
		return "UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UNSUBSCRIBE"
	case 'V':
		return "VERSION-CONTROL"
	case 'X':
		return "X-MS-ENUMATTS"
	}
	return ""
}

// hasPrefixFold reports whether data begins with prefix, and a digit where that
// is asked for, without regard to case.
func hasPrefixFold(data []byte, prefix string, digit bool) verdict {
	n := min(len(data), len(prefix))
	if !bytes.EqualFold(data[:n], []byte(prefix)[:n]) {
		return no
	}
	if !digit {
		if n < len(prefix) {
			return no
		}
		return yes
	}
	if len(data) <= len(prefix) {
		return maybe
	}
	if c := data[len(prefix)]; c < '0' || c > '9' {
		return no
	}
	return yes
}

// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// ssh knows SSH by the banners of both sides, and reads nothing else. It keeps
// no session: that there was a first banner is noted among the connection's
// services.
type ssh struct{ s *Shard }

// detectSSH knows a banner.
func detectSSH(_ *flow.Tuple, _ flow.Dir, data []byte) verdict {
	if v := hasPrefixFold(data, "SSH-", true); v != yes {
		return v
	}
	if data[4] != '1' && data[4] != '2' {
		return no
	}
	return yes
}

func (d ssh) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	first := !a.confirmed(protoBanner)
	switch {
	case detectSSH(t, dir, data) == yes:
		a.flags |= doneToServer << (dir & 1)
		if first {
			a.confirm(protoBanner)
			return
		}
		a.retract(protoBanner)
		a.confirm(protoSSH)
	case first:
		// Bytes that came before the other side's banner, too few to tell.
		a.flags |= doneToServer << (dir & 1)
	default:
		// Too little of a banner, or another protocol. What is next gives the
		// connection back to this dissector if it is a banner after all.
		a.proto = 0
		d.s.Stream(t, a, dir, ts, data)
	}
}

func (d ssh) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d ssh) gap(*flow.Tuple, *App, flow.Dir, flow.Time, uint64)      {}
func (d ssh) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}
func (d ssh) close(*flow.Tuple, *App)                                 {}

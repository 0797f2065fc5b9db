// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// ssh knows SSH by the banners of both sides, and reads nothing else. It keeps
// no session: that one banner was seen is noted among the
// services of the connection.
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

func (d ssh) stream(t *flow.Tuple, a *App, dir flow.Dir, _ flow.Time, data []byte) {
	a.flags |= doneToServer << (dir & 1)
	if detectSSH(t, dir, data) != yes {
		return
	}
	if a.confirmed(protoBanner) {
		a.retract(protoBanner)
		a.confirm(protoSSH)
		return
	}
	// The other banner has to be found by its own first bytes.
	a.confirm(protoBanner)
	a.proto = 0
}

func (d ssh) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d ssh) gap(*flow.Tuple, *App, flow.Dir, flow.Time, uint64)      {}
func (d ssh) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}
func (d ssh) close(*flow.Tuple, *App)                                 {}

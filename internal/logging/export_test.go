// SPDX-License-Identifier: Apache-2.0

package logging

// Messages returns how many messages are remembered.
func (l *Limit) Messages() int {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	return len(l.state.seen)
}

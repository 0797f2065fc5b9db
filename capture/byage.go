// SPDX-License-Identifier: Apache-2.0

package capture

// none is the index of no element.
const none = int32(-1)

// links are an element's neighbors in byAge. newer also links the unused elements.
type links struct{ older, newer int32 }

func (l *links) chain() *links { return l }

// linked is a pointer to an element that has links.
type linked[E any] interface {
	*E
	chain() *links
}

// byAge holds elements from the oldest to the newest. They are linked by index, so
// that the garbage collector has nothing to follow, and never given back: who
// uses it bounds their number.
type byAge[E any, P linked[E]] struct {
	all            []E
	free           int32
	oldest, newest int32
}

func newByAge[E any, P linked[E]]() byAge[E, P] {
	return byAge[E, P]{free: none, oldest: none, newest: none}
}

// link takes e in as the newest element.
func (l *byAge[E, P]) link(e E) int32 {
	i := l.free
	if i == none {
		i = int32(len(l.all))
		l.all = append(l.all, e)
	} else {
		l.free = P(&l.all[i]).chain().newer
		l.all[i] = e
	}
	l.push(i)
	return i
}

// renew makes an element the newest.
func (l *byAge[E, P]) renew(i int32) {
	if i != l.newest {
		l.unlink(i)
		l.push(i)
	}
}

// drop gives an element up.
func (l *byAge[E, P]) drop(i int32) {
	l.unlink(i)
	P(&l.all[i]).chain().newer, l.free = l.free, i
}

func (l *byAge[E, P]) push(i int32) {
	*P(&l.all[i]).chain() = links{older: l.newest, newer: none}
	if l.newest == none {
		l.oldest = i
	} else {
		P(&l.all[l.newest]).chain().newer = i
	}
	l.newest = i
}

func (l *byAge[E, P]) unlink(i int32) {
	c := P(&l.all[i]).chain()
	if c.older == none {
		l.oldest = c.newer
	} else {
		P(&l.all[c.older]).chain().newer = c.newer
	}
	if c.newer == none {
		l.newest = c.older
	} else {
		P(&l.all[c.newer]).chain().older = c.older
	}
}

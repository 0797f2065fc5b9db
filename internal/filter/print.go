// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// printer writes a filter's canonical form.
type printer struct {
	out   []byte
	names *names
	block *kind
}

func (p *printer) add(parts ...string) {
	for _, s := range parts {
		p.out = append(p.out, s...)
	}
}

// node prints x; operand says that it stands beside AND or after !, where a
// junction needs parentheses.
func (p *printer) node(x node, operand bool) {
	switch x := x.(type) {
	case *junction:
		separator := " OR "
		if x.and {
			separator = " AND "
		}
		if operand {
			p.add("(")
		}
		for i, part := range x.list {
			if i > 0 {
				p.add(separator)
			}
			j, ok := part.(*junction)
			p.node(part, ok && (x.and || !j.and))
		}
		if operand {
			p.add(")")
		}
	case *negation:
		p.add("!")
		p.node(x.x, true)
	case *label:
		p.add("#", x.name)
	case *block:
		p.add(metaPrefix, x.kind.Name, "(")
		p.block = x.kind
		p.node(x.x, false)
		p.block = nil
		p.add(")")
	case *slotBlock:
		p.add(slotsName, "(")
		p.block = slotKind()
		p.node(x.x, false)
		p.block = nil
		p.add(")")
	case *clause:
		p.clause(x)
	}
}

func (p *printer) clause(c *clause) {
	if c.quant != quantPlain {
		p.add(c.quant.String(), " ")
	}
	p.add(c.field.name)
	switch c.op {
	case opNone:
	case opIn:
		p.add(" IN (")
		for i := range c.values {
			if i > 0 {
				p.add(", ")
			}
			p.operand(c, &c.values[i])
		}
		p.add(")")
	default:
		p.add(" ", c.op.String(), " ")
		p.operand(c, &c.values[0])
	}
}

func (p *printer) operand(c *clause, o *operand) {
	switch o.kind {
	case attribute:
		p.add(o.field.name)
	case network:
		p.add(o.net.String())
	case regex:
		p.text(c, o.re.text)
	case literal:
		if o.typ == Text {
			p.text(c, o.val.text)
			return
		}
		p.add(o.val.print(o.typ))
	}
}

// text prints a text, in quotes where it needs them.
func (p *printer) text(c *clause, text string) {
	if !p.names.bare(c, p.block, text) {
		text = quote(text)
	}
	p.add(text)
}

// print returns the canonical form of a value.
func (v *value) print(t Type) string {
	switch t {
	case Address:
		return v.addr.String()
	case Time:
		seconds, micros := v.num/1e6, v.num%1e6
		return time.Unix(seconds, micros*1000).UTC().Format("2006-01-02T15:04:05.999999Z")
	case Duration:
		s := strconv.FormatInt(v.num/1e6, 10)
		if micros := v.num % 1e6; micros != 0 {
			s += strings.TrimRight(fmt.Sprintf(".%06d", micros), "0")
		}
		return s + "s"
	case Bool:
		return strconv.FormatBool(v.num != 0)
	case Number, Size:
		return strconv.FormatInt(v.num, 10)
	case Text:
	}
	return v.text
}

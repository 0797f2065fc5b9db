// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"slices"
	"strings"

	"weir/internal/flow"
)

// countName is the attribute of every kind that counts observations.
const countName = "count"

// kind is a kind of intel as filters know it.
type kind struct {
	flow.KindInfo
	// number is the kind's number if stored says that there is one. Others are
	// only known by name: no flow has any intel of theirs.
	number flow.Kind
	stored bool
	// kept is the number of attributes, the first ones, that records have. The
	// others are only known by name: they have no values.
	kept int
}

// kept reports whether records have the attribute.
func (m metaAttr) kept() bool { return m.attr < m.kind.kept }

// kinds returns the kinds of intel: those of flow.Kinds, then the names under
// which IVRE's other kinds are known, so that filters written for it are read.
// So are IVRE's attributes of kinds that lack them.
func kinds() []kind {
	var list []kind
	for i, info := range flow.Kinds() {
		k := kind{KindInfo: info, number: flow.Kind(i), stored: true, kept: len(info.Attrs)}
		if info.Name == "ssl" {
			for _, column := range []string{"subject", "issuer", "client_subject", "client_issuer"} {
				if k.find(column) < 0 {
					k.Attrs = append(k.Attrs, ivreAttr(column))
				}
			}
		}
		list = append(list, k)
	}
	for _, other := range [][2]string{
		{"arp", "op mac_src mac_dst"},
		{"ssh", "version auth_success client server cipher_alg mac_alg compression_alg kex_alg " +
			"host_key_alg host_key"},
		{"sip", "method uri request_from request_to response_from response_to reply_to user_agent " +
			"status_code status_msg warning request_body_len response_body_len"},
		{"snmp", "version community get_requests get_bulk_requests get_responses set_requests"},
		{"modbus", "name exception"},
		{"rdp", "cookie result security_protocol keyboard_layout client_build client_name " +
			"client_dig_product_id cert_type cert_count cert_permanent encryption_level encryption_method"},
	} {
		name := other[0]
		if slices.ContainsFunc(list, func(k kind) bool { return k.Name == name }) {
			continue
		}
		info := flow.KindInfo{Name: name, Label: strings.ToUpper(name)}
		for column := range strings.FieldsSeq(other[1]) {
			info.Attrs = append(info.Attrs, ivreAttr(column))
		}
		list = append(list, kind{KindInfo: info})
	}
	return list
}

// ivreAttr returns an attribute of which only the name is known.
func ivreAttr(column string) flow.Attr {
	a := flow.Attr{Column: column, Help: "as in IVRE; no flow has any"}
	switch {
	case strings.HasSuffix(column, "_len"), strings.HasSuffix(column, "_requests"),
		strings.HasSuffix(column, "_responses"), column == "cert_count":
		a.Type, a.Role = flow.Count, flow.Measure
	case column == "status_code":
		a.Type = flow.Count
	case column == "auth_success", column == "cert_permanent":
		a.Type = flow.Bool
	}
	return a
}

// spelling returns the name of an attribute and what else is accepted for it:
// Zeek's name, unless another attribute of the kind has that name in filters.
func (k *kind) spelling(attr int) (name string, aliases []string) {
	a := &k.Attrs[attr]
	if a.Name == "" {
		return a.Column, nil
	}
	for i := range k.Attrs {
		if k.Attrs[i].Name != "" && strings.EqualFold(k.Attrs[i].Name, a.Column) {
			return a.Name, nil
		}
	}
	return a.Name, []string{a.Column}
}

// find returns the attribute with a name, or -1.
func (k *kind) find(name string) int {
	for i := range k.Attrs {
		if k.Attrs[i].LogOnly {
			continue
		}
		own, aliases := k.spelling(i)
		if strings.EqualFold(own, name) {
			return i
		}
		for _, alias := range aliases {
			if strings.EqualFold(alias, name) {
				return i
			}
		}
	}
	return -1
}

// companion returns the attribute that holds the name of a number, or the
// number of a name (qtype and qtype_name), or -1.
func (k *kind) companion(attr int) int {
	const suffix = "_name"
	a := &k.Attrs[attr]
	column, isName := strings.CutSuffix(a.Column, suffix)
	if !isName {
		column += suffix
	}
	for i := range k.Attrs {
		b := &k.Attrs[i]
		if b.Column == column && (b.Type == flow.Text) != (a.Type == flow.Text) {
			return i
		}
	}
	return -1
}

// metaType returns the type of an attribute's values.
func metaType(a *flow.Attr) Type {
	switch a.Type {
	case flow.Count:
		if a.Role == flow.Measure {
			return Size
		}
		return Number
	case flow.Bool:
		return Bool
	case flow.Interval, flow.IntervalList:
		return Duration
	case flow.Text, flow.TextList:
	}
	return Text
}

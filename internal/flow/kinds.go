// SPDX-License-Identifier: Apache-2.0

package flow

// Attribute numbers of DNS records, in the order of Kinds()[DNS].Attrs.
const (
	DNSTransID = iota
	DNSRTT
	DNSQuery
	DNSQClass
	DNSQClassName
	DNSQType
	DNSQTypeName
	DNSRcode
	DNSRcodeName
	DNSAA
	DNSTC
	DNSRD
	DNSRA
	DNSZ
	DNSAnswers
	DNSTTLs
	DNSRejected
	DNSOpcode
	DNSOpcodeName
)

// Attribute numbers of HTTP records, in the order of Kinds()[HTTP].Attrs.
const (
	HTTPTransDepth = iota
	HTTPMethod
	HTTPHost
	HTTPURI
	HTTPReferrer
	HTTPVersion
	HTTPUserAgent
	HTTPOrigin
	HTTPRequestBodyLen
	HTTPResponseBodyLen
	HTTPStatusCode
	HTTPStatusMsg
	HTTPInfoCode
	HTTPInfoMsg
	HTTPTags
	HTTPUsername
	HTTPPassword
	HTTPProxied
)

// Attribute numbers of SSL records, in the order of Kinds()[SSL].Attrs.
const (
	SSLVersion = iota
	SSLCipher
	SSLCurve
	SSLServerName
	SSLResumed
	SSLLastAlert
	SSLNextProtocol
	SSLEstablished
	SSLHistory
)

// Kinds returns the description of every kind of intel, indexed by Kind: the
// one place that says which attributes there are, what they are called in
// Zeek's logs and in filters, and which of them identify a node of the graph.
func Kinds() []KindInfo {
	return []KindInfo{
		DNS: {Name: "dns", Label: "DNS", Proto: true, Attrs: []Attr{
			DNSTransID:    {Column: "trans_id", Type: Count, Role: Measure, ZeekType: "count", Help: "16-bit identifier that pairs query and reply"},
			DNSRTT:        {Column: "rtt", Type: Interval, Role: Measure, ZeekType: "interval", Help: "time from the query to the first answer"},
			DNSQuery:      {Column: "query", ZeekType: "string", Fold: true, Help: "name asked for, lower case"},
			DNSQClass:     {Column: "qclass", Type: Count, ZeekType: "count", Help: "class of the query as a number"},
			DNSQClassName: {Column: "qclass_name", Name: "class", ZeekType: "string", Help: "class of the query (C_INTERNET)"},
			DNSQType:      {Column: "qtype", Type: Count, ZeekType: "count", Help: "type of the query as a number"},
			DNSQTypeName:  {Column: "qtype_name", Name: "type", ZeekType: "string", Help: "type of the query (A, AAAA, PTR)"},
			DNSRcode:      {Column: "rcode", Name: "rcode_num", Type: Count, ZeekType: "count", Help: "response code as a number"},
			DNSRcodeName:  {Column: "rcode_name", Name: "rcode", ZeekType: "string", Help: "response code (NOERROR, NXDOMAIN)"},
			DNSAA:         {Column: "AA", Name: "aa", Type: Bool, Role: Measure, ZeekType: "bool", Help: "authoritative answer"},
			DNSTC:         {Column: "TC", Name: "tc", Type: Bool, Role: Measure, ZeekType: "bool", Help: "message was truncated"},
			DNSRD:         {Column: "RD", Name: "rd", Type: Bool, Role: Measure, ZeekType: "bool", Help: "recursion desired"},
			DNSRA:         {Column: "RA", Name: "ra", Type: Bool, Role: Measure, ZeekType: "bool", Help: "recursion available"},
			DNSZ:          {Column: "Z", Name: "z", Type: Count, Role: Measure, ZeekType: "count", Help: "reserved header bits"},
			DNSAnswers:    {Column: "answers", Type: TextList, ZeekType: "vector[string]", Fold: true, Help: "answers in the order of the reply"},
			DNSTTLs:       {Column: "TTLs", Name: "ttls", Type: IntervalList, Role: Measure, ZeekType: "vector[interval]", Help: "time to live of each answer"},
			DNSRejected:   {Column: "rejected", Type: Bool, Role: Measure, ZeekType: "bool", Help: "the server refused the query"},
			DNSOpcode:     {Column: "opcode", Type: Count, Role: Measure, ZeekType: "count", Help: "operation code as a number"},
			DNSOpcodeName: {Column: "opcode_name", Role: Measure, ZeekType: "string", Help: "operation code (query, notify)"},
		}},
		HTTP: {Name: "http", Label: "HTTP", Attrs: []Attr{
			HTTPTransDepth:      {Column: "trans_depth", Type: Count, Role: Measure, ZeekType: "count", Help: "number of the exchange in its connection, from 1"},
			HTTPMethod:          {Column: "method", ZeekType: "string", Help: "request method"},
			HTTPHost:            {Column: "host", ZeekType: "string", Fold: true, Help: "Host header"},
			HTTPURI:             {Column: "uri", ZeekType: "string", Help: "request target, unescaped"},
			HTTPReferrer:        {Column: "referrer", ZeekType: "string", Help: "Referer header"},
			HTTPVersion:         {Column: "version", ZeekType: "string", Help: "version of the reply"},
			HTTPUserAgent:       {Column: "user_agent", ZeekType: "string", Help: "User-Agent header"},
			HTTPOrigin:          {Column: "origin", ZeekType: "string", Help: "Origin header"},
			HTTPRequestBodyLen:  {Column: "request_body_len", Type: Count, Role: Measure, ZeekType: "count", Help: "bytes of the request's body, decoded"},
			HTTPResponseBodyLen: {Column: "response_body_len", Type: Count, Role: Measure, ZeekType: "count", Help: "bytes of the reply's body, decoded"},
			HTTPStatusCode:      {Column: "status_code", Type: Count, ZeekType: "count", Help: "status code of the reply"},
			HTTPStatusMsg:       {Column: "status_msg", ZeekType: "string", Help: "status text of the reply"},
			HTTPInfoCode:        {Column: "info_code", Type: Count, ZeekType: "count", Help: "last 1xx status code"},
			HTTPInfoMsg:         {Column: "info_msg", ZeekType: "string", Help: "last 1xx status text"},
			HTTPTags:            {Column: "tags", Type: TextList, Role: Measure, ZeekType: "set[enum]", LogOnly: true},
			HTTPUsername:        {Column: "username", ZeekType: "string", Help: "user name of Basic authentication"},
			HTTPPassword:        {Column: "password", ZeekType: "string", Help: "never kept by the sensor; importers may set it"},
			HTTPProxied:         {Column: "proxied", Type: TextList, ZeekType: "set[string]", Help: "headers that tell of a proxy"},
		}},
		SSL: {Name: "ssl", Label: "SSL", Attrs: []Attr{
			SSLVersion:      {Column: "version", ZeekType: "string", Help: "protocol version the server chose"},
			SSLCipher:       {Column: "cipher", ZeekType: "string", Help: "cipher suite the server chose"},
			SSLCurve:        {Column: "curve", ZeekType: "string", Help: "curve or group of the key exchange"},
			SSLServerName:   {Column: "server_name", ZeekType: "string", Fold: true, Help: "server name indication"},
			SSLResumed:      {Column: "resumed", Type: Bool, Role: Measure, ZeekType: "bool", Help: "an earlier session was resumed"},
			SSLLastAlert:    {Column: "last_alert", ZeekType: "string", Help: "last alert"},
			SSLNextProtocol: {Column: "next_protocol", ZeekType: "string", Help: "protocol chosen by ALPN"},
			SSLEstablished:  {Column: "established", Type: Bool, Role: Measure, ZeekType: "bool", Help: "the handshake was completed"},
			SSLHistory:      {Column: "ssl_history", Role: Measure, ZeekType: "string", Help: "handshake messages, a letter each"},
		}},
	}
}

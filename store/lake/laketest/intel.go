// SPDX-License-Identifier: Apache-2.0

package laketest

import (
	"fmt"
	"math/rand/v2"

	"weir/internal/flow"
)

// learns prepares what learn needs.
func (n *Network) learns(cfg Config) {
	if cfg.Intel == 0 || cfg.Conns == 0 {
		return
	}
	fitting := 0.0
	for i := range n.templates {
		fitting += n.fits(&n.templates[i])
	}
	// Which flows are busy does not depend on their service.
	n.intel = float64(cfg.Intel) / float64(cfg.Conns) * float64(len(n.templates)) / max(fitting, 1)
	sites := []string{
		"google.com", "googleapis.com", "example.org", "example.net", "cdn.example.com", "mail.example.com",
		"bank.example", "video.example", "updates.example", "news.example",
	}
	for i := range 20_000 {
		// Few of the sites are one in ten names: those of a search engine about 2 %.
		site := fmt.Sprintf("site%d.example", i%1900)
		if i%10 == 0 {
			site = sites[i/10%len(sites)]
		}
		n.names = append(n.names, fmt.Sprintf("h%d.%s", i, site))
	}
}

// fits returns how likely a connection of a flow has a service that tells something.
func (n *Network) fits(t *template) float64 {
	if int(t.service) >= len(n.services) {
		return 0
	}
	s := &n.services[t.service]
	if s.name != "dns" && s.name != "http" && s.name != "ssl" {
		return 0
	}
	with := 0
	for _, history := range s.history {
		if history != "S" && history != "Sr" { // such connections get nowhere
			with++
		}
	}
	return float64(with) / float64(len(s.history))
}

// learn adds what a connection tells to a batch: one record, or none.
func (n *Network) learn(b *flow.IntelBatch, c *flow.Connection) {
	if n.intel == 0 || c.Service == "" || n.r.Float64() >= n.intel {
		return
	}
	t := flow.Tuple{UID: c.UID, Src: c.Src, Dst: c.Dst, Sport: c.Sport, Dport: c.Dport, Proto: c.Proto}
	name := n.names[n.r.IntN(1+n.r.IntN(len(n.names)))] // the first ones more often
	switch c.Service {
	case "dns":
		b.Begin(flow.DNS, &t, c.First)
		learnDNS(b, n.r, name)
	case "http":
		b.Begin(flow.HTTP, &t, c.First)
		learnHTTP(b, n.r, name)
	case "ssl":
		b.Begin(flow.SSL, &t, c.First)
		b.SetString(flow.SSLVersion, []string{"TLSv12", "TLSv13"}[n.r.IntN(2)])
		b.SetString(flow.SSLCipher, "TLS_AES_128_GCM_SHA256")
		b.SetString(flow.SSLServerName, name)
		b.SetBool(flow.SSLResumed, n.r.IntN(4) == 0)
		b.SetBool(flow.SSLEstablished, true)
	}
}

func learnDNS(b *flow.IntelBatch, r *rand.Rand, name string) {
	b.SetInt(flow.DNSTransID, int64(r.IntN(1<<16)))
	b.SetInt(flow.DNSRTT, int64(r.IntN(50_000)))
	b.SetString(flow.DNSQuery, name)
	b.SetInt(flow.DNSQClass, 1)
	b.SetString(flow.DNSQClassName, "C_INTERNET")
	b.SetInt(flow.DNSQType, 1)
	b.SetString(flow.DNSQTypeName, "A")
	b.SetInt(flow.DNSRcode, 0)
	b.SetString(flow.DNSRcodeName, "NOERROR")
	b.SetBool(flow.DNSRD, true)
	b.SetBool(flow.DNSRA, true)
	b.AppendText(flow.DNSAnswers, fmt.Appendf(nil, "198.51.%d.%d", len(name)%256, r.IntN(256)))
	b.AppendInt(flow.DNSTTLs, int64(60+r.IntN(4)*60)*1e6)
}

func learnHTTP(b *flow.IntelBatch, r *rand.Rand, name string) {
	b.SetInt(flow.HTTPTransDepth, 1)
	b.SetString(flow.HTTPMethod, []string{"GET", "GET", "GET", "POST"}[r.IntN(4)])
	b.SetString(flow.HTTPHost, name)
	b.SetString(flow.HTTPURI, fmt.Sprintf("/page/%d", r.IntN(5000)))
	b.SetString(flow.HTTPVersion, "1.1")
	b.SetString(flow.HTTPUserAgent, fmt.Sprintf("Mozilla/5.0 (agent %d)", r.IntN(50)))
	b.SetInt(flow.HTTPStatusCode, []int64{200, 200, 304, 404}[r.IntN(4)])
	b.SetInt(flow.HTTPResponseBodyLen, int64(r.ExpFloat64()*6000))
}

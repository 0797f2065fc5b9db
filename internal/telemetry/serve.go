// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// Health is the state of the process as /healthz tells it.
type Health struct {
	// Problems says what is wrong; none means healthy.
	Problems []string
	// Details are figures to look at, by name (last_block_age_seconds).
	Details map[string]float64
}

// Limits of the server: it must neither hold many descriptors nor wait long for
// anybody.
const (
	// maxConns bounds open connections; further ones wait in the kernel's queue.
	maxConns = 32
	// maxScrapes bounds the scrapes that run at once; others get a 503.
	maxScrapes    = 4
	readTimeout   = 5 * time.Second
	writeTimeout  = 15 * time.Second
	scrapeTimeout = 10 * time.Second
	idleTimeout   = 60 * time.Second
	// maxHeader is at least what a scraper's header takes; net/http adds 4 KiB.
	maxHeader = 8 << 10
	// stopTimeout is how long requests may go on when the server ends.
	stopTimeout = 500 * time.Millisecond
)

// Listen opens the address for Serve: "host:port", or ":port" or "port" for
// port on 127.0.0.1 only. To be reachable from elsewhere an address has to be
// named, if need be 0.0.0.0 or [::].
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, fmt.Errorf("metrics address: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("open metrics address: %w", err)
	}
	return l, nil
}

// CheckAddr reports whether Listen understands an address.
func CheckAddr(addr string) error {
	_, _, err := splitAddr(addr)
	return err
}

// splitAddr cuts an address in two, filling in the host.
func splitAddr(addr string) (host, port string, err error) {
	if !strings.Contains(addr, ":") {
		addr = ":" + addr
	}
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", "", fmt.Errorf("%q: the port is no number up to 65535", addr)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return host, port, nil
}

// Serve answers /metrics with the registry's metrics, and /healthz with what
// health says: status 200 if there is no problem, else 503. It returns when ctx
// is done, or with the error for which it cannot go on, and closes the listener
// either way. health is called from several goroutines at once.
func Serve(ctx context.Context, l net.Listener, reg *Registry, health func() Health, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	srv := &http.Server{
		Handler:           Handler(reg, health),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What a client sends wrong is its own affair.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1) // one result
	go func() { ended <- srv.Serve(netutil.LimitListener(l, maxConns)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve metrics: %w", errors.Join(err, srv.Close()))
	case <-ctx.Done():
	}
	// ctx is done, so requests get a time of their own to end in.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		// Whoever is still connected is too slow to be waited for.
		_ = srv.Close()
	}
	<-ended
	return nil
}

// Handler answers the requests of Serve.
func Handler(reg *Registry, health func() Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg.reg, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, health()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// writeHealth answers with one JSON object.
func writeHealth(w http.ResponseWriter, h Health) {
	status := http.StatusOK
	answer := struct {
		Status   string             `json:"status"`
		Problems []string           `json:"problems,omitempty"`
		Details  map[string]float64 `json:"details,omitempty"`
	}{"ok", h.Problems, h.Details}
	if len(h.Problems) > 0 {
		status, answer.Status = http.StatusServiceUnavailable, "failing"
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(answer); err != nil {
		// A figure that JSON has no number for.
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that went away does not want it
}

// SPDX-License-Identifier: Apache-2.0

// Package systemd tells a service manager how the service is: that it is ready,
// reloads its configuration, stops, and that it makes progress. Without such a
// manager, which says where to send that in its environment, nothing happens.
package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that the service has started, or has read its configuration anew.
// The status is for people.
func Ready(status string) error { return notify(daemon.SdNotifyReady, text(status)) }

// Reloading says that the configuration is being read anew; [Ready] follows.
func Reloading() error {
	return notify(daemon.SdNotifyReloading, strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// Stopping says that the service ends.
func Stopping(status string) error { return notify(daemon.SdNotifyStopping, text(status)) }

// Status says in one line what the service does.
func Status(status string) error { return notify(text(status)) }

// text returns the assignment for a status, on one line.
func text(status string) string {
	return "STATUS=" + strings.Join(strings.Fields(status), " ")
}

// notifyWithin is how long a service manager may take to receive what it is told.
const notifyWithin = time.Second

func notify(assignments ...string) error {
	if err := send(os.Getenv("NOTIFY_SOCKET"), strings.Join(assignments, "\n")); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}

// send is daemon.SdNotify with a time limit: a service manager that is stuck must
// not keep the service from ending.
func send(socket, text string) error {
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyWithin)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(text))
	return err
}

// Interval returns how long the service manager waits for a sign of life before
// it restarts the service, 0 if it does not.
func Interval() (time.Duration, error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("read the watchdog's interval: %w", err)
	}
	return interval, nil
}

// Watchdog gives signs of life, three in each interval of the service manager,
// until ctx is done. Before each it asks alive, which says whether the service
// has made progress since the call before: if it says no for a whole interval,
// the service manager ends the service and starts it again. alive must not block
// for long. Watchdog returns the error of the last sign, and nil at once if nobody
// waits for any.
func Watchdog(ctx context.Context, alive func() bool) error {
	interval, err := Interval()
	if err != nil || interval == 0 {
		return err
	}
	ticker := time.NewTicker(interval / 3)
	defer ticker.Stop()
	for {
		if alive() {
			// One that is lost is followed by others in time.
			err = notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
)

// DefaultStore returns the store that is used where none is named:
// $WEIR_STORE, else /var/lib/weir for root, else $XDG_DATA_HOME/weir
// (~/.local/share/weir).
func DefaultStore() (string, error) {
	if s := os.Getenv("WEIR_STORE"); s != "" {
		return s, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/weir", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "weir"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the default store: %w", err)
	}
	return filepath.Join(home, ".local", "share", "weir"), nil
}

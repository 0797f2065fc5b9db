// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// PasswordVariable is the environment variable with the password of the Neo4j
// server.
const PasswordVariable = "WEIR_NEO4J_PASSWORD"

// Password returns the password of the Neo4j server: what a file holds, without
// the end of its line, or $WEIR_NEO4J_PASSWORD where no file is named; "" where
// there is neither.
func Password(file string) (string, error) {
	if file == "" {
		return os.Getenv(PasswordVariable), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	switch {
	case password == "":
		return "", fmt.Errorf("read the password: %s is empty", file)
	case strings.ContainsAny(password, "\r\n"):
		return "", errors.New("read the password: " + file + " has more than one line")
	}
	return password, nil
}

# SPDX-License-Identifier: Apache-2.0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOLS   := $(CURDIR)/.bin

# Pinned tools, installed into .bin/ when they are first needed.
GOFUMPT_VERSION       := v0.12.0
# staticcheck 2026.2.2
STATICCHECK_VERSION   := v0.8.2
GOLANGCI_LINT_VERSION := v2.15.0
GOFUMPT       := $(TOOLS)/gofumpt-$(GOFUMPT_VERSION)
STATICCHECK   := $(TOOLS)/staticcheck-$(STATICCHECK_VERSION)
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)

CAPTURE    ?=
FUZZTIME   ?= 1m
TESTFLAGS  ?=
BENCHFLAGS ?=

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup:
	@scripts/setup

.PHONY: build
build: setup ## Build the two programs into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: demo
demo: build ## Read a capture and show answers (CAPTURE=x.pcap: yours)
	@scripts/demo "$(CAPTURE)"

.PHONY: lake
lake: setup ## Make a lake of generated connections (DIR=new, CONNS=10000000, LAKEFLAGS=-days=7)
	@$(GO) run ./store/lake/laketest/gen -o "$(DIR)" -conns $(or $(CONNS),1000000) $(LAKEFLAGS)

.PHONY: neo4j
neo4j: ## Start a Neo4j server in the background and say how to reach it
	@scripts/setup neo4j
	@scripts/neo4j/server start

.PHONY: neo4j-stop
neo4j-stop: ## End that server
	@scripts/neo4j/server stop

.PHONY: test
test: ## Run all tests (TESTFLAGS: flags for go test)
	@scripts/setup neo4j
	$(GO) run ./internal/testrun $(if $(STRICT),-strict) -- -timeout 30m $(TESTFLAGS) ./...

.PHONY: soak
soak: setup ## Run the tests of faults for long: 100 faults on the way to Neo4j (FAULTS=n)
	@scripts/setup neo4j
	WEIR_FAULTS=$(or $(FAULTS),100) $(GO) test ./store/neo4j -run '^TestFaults$$' -count 1 -v -timeout 4h

.PHONY: check
check: setup $(GOFUMPT) $(STATICCHECK) ## Check format, vet, staticcheck, go.mod, and concurrent packages for races
	@files=$$($(GOFUMPT) -l .); if [ -n "$$files" ]; then echo "run gofumpt -w on:" >&2; echo "$$files" >&2; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@if [ -x $(GOLANGCI_LINT) ]; then echo $(GOLANGCI_LINT) run; $(GOLANGCI_LINT) run; fi
	$(GO) mod tidy -diff
	$(GO) test -race -short -timeout 10m $$($(GO) list ./... | grep -v -e /lakequery -e /cmd/ -e /internal/bench -e /internal/traffic)

.PHONY: lint
lint: setup $(GOLANGCI_LINT) ## Run golangci-lint (installing it takes some minutes)
	$(GOLANGCI_LINT) run

.PHONY: bench
bench: ## Measure the sensor, softflowd, nfpcapd and argus in turn (BENCHFLAGS="-runs 3")
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	PATH="$$PATH:/usr/sbin:/sbin" $(GO) run ./internal/bench $(BENCHFLAGS)

.PHONY: score
score: build ## Score the sensor against captures with known answers (beside the project)
	@scripts/score

.PHONY: fuzz
fuzz: setup ## Run every fuzz target for FUZZTIME (default 1m)
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		list=$$($(GO) test -list '^Fuzz' $$dir); \
		for target in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "== $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir; \
		done; \
	done

.PHONY: clean
clean: ## Remove what was built, generated and measured
	rm -rf bin .bin .demo .bench .score

$(GOFUMPT):
	GOBIN=$(TOOLS) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
	@mv $(TOOLS)/gofumpt $@

$(STATICCHECK):
	GOBIN=$(TOOLS) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	@mv $(TOOLS)/staticcheck $@

$(GOLANGCI_LINT):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(TOOLS)/golangci-lint $@

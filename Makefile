# Everything here needs Go alone, but for lint, test-all, bench, bench-rivals and .ci/run: those
# install the tools they need, at the versions pinned below, into TOOLS.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
VERSITYGW_VERSION := v1.8.0
RCLONE_VERSION := v1.76.0

# Tools are kept between runs, each version in a directory of its own.
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/shoal-tools
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
VERSITYGW := $(TOOLS)/versitygw-$(VERSITYGW_VERSION)/versitygw
RCLONE := $(TOOLS)/rclone-$(RCLONE_VERSION)/rclone

# The packages with goroutines that share memory: tested under the race detector. Those below
# them that are pure are not.
CONCURRENT := blockstore|gossip|node|replicas|fuse
PURE := blockstore/policy
race_packages = $(shell go list -e ./... | grep -E '/shoal/($(CONCURRENT))(/|$$)' | grep -vE '/shoal/($(PURE))$$')
plain_packages = $(filter-out $(race_packages),$(shell go list -e ./...))

# The race detector needs a C compiler. Where there is none its tests run without it.
RACE := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)

# -v makes go test tell what it skips; report.awk keeps of it what people want to see.
REPORT := awk -f .ci/report.awk
TEST_TIMEOUT := 8m
TEST_ALL_TIMEOUT := 30m
BENCH_TIMEOUT := 3h

.PHONY: build demo test test-all deploy-test fuzz bench bench-rivals bench-tools lint fmt cover soak tools clean help

build: ## Build the static binary bin/shoal
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/shoal ./cmd/shoal

demo: build ## Three agents on this machine, generated data, a report
	bin/shoal demo

test: ## Every test that needs Go alone, the concurrent packages under the race detector
	@$(call run_tests,-timeout $(TEST_TIMEOUT))

test-all: root build $(VERSITYGW) deploy-test ## The same, and with real servers and network namespaces (root)
	@export SHOAL_TEST_ALL=1 SHOAL_TEST_S3_BIN=$(VERSITYGW); \
	$(call run_tests,-count=1 -timeout $(TEST_ALL_TIMEOUT))

deploy-test: ## Check the manifests in deploy/ against the Kubernetes API types
	cd deploy && go vet ./... && go test ./...

FUZZ_TIME := 60s
fuzz: ## Fuzz each decoder of traces and scenarios for FUZZ_TIME (60s)
	.ci/fuzz $(FUZZ_TIME)

bench: $(VERSITYGW) ## Benchmarks of every package, then of a mesh beside the plain tools (that part as root)
	go test -run '^$$' -bench . -benchmem -timeout 60m $$(go list ./... | grep -v /meshtest)
	$(call bench_mesh,Mesh)

bench-rivals: $(VERSITYGW) bench-tools ## Of those, the mesh beside s3fs and rclone alone: the table of the README (root)
	$(call bench_mesh,Mesh/rivals$(ROW))

bench-tools: $(RCLONE) ## Install rclone, pinned, and Debian's s3fs (root), which bench compares with where they are
	command -v s3fs >/dev/null || { apt-get -q update && apt-get -q install -y --no-install-recommends s3fs; }

lint: $(GOLANGCI) ## go vet, golangci-lint and the format
	go vet ./...
	$(GOLANGCI) run --allow-parallel-runners --max-issues-per-linter 0 --max-same-issues 0 ./...

fmt: $(GOLANGCI) ## Format every file as lint wants it
	$(GOLANGCI) fmt ./...

cover: ## Test coverage of the module in coverage.out, and its total
	go test -timeout $(TEST_TIMEOUT) -coverprofile coverage.out -coverpkg ./... ./...
	go tool cover -func coverage.out | tail -n 1

SOAK_MINUTES ?= 60
soak: ## Many kills, power losses and faults, then the concurrent packages' tests for SOAK_MINUTES (60)
	SHOAL_SOAK_KILLS=500 SHOAL_SOAK_SEEDS=10000 SHOAL_SOAK_FAULTS=1 \
	  go test -count=1 -timeout $(TEST_ALL_TIMEOUT) -run '^(TestKilled|TestPowerLoss|TestEveryFault)$$' ./blockstore
	end=$$((SECONDS + 60 * $(SOAK_MINUTES))); \
	while ((SECONDS < end)); do \
	  go test $(RACE) -count=1 -shuffle=on -timeout $(TEST_ALL_TIMEOUT) $(race_packages); \
	done

tools: $(GOLANGCI) $(VERSITYGW) ## Install the pinned tools

$(GOLANGCI):
	GOBIN=$(@D) GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(VERSITYGW):
	GOBIN=$(@D) GOFLAGS= go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)

$(RCLONE):
	CGO_ENABLED=0 GOBIN=$(@D) GOFLAGS= go install -ldflags '-s -w -X github.com/rclone/rclone/fs.Version=$(RCLONE_VERSION)' \
	  github.com/rclone/rclone@$(RCLONE_VERSION)

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'make test-all: makes network namespaces and mounts: run it as root' >&2; exit 1; }

clean: ## Remove what the other targets made here
	rm -rf bin coverage.out

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# bench_mesh: the rows of BenchmarkMesh that a pattern selects; with SHORT=-short on fewer bytes.
define bench_mesh
SHOAL_TEST_ALL=1 SHOAL_TEST_S3_BIN=$(VERSITYGW) SHOAL_TEST_RCLONE_BIN=$(RCLONE) \
  go test -run '^$$' -bench '$(1)' -benchtime 1x $(SHORT) -timeout $(BENCH_TIMEOUT) ./cmd/shoal/meshtest
endef

# run_tests: go test with the flags given, what it says shortened, and the time it took.
define run_tests
[ -n '$(RACE)' ] || echo 'SKIP: the race detector, for want of a C compiler' >&2; \
start=$$SECONDS; code=0; \
{ go test -v $(1) $(plain_packages) 2>&1 || echo 'go test: failed'; \
  go test -v $(RACE) $(1) $(race_packages) 2>&1 || echo 'go test: failed'; \
  $(if $(RACE),go test -v $(1) -run 'NotAllocate$$' ./fuse 2>&1 || echo 'go test: failed';) \
} | $(REPORT) || code=$$?; \
echo "make $@: $$((SECONDS - start))s"; exit $$code
endef

# Longshore. `make` lists what can be made.
#
# GOFLAGS holds for every module here, so that all of them, and the parts that
# the tests run, share one build cache.
export GOFLAGS := -trimpath
export CGO_ENABLED := 0

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -buildid= -X main.version=$(VERSION) \
	-X github.com/longshore-dev/velero-plugin/internal/cli.commit=$(REVISION)
# grpcnotrace leaves out gRPC's debug pages, and with them two template engines.
TAGS    := grpcnotrace
BINARY  := bin/velero-plugin-longshore
# What is released depends on these, the sources and the Go that builds.
DIST     ?= $(CURDIR)/dist
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
RELEASE   = cd hack/release && go run . -out '$(DIST)' -tags '$(TAGS)' -ldflags '$(LDFLAGS)' \
	-version '$(VERSION)' -revision '$(REVISION)' -time '$(SOURCE_DATE_EPOCH)' -machines '$(MACHINES)'
# Systems beside Linux for which `make release` builds the command.
MACHINES ?= darwin,windows
# The list of known vulnerabilities that `make vulncheck` asks.
VULNDB   ?= https://vuln.go.dev
# The modules whose tests `make test` runs; the root comes first.
MODULES := . internal/testbed/csidriver internal/e2e hack/bench hack/release
# Two test programs at a time: most of what they do is wait for real servers.
# gotestsum shows each test as it ends, and counts them.
GOTESTSUM := go tool -modfile=$(CURDIR)/hack/tools/gotestsum/go.mod gotestsum --format=testname --format-hide-empty-pkg
GOTEST  := $(GOTESTSUM) -- -count=1 -timeout=40m -p=2

.DEFAULT_GOAL := help
.PHONY: help build parts test test-unit test-race test-oldest test-promtool matrix verify lint cross tidy demo figures picture bench image push release sign licences vulncheck clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the plugin: bin/velero-plugin-longshore
	go build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BINARY) .

parts: ## build the real programs that the tests and the demo run (once, about 20 minutes)
	go run ./hack/parts

demo: ## watch Velero lose and regain an application through the plugin (KEEP=1 leaves it running)
	go run ./hack/demo

# The tests of snapshotter take longest, so they start first in their module.
test: parts build ## run all tests, against real servers
	@set -e; for module in $(MODULES); do (echo "== $$module"; cd $$module && $(GOTEST) $$([ $$module != . ] || echo ./snapshotter) ./...); done

test-unit: ## run the tests that start no server
	$(GOTEST) -short ./...

test-race: parts ## run the plugin's own tests with the race detector (wants a C compiler)
	CGO_ENABLED=1 $(GOTEST) -race ./...

# The oldest snapshot controllers that can be had, and what else differs in the field.
OLDEST := snapshotter=6.3.0 provisioner=5.3.0 metadata=yes class=hostpath-retain

test-oldest: ## run the snapshotter's main paths on the oldest snapshot controllers
	LONGSHORE_MATRIX='$(OLDEST)' go run ./hack/parts snapshot-controller csi-snapshotter csi-provisioner snapshot-crds
	LONGSHORE_MATRIX='$(OLDEST)' $(GOTEST) -run '^TestCluster(RoundTrip|StorageClasses|DriverFails|Shares)$$' ./snapshotter

test-promtool: ## check metrics and alerts with the newest promtool, which takes minutes to build
	cd hack/tools/promtool && go build -tags remove_all_sd -o $(CURDIR)/bin/promtool github.com/prometheus/prometheus/cmd/promtool
	LONGSHORE_PROMTOOL=$(CURDIR)/bin/promtool $(GOTEST) -run '^Test(Rules|Metrics)$$' ./hack/docs ./internal/cli

matrix: ## run the cluster tests and the main job over older versions, and write docs/compatibility.md (hours; ROWS=regexp)
	go run ./hack/matrix -rows '$(ROWS)'

verify: lint ## check format, modules, lint, words and workflows
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on the files above"; exit 1; }
	go tool -modfile=hack/tools/actionlint/go.mod actionlint -shellcheck= -pyflakes= .github/workflows/*.yml
	go test -count=1 -run '^TestWords$$' ./hack/docs
	@set -e; for module in $(MODULES); do (cd $$module && go mod tidy -diff && go vet ./...); done

lint: ## run the linter
	@set -e; for module in $(MODULES); do (cd $$module && go tool -modfile=$(CURDIR)/hack/tools/golangci-lint/go.mod golangci-lint run ./...); done

cross: ## compile and vet the command for macOS and Windows
	GOOS=darwin GOARCH=arm64 go vet -tags $(TAGS) .
	GOOS=windows GOARCH=amd64 go vet -tags $(TAGS) .

tidy: ## tidy every module
	@set -e; for module in $(MODULES); do (cd $$module && go mod tidy); done

figures: build ## print the binary's size and its memory after one listing
	go run ./hack/figures

picture: build ## draw docs/check.svg from a run of check, docs/dashboard.svg from the answers of a Prometheus
	go run ./hack/picture
	go run ./hack/dashboard

bench: parts build ## compare with velero-plugin-for-aws and Velero's CSI snapshots (QUICK=1: in a few minutes; ROWS=regexp)
	cd hack/bench && go run . $(if $(QUICK),-quick) -rows '$(ROWS)'

image: ## build the container image for amd64 and arm64: dist/image (needs no container engine)
	@$(RELEASE) image

push: ## push the image of the last `make image` (IMAGE=registry/name:tag)
	@test -n "$(IMAGE)" || { echo "say where to: make push IMAGE=registry/name:tag"; exit 1; }
	@test -f '$(DIST)/image/oci/index.json' || { echo "nothing is built yet: make image"; exit 1; }
	go tool -modfile=hack/tools/crane/go.mod crane push '$(DIST)/image/oci' '$(IMAGE)'

release: ## build all that is published: archives, image, bills of materials, checksums in dist
	@$(RELEASE) release

sign: ## rehearse the signatures of a release with a key that is thrown away: dist/rehearsal
	@$(RELEASE) sign

vulncheck: ## look for known vulnerabilities in what is called (asks vuln.go.dev; VULNDB=file:///FOLDER: a copy of it)
	go tool -modfile=hack/tools/govulncheck/go.mod govulncheck -db '$(VULNDB)' -tags $(TAGS) .

licences: ## judge the licences of all dependencies, and list them in docs/licences.md
	@$(RELEASE) licences

clean: ## remove what make built here; the parts stay in the user's cache folder
	rm -rf bin dist

# exonet: `make` alone lists the targets. ARGS='...' is handed to the program that a target runs.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

ARGS ?=
NODE ?= node
BASE ?= node:22-slim
IMAGE ?= exonet

BIN := node_modules/.bin
# npm writes this file when it has installed everything; package-lock.json is newer once the lock has changed.
INSTALLED := node_modules/.package-lock.json
# Folders are in the list too: their time changes when a file goes.
SOURCES := $(shell find src)
TEST_SOURCES := $(SOURCES) $(shell find test bench examples -type f -not -path '*/snapshots*')
PROGRAM := dist/cli/main.js
COMPILED := build/.compiled
# What `make run` serves unless ARGS names a folder.
SITE := $(if $(findstring --root,$(ARGS)),,--root examples/site)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ARGS='...' goes to the program, e.g. make run ARGS='--root /some/dir'"

$(INSTALLED): package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PROGRAM): $(SOURCES) tsconfig.json $(INSTALLED)
	@rm -rf dist
	$(BIN)/tsc -p tsconfig.json
	@chmod +x $@ && touch $@

# Examples and tests may import 'exonet' as its users do, hence dist comes first.
$(COMPILED): $(TEST_SOURCES) tsconfig.json tsconfig.test.json $(PROGRAM)
	@rm -rf build
	$(BIN)/tsc -p tsconfig.test.json
	@touch $@

.PHONY: build
build: $(PROGRAM) ## Compile src/ to dist/

.PHONY: build-test
build-test: $(COMPILED) ## Compile sources, tests and benchmarks to build/

.PHONY: typecheck
typecheck: $(PROGRAM) ## Check the types of everything, tests and benchmarks included
	$(BIN)/tsc -p tsconfig.test.json --noEmit

.PHONY: lint
lint: $(INSTALLED) ## Lint, format check, and the rules of the layers
	$(BIN)/biome check --error-on-warnings .
	$(NODE) scripts/check-layers.mjs

.PHONY: test
test: build build-test ## Every test; EXONET_INTEGRATION=skip|require leaves out or insists on those that need namespaces
	@$(NODE) scripts/run-tests.mjs all $(ARGS)

.PHONY: test-unit
test-unit: build-test ## The tests that need no right and no network
	@$(NODE) scripts/run-tests.mjs unit $(ARGS)

.PHONY: test-integration
test-integration: build build-test ## The tests in network namespaces, against the Linux kernel (root)
	@$(NODE) scripts/run-tests.mjs integration $(ARGS)

.PHONY: test-large
test-large: build build-test ## Fetch all of a file of 4 GiB from Cheetah, whose memory stays bounded (root)
	@EXONET_LARGE=1 $(BIN)/ava --timeout=20m test/integration/large-files.test.ts

.PHONY: simulate
simulate: build-test ## Write the tables of simulated transfers and goodput anew, after a change that is meant to show in them
	@EXONET_SIMULATE=write $(BIN)/ava --timeout=30m test/simulation/transfer.test.ts test/simulation/goodput.test.ts
	@git diff --stat test/simulation

.PHONY: fuzz
fuzz: build-test ## Fuzz TCP and what lies below it, guided by coverage (ARGS='--seconds 600 --seed N'), then a million mutations of frames
	@$(NODE) build/test/fuzz/main.js $(ARGS)
	@EXONET_MUTATIONS=1000000 $(BIN)/ava --timeout=30m test/simulation/hostile.test.ts

.PHONY: differential
differential: build build-test ## The same segments and calls to a Linux kernel and to exonet dut; every difference (root; ARGS='--only PAWS --all')
	@$(NODE) build/test/differential/main.js $(ARGS)

.PHONY: bench
bench: build build-test ## Measure against nginx and node:http in network namespaces (root, nginx, wrk)
	@$(NODE) build/bench/main.js $(ARGS)

.PHONY: bench-bulk
bench-bulk: build-test ## Measure one connection at full speed over TAP, beside the kernel's over veth (root, iperf3)
	@$(NODE) build/bench/bulk.js $(ARGS)

.PHONY: bench-loss
bench-loss: build-test ## Measure goodput over a wire that loses, beside the kernel's (root, cc, ethtool)
	@$(NODE) build/bench/loss.js $(ARGS)

.PHONY: bench-cold-page
bench-cold-page: build build-test ## Measure a browser's wait for a cold page, with html-grouping and without (root)
	@$(NODE) build/bench/cold-page.js $(ARGS)

.PHONY: bench-idle
bench-idle: build build-test ## Measure what an established connection on which nothing happens costs in memory
	@$(NODE) build/bench/stack/idle.js $(ARGS)

.PHONY: bench-stack
bench-stack: build build-test ## Measure TCP by itself across a simulated link: segments a second, nanoseconds of each layer
	@$(NODE) build/bench/stack/main.js $(ARGS)

.PHONY: evaluation
evaluation: build build-test ## Measure everything against its peers and write docs/evaluation.md (root; ARGS=--quick for a trial)
	@$(NODE) build/bench/evaluation/main.js $(ARGS)

.PHONY: run
run: build ## Serve examples/site at http://10.90.0.2/ from a TAP device (root or NET_ADMIN)
	@scripts/foreground.sh $(NODE) $(PROGRAM) cheetah $(SITE) $(ARGS)

.PHONY: run-rootless
run-rootless: build ## The same without any right, in a namespace of its own with a shell to run curl in
	@NODE='$(NODE)' scripts/run-rootless.sh $(SITE) $(ARGS)

.PHONY: docker
docker: ## Build the container image (BASE=node:22-slim, IMAGE=exonet)
	docker build --build-arg BASE=$(BASE) --file docker/Dockerfile --tag $(IMAGE) .

.PHONY: docker-test
docker-test: build ## Build the image and prove that it serves, with an engine of its own where none runs (root)
	@scripts/docker-test.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf dist build exonet-*.tgz

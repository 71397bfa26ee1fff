# Surefoot: `make test` is everything, `make check` is what every commit passes.
SHELL := /bin/bash
GO    ?= go
WEB   := server/console/web

.PHONY: help test check build vet unit race arch gen console console-check story browser node-otel bench numbers safety overload performance pipes vitals centre tidy clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## everything: build, vet, unit tests with the race detector, the stories, the console in a real browser
	@tools/test.sh

check: build vet fmt arch ## what every commit passes: build, vet, format, structure
	$(GO) test -short work

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt would change:"; echo "$$out"; exit 1; }

build: ## build every module
	$(GO) build work

vet: ## go vet over every module
	$(GO) vet work

arch: ## the structure as tests: imports, purity, exported surface, documentation
	$(GO) test ./internal/arch

unit: ## unit tests of every module
	$(GO) test work

race: ## the same with the race detector
	$(GO) test -race -short work

bench: ## the benchmarks, medians of five
	$(GO) test -run '^$$' -bench . -benchmem -count 5 ./errs ./flow ./safe ./canary ./resilience/... ./httpx ./grpcx ./server/...

numbers: ## measure what is promised and write docs/numbers.md (half an hour)
	$(GO) run ./bench/numbers

safety: ## ask our library and its peers whether the usual traps spring, and write docs/safety.md (half a minute)
	$(GO) run ./bench/safety

overload: ## tell overload and storms beside peers, and write docs/overload.md (four minutes)
	$(GO) run ./bench/storm

performance: ## measure calls and servers beside peers, and write docs/performance.md (six minutes)
	$(GO) run ./bench/performance

pipes: ## measure the pipe beside TLS, gRPC, NATS and yamux, and write docs/pipe.md (five minutes)
	$(GO) run ./bench/pipes

vitals: ## run real concurrency bugs under watch, and write docs/vitals.md (four minutes)
	$(GO) run ./bench/vitals

centre: ## measure the registry and the config centre, and write docs/centre.md (two minutes)
	$(GO) run ./bench/centre

gen: ## write generated code anew: protobuf, exported surface
	tools/gen.sh

console: ## build the console's dist from its source (needs node and npm)
	cd $(WEB) && npm ci --no-audit --no-fund && npm run build

tidy: ## tidy every go.mod of the workspace
	tools/tidy.sh

clean: ## remove what builds leave behind
	rm -rf bin $(WEB)/node_modules server/e2e/node-otel/node_modules

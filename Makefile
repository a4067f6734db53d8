# The verbs of the project, the same for people, hooks and CI.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
STAMP := .venv/installed
REQUIREMENTS := requirements/base.txt requirements/train.txt requirements/load.txt requirements/dev.txt \
	requirements/baselines.txt requirements/tracing.txt

# What `serve` serves: by default what the demo made.
RELEASE ?= demo/run/release
BANK ?= lmdb://$(CURDIR)/demo/bank
# How long `soak` soaks, and which faults `chaos` has: those whose names begin so; none: all.
DURATION ?= 1h
ONLY ?=

# Where `bench` writes.
REPORT ?= report

# Tests run in as many processes as there are cores, at most four. TESTS="-m slow" narrows `test-all` down.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal
TESTS ?=

.PHONY: help setup demo test test-all test-lowest lint check audit sbom serve bench chaos soak lock

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s  %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Build .venv from the pinned requirement files, if needed
	@:

$(STAMP): $(REQUIREMENTS) requirements/torch.txt pyproject.toml tools/setup.sh
	@tools/setup.sh $(REQUIREMENTS)
	@touch $@

demo: setup ## From nothing to a running service that answers, explained
	@$(BIN)/userip demo

test: setup ## Run the tests but the slow ones: minutes (installs redis-server if it is missing)
	@tools/redis.sh
	@$(PYTEST) -m "not slow"

test-all: setup ## Run every test, the slow ones too
	@tools/redis.sh
	@$(PYTEST) $(TESTS)

test-lowest: setup ## Serve and score with the lowest versions that pyproject.toml allows (test-all does so too)
	@$(BIN)/pytest tests/project/test_lowest.py

lint: setup ## Lint and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint ## Lint, types, import contracts and known vulnerabilities
	$(BIN)/mypy
	$(BIN)/lint-imports
	@tools/audit.sh

audit: setup ## Look the pinned requirements up among known vulnerabilities, where a registry answers
	@tools/audit.sh

sbom: setup ## Write build/sbom.json: what is pinned, as CycloneDX
	@tools/sbom.sh build/sbom.json

serve: setup ## Serve RELEASE from BANK
	@$(BIN)/userip serve --release "$(RELEASE)" --bank "$(BANK)"

bench: setup ## Measure: the service under load (into REPORT), 1,000,000 users into each bank, inference
	@tools/redis.sh
	@$(BIN)/userip bench --out "$(REPORT)"
	@$(BIN)/python -m userip.loadtests.scale.inference

chaos: setup ## Faults under load, each with its bound: Redis stands still, overload, lookups, hot swaps (minutes)
	@tools/redis.sh
	@$(BIN)/python -m userip.loadtests.faults.chaos --only "$(ONLY)"

soak: setup ## Steady load for DURATION (1h): does latency, memory or the number of open files grow?
	@tools/redis.sh
	@$(BIN)/python -m userip.loadtests.faults.soak --duration "$(DURATION)"

lock: setup ## Pin versions and hashes from pyproject.toml again (newest versions: make lock UPGRADE=--upgrade)
	@tools/lock.sh $(UPGRADE)

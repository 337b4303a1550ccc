# Everything is set up inside this folder. Needs python3 3.11+ with venv, and make.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := .venv/bin/python
# Tests run in so many processes, each with servers of its own.
PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test test-quick check format bench lock clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .setup-done .npm-done .browser-done ## Set everything up in .venv (the other targets do it, too)

demo: .setup-done ## Run all five scenarios on a real server
	@$(RUN) samples/demo.py

dev: .setup-done ## Run server, gateway, viewer and sample workers until Ctrl-C
	@.venv/bin/workflow-streams dev

test: .setup-done .npm-done .browser-done ## Run all tests
	@$(RUN) -m pytest --numprocesses $(PROCESSES) --dist loadfile

test-quick: .setup-done ## Run the tests that need no other process, in about a minute
	@$(RUN) -m pytest --quick --numprocesses $(PROCESSES)

check: .setup-done ## Lint, check the format and the types
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/pyright

format: .setup-done ## Format the code
	@.venv/bin/ruff check --fix-only --quiet
	@.venv/bin/ruff format

bench: .setup-done ## Measure beside the contrib; writes benchmarks/results and the README
	@$(RUN) -m benchmarks
	@$(RUN) -m benchmarks.readme

lock: $(UV) ## Choose the newest dependencies anew and write requirements.lock
	@$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	    --all-extras --group dev \
	    --no-emit-package workflow-streams pyproject.toml -o requirements.lock

clean: ## Remove what was set up and made
	@rm -rf .venv .tools .setup-done .npm-done .browser-done .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Compiled once and for all, since demo and tests start hundreds of processes, and not everywhere
# may Python keep what it compiles by itself: each starts in less than half the time.
.setup-done: requirements.lock pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0])'
	@echo "Setting up in .venv (the first time, a language model of about 98 MB is downloaded)"
	@test -x $(RUN) || $(PYTHON) -m venv .venv
	@VIRTUAL_ENV=.venv $(UV) pip sync --compile-bytecode --require-hashes --python $(RUN) requirements.lock
	@$(UV) pip install --quiet --python $(RUN) --no-deps --no-build-isolation --editable .
	@$(RUN) -m compileall -q src samples benchmarks tests
	@touch .setup-done

.npm-done: .setup-done tests/npm.py tests/gateway/conformance/package-lock.json tests/siblings/package-lock.json
	@$(RUN) tests/npm.py
	@touch .npm-done

.tools/bin/uv:
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet uv

.browser-done: .setup-done
	@if $(RUN) tests/gateway/browser.py; then touch .browser-done; fi

# `make demo` and `make test` set everything up by themselves. `make help` lists the words.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ALONE := -m alone tests/bench tests/hostile tests/platform tests/channel tests/e2e

.PHONY: help setup demo up quick test check fix docs bench nightly lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml requirements/dev.txt scripts/system-packages scripts/install-packages
	@PYTHON="$(PYTHON)" GOALS="$(MAKECMDGOALS)" scripts/system-packages
	@echo "making a virtual environment in $(VENV), with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@scripts/install-packages $(BIN)/python requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

setup: $(READY) ## virtual environment with locked, hashed dependencies

demo: $(READY) ## an attested function, and three attacks refused
	$(BIN)/python -m casemate.testing.demo

up: $(READY) ## a machine of your own in memory, until Ctrl-C
	$(BIN)/casemate up --dev

quick: $(READY) ## tests of what has changed, the nearest first, for 90 seconds
	$(BIN)/python scripts/quick_tests.py

test: $(READY) ## all tests: most in parallel, then those that want the computer for themselves
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not alone"
	$(BIN)/python -m pytest $(ALONE)

check: $(READY) ## types, lint, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/blocking_client.py --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY) ## what the tools can mend by themselves; the blocking client from the asyncio one
	$(BIN)/python scripts/blocking_client.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## the documentation as a site in site/, which also opens from its files
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

bench: $(READY) ## figures against named baselines, in one run
	$(BIN)/python -m bench

nightly: $(READY) ## the long tests: 10^5 fuzzed inputs a parser, ten minutes of chaos
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -n auto --dist worksteal -m "not alone"
	HYPOTHESIS_PROFILE=nightly CASEMATE_CHAOS_SECONDS=600 $(BIN)/python -m pytest $(ALONE) --timeout 1200

lock: ## requirements/*.txt anew, with hashes (needs `uv`)
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q --extra all pyproject.toml -o requirements/run.txt
	uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q --extra all pyproject.toml requirements/dev.in -c requirements/run.txt -o requirements/dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q requirements/build.in -c requirements/dev.txt -o requirements/build.txt

clean: ## what setup and tests have made
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

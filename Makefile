# Every target makes its own set-up: Python 3.11 or later is enough, Java 17 and Maven let more tests run.
PYTHON ?= python3
ITEMS ?= 20000
ARGS ?=
export PYTHON

.PHONY: help venv demo test quick check bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-7s %s\n", $$1, $$2}' Makefile

venv: ## make .venv with the project and its tools
	@scripts/setup

demo: venv ## move a table of ITEMS=20000 between two accounts of a local AWS
	@.venv/bin/python scripts/demo --items $(ITEMS) $(ARGS)

test: ## all tests against real servers; ARGS="..." goes to pytest
	@scripts/test $(ARGS)

quick: ## the tests that take less than a minute
	@scripts/test -m "not slow" $(ARGS)

check: ## format, lint, types, layers, packaging
	@scripts/check

bench: venv ## speed, memory and scaling beside others; ARGS="--only headline", ARGS="--quick"
	@.venv/bin/python scripts/bench $(ARGS)

clean: ## remove what the targets made, also the installed servers
	rm -rf .venv .cache .demo .bench .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

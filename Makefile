# Every target makes its own set-up: Python 3.11 or later is enough, Java 17 and Maven let more tests run.
PYTHON ?= python3
ITEMS ?= 20000
ARGS ?=
export PYTHON

.PHONY: help venv demo test quick soak docs check packages pythons bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

venv: ## make .venv with the project and its tools
	@scripts/setup

demo: venv ## move a table of ITEMS=20000 between two accounts of a local AWS, under the printed policies
	@.venv/bin/python scripts/demo --items $(ITEMS) $(ARGS)

test: ## the tests, against real servers; ARGS="..." goes to pytest
	@scripts/test -m "not soak" $(ARGS)

quick: ## the tests that take less than half a minute each
	@scripts/test -m "not slow and not soak" $(ARGS)

soak: ## kill loops, faults and random histories in many rounds
	@scripts/test -m soak $(ARGS)

pythons: ## what depends on the interpreter, on each other supported Python that is installed
	@scripts/test-pythons

docs: ## the documentation, into docs/_build/html
	@scripts/docs

packages: ## wheel, sdist and checkout into clean environments of each supported Python
	@scripts/test-install

check: ## format, lint, types, layers, packaging, documentation
	@scripts/check

bench: venv ## speed, memory and scaling beside others; ARGS="--only headline", ARGS="--quick"
	@PYTHONPATH=scripts:tests .venv/bin/python -m bench $(ARGS)

clean: ## remove what the targets made, also the installed servers
	rm -rf .venv* .cache .demo .bench .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist docs/_build
	find . -name __pycache__ -prune -exec rm -rf {} +

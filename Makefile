# Everything a checkout needs. `make` alone lists what there is.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo preview test lint bench stack generate screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.complete ## Make .venv with windvane and everything it needs, at the locked versions
	@$(MAKE) --no-print-directory preview || \
	  echo "The page of the preview could not be built; the rest is there, and 'make preview' tries again." >&2

.venv/.complete: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "windvane needs Python 3.11 or newer; name one with 'make PYTHON=...'" >&2; exit 1; }
	@test -x $(BIN)/python -a -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@# The lock is whole, so nothing is to be resolved: older pips look past the lock for a package with extras.
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Node comes as a wheel, so that every machine builds the page with the same one.
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix dashboards/preview
PAGE_SOURCES := $(shell git ls-files --cached --others --exclude-standard dashboards/preview 2>/dev/null)

preview: dashboards/preview/dist/index.html ## Build the page of the preview

dashboards/preview/node_modules/.package-lock.json: dashboards/preview/package-lock.json | .venv/.complete
	$(NPM) ci --no-progress --loglevel=error
	@touch $@

dashboards/preview/dist/index.html: dashboards/preview/node_modules/.package-lock.json $(PAGE_SOURCES)
	$(NPM) run --silent build -- --logLevel error

stack: setup ## Find or build the Collector, Prometheus and Alertmanager (once per machine)
	$(BIN)/windvane stack build --all

demo: setup ## Show it on real parts and real flights; options through ARGS="--once --json"
	@$(BIN)/windvane demo $(ARGS)

test: stack preview ## Run every test; options through ARGS="-k name"
	$(NPM) test --silent
	$(BIN)/coverage erase
	$(BIN)/pytest --numprocesses=3 --cov --cov-report=term $(ARGS)

lint: setup preview ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(NPM) run --silent lint

bench: setup ## Measure, against a named rival in the same run
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

# Grafana's published types, which tests hold the dashboards against.
.PHONY: types
types: tests/dashboards/schema/node_modules/.complete
test: types

tests/dashboards/schema/node_modules/.complete: tests/dashboards/schema/package-lock.json | .venv/.complete
	cd tests/dashboards/schema && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-progress --loglevel=error
	@touch $@

generate: setup ## Write anew what is generated and committed: rules, dashboards, conventions
	$(BIN)/python -m windvane_dashboards.generate

screenshots: stack preview ## Take the pictures of the dashboards in docs/images anew, from the running demo
	$(BIN)/python tests/browser/screenshots.py

lock: setup ## Resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

clean: ## Remove what the other targets made, except the cache of built binaries
	rm -rf dashboards/preview/node_modules dashboards/preview/dist
	rm -rf .venv build dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf tests/dashboards/schema/node_modules

# Needs Python 3.11 or newer with pip; `make test` and `make bench` also need Node 20 or newer with
# npm, because clients of mini-programs and a peer of the benchmark run in it; `make test` needs
# jq, nginx, caddy, pgbouncer, sqlite3 and ip, which root gets from apt, and `make test-long` a Chromium; `make bench` needs wrk, too. Everything of Python goes into .venv; pip and npm are called plainly, so that their own
# configuration (a mirror, a proxy) holds here as well.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
EXPRESS := benchmarks/peers/express
RECIPE := recipes/express
MODULES := $(patsubst %,%/node_modules/.installed,$(CLIENTS) $(EXPRESS) $(RECIPE))
TESTED := $(VENV)/.test $(VENV)/.programs $(MODULES)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help run test test-long coverage prove bench bench-full lint clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo 'make run    start the service with its console and a simulated WeChat, and print a login to try'
	@echo '            (other ports: make run PORT=9000 SIMULATOR_PORT=9001 CONSOLE_PORT=9002)'
	@echo 'make test   run what a change must not break, in about 8 minutes, on SQLite and on PostgreSQL'
	@echo '            (some: make test ARGS="-k login"; with the coverage of branches: make coverage)'
	@echo '            (what takes longer, samples of proofs and benchmark among it: make test-long)'
	@echo 'make prove  run the proofs under load and under failures'
	@echo 'make bench  measure the service beside others, in less than 12 minutes; needs wrk'
	@echo '            (some: make bench ARGS="--only check"; many more rounds: make bench-full)'
	@echo 'make lint   run ruff, mypy and import-linter'
	@echo 'make clean  remove .venv and every cache; instance/, with the data of make run, stays'
	@echo 'Another Python than python3: make run PYTHON=python3.12'

run: $(VENV)/.demo
	@exec $(BIN)/python scripts/run.py

# Two lanes: what is independent, on two processors, and then what needs the machine for itself. A
# choice of tests (ARGS) may leave a lane without any, which pytest tells by 5.
define run-lanes
$(BIN)/python -m pytest -n 2 --dist worksteal -m "not serial and $(1)" $(2) $(ARGS) || [ $$? = 5 ]
$(BIN)/python -m pytest -m "serial and $(1)" $(2) $(3) $(ARGS) || [ $$? = 5 ]
endef

test: $(TESTED)
	$(call run-lanes,not long)

test-long: $(TESTED) $(VENV)/.browser $(VENV)/.etcd
	$(call run-lanes,long,--timeout 900)

coverage: $(TESTED)
	$(call run-lanes,not long,--cov --cov-report=,--cov-append)
	$(BIN)/python -m coverage report

prove: $(VENV)/.test
	$(BIN)/python -m tests.proof $(ARGS)

bench: $(VENV)/.bench $(EXPRESS)/node_modules/.installed
	$(BIN)/python -m benchmarks $(ARGS)

bench-full: $(VENV)/.bench $(EXPRESS)/node_modules/.installed
	$(BIN)/python -m benchmarks --full $(ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(MODULES:/.installed=) build dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One environment; a stamp for each extra, and pip is asked again only when a list has changed.
$(VENV)/.demo $(VENV)/.test $(VENV)/.bench $(VENV)/.lint: $(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing wxsession[$*] into $(VENV) ...'
	@$(INSTALL) --editable '.[$*]'
	@touch $@

# What stands before or beside the service in the tests: each program with its package.
$(VENV)/.programs: PROGRAMS := jq:jq nginx:nginx caddy:caddy pgbouncer:pgbouncer ip:iproute2 sqlite3:sqlite3
$(VENV)/.browser: PROGRAMS := chromium-headless-shell:chromium-headless-shell fc-list:fontconfig
$(VENV)/.browser: CHINESE := fonts-wqy-microhei
$(VENV)/.etcd: PROGRAMS := etcd:etcd-server
$(VENV)/.programs $(VENV)/.browser $(VENV)/.etcd: Makefile | $(BIN)/python
	@PATH="$$PATH:/usr/sbin:/sbin"; \
	missing=; \
	for program in $(PROGRAMS); do \
	    command -v "$${program%:*}" >/dev/null || missing="$$missing $${program#*:}"; \
	done; \
	[ -z "$(CHINESE)" ] || fc-list :lang=zh 2>/dev/null | grep -q . || missing="$$missing $(CHINESE)"; \
	install="apt-get install -y -qq --no-install-recommends$$missing"; \
	if [ "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing$$missing ..."; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    { $$install || { apt-get update -qq && $$install; }; } >/dev/null && missing=; \
	fi; \
	[ -z "$$missing" ] || { echo "Programs are missing: apt install$$missing" >&2; exit 1; }
	@touch $@

# No lock file: it would name a registry. The packages are named with their exact versions.
$(MODULES): %/node_modules/.installed: %/package.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null && npm --version >/dev/null 2>&1 || { \
	    echo 'Node 20 or newer with npm is missing: apt install nodejs npm' >&2; \
	    exit 1; }
	@echo 'Installing into $*/node_modules ...'
	@npm install --prefix $* --no-package-lock --no-audit --no-fund --silent
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'wxsession needs Python 3.11 or newer; "$(PYTHON)" is not. Name one: make PYTHON=python3.12' >&2; \
	    exit 1; }
	@echo 'Creating $(VENV) ...'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

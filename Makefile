# Everything runs in .venv, made from PYTHON with the versions of constraints.txt.
# Paths are relative, so the checkout may live under a path with spaces.

PYTHON ?= python3
VENV := .venv
# Most tests wait for processes of their own, so more run at a time than there are processors.
PYTEST_ARGS ?= -n 3 --dist loadfile
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# Seconds that `make soak` takes, about.
SOAK_SECONDS ?= 3600
LOCK := constraints.txt requirements.txt setup.cfg setup.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run setup test clients check house docs bench bench-quick bench-peers soak lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.ready ## try it without an account: one streamed answer, then serve on PORT (3000)
	@exec $(PY) -m codexproxy demo

run: $(VENV)/.ready ## serve with your own ChatGPT login
	@exec $(PY) -m codexproxy serve

login: $(VENV)/.ready ## sign in to ChatGPT; LOGIN_ARGS=--device for a code, --paste for an address
	@exec $(PY) -m codexproxy login $(LOGIN_ARGS)

setup: $(VENV)/.ready-dev clients ## make the environment of contributors, with all that tests and checks need

test: $(VENV)/.ready-test $(if $(TESTS),,clients) ## run all tests (loopback only), or TESTS=tests/test_settings.py
	@exec $(PY) -m pytest $(if $(TESTS),$(TESTS),$(PYTEST_ARGS))

clients: $(VENV)/.ready-test ## install the real clients and the two peers that tests drive, below .cache
	@$(PY) -m tests.clients.installing
	@$(PY) -m bench.installing codex-api-proxy codex-proapi

check: $(VENV)/.ready-dev ## lint, format, types and the budgets of the architecture
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_architecture.py

house: $(VENV)/.ready-test ## measure the structure of the code: files, lines, the way of one answer (WAY=1: module by module)
	@$(PY) -m tests.house $(if $(WAY),--way) 2>/dev/null

docs: $(VENV)/.ready-test ## write the generated pages of docs/
	$(PY) -m codexproxy.settings > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md
	$(PY) -m bench --docs
	$(PY) -m tests.compatibility > docs/compatibility.md.new
	mv docs/compatibility.md.new docs/compatibility.md
	$(PY) -m tests.faults > docs/faults.md.new
	mv docs/faults.md.new docs/faults.md

bench: $(VENV)/.ready .venv-bench/.ready ## measure everything (half an hour), against nginx, ChatMock and the peers that are installed
	$(PY) -m bench $(BENCH_ARGS)

bench-quick: $(VENV)/.ready .venv-bench/.ready ## the same in three minutes, less exactly
	$(PY) -m bench --quick $(BENCH_ARGS)

bench-peers: $(VENV)/.ready ## install five more proxies (1.1 GB below .cache), which bench then measures as well
	@$(PY) -m bench.installing $(PEERS)

soak: $(VENV)/.ready-test ## everything goes wrong for an hour (SOAK_SECONDS), and is counted in the end
	@exec $(PY) -m tests.soak --seconds $(SOAK_SECONDS) $(SOAK_ARGS)

dist: $(VENV)/.ready-dev ## build and check wheel and sdist, below dist
	rm -rf dist build codexproxy.egg-info
	$(PY) -m build --no-isolation
	$(PY) -m twine check --strict dist/*

lock: ## renew constraints.txt and requirements.txt (with hashes) from what is published now
	rm -rf .venv-lock build codexproxy.egg-info
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip --quiet install setuptools wheel
	.venv-lock/bin/python -m pip --quiet install --no-build-isolation '.[test,dev]'
	( sed -n '/^#/p' constraints.txt; .venv-lock/bin/python -m pip freeze --all --exclude codexproxy --exclude pip ) > constraints.txt.new
	mv constraints.txt.new constraints.txt
	.venv-lock/bin/python -m pip --quiet install uv
	( sed -n '/^#/p' requirements.txt; printf 'setuptools\nwheel\n' | .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --constraint constraints.txt setup.cfg - ) > requirements.txt.new
	mv requirements.txt.new requirements.txt
	rm -rf .venv-lock build codexproxy.egg-info

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) .venv-bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One stamp per set of packages, so that the demo need not wait for test tools.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("codexproxy needs Python 3.11 or newer; try PYTHON=python3.12 make ..." if sys.version_info < (3, 11) else 0)'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.ready: $(VENV)/.made $(LOCK)
	@echo "Installing codexproxy ..."
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	@echo "Installing what the tests need ..."
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[test]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready-test
	@echo "Installing the checkers ..."
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[test,dev]'
	@touch $@

# A peer to compare with, in an environment of its own; without it its goals are 'not measured'.
.venv-bench/.ready:
	@echo "Installing ChatMock to compare with ..."
	@-$(PYTHON) -m venv .venv-bench && .venv-bench/bin/python -m pip --disable-pip-version-check --quiet install chatmock==1.40
	@mkdir -p .venv-bench && touch $@

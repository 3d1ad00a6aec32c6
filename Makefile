# What a person does with a checkout. Everything happens in .venv; nothing is installed elsewhere.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin

# pip says nothing unless something is wrong.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Tests that run at once: most of them wait.
TESTERS ?= 4

# By a line in a .pth: setuptools' other way is a program, which each start of Python runs first.
INSTALL := $(PIP) install --config-settings editable_mode=compat --editable

.DEFAULT_GOAL := help
.PHONY: help demo dev test coverage lint bench chaos soak lock audit clean
.DELETE_ON_ERROR:

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.dev ## A guided tour: the whole service, one build, every check
	@$(BIN)/baton demo

dev: $(VENV)/.dev ## Run everything on this machine, in this terminal
	@$(BIN)/baton dev

# Lint runs beside the tests, and is heard of when they have ended.
test: $(VENV)/.test ## Tests, style, types, floor plan; slow=1: also tests that need npm, a browser or minutes
	@$(MAKE) --no-print-directory lint >$(VENV)/lint.log 2>&1 & lint=$$!; \
	trap 'kill $$lint' INT; \
	echo '── tests'; \
	$(BIN)/python -m pytest -n $(TESTERS) $(if $(slow),,-m 'not slow'); tests=$$?; \
	wait $$lint; lint=$$?; \
	cat $(VENV)/lint.log; \
	[ $$tests = 0 ] || echo '── some tests failed: see above'; \
	exit $$((tests || lint))

coverage: $(VENV)/.test ## Lines of app and worker that all tests run, in every process
	@.ci/coverage $(VENV)

lint: $(VENV)/.test ## Style, format, types and the floor plan
	@echo '── ruff: style'
	@$(BIN)/ruff check .
	@echo '── ruff: format'
	@$(BIN)/ruff format --check .
	@echo '── mypy: types'
	@$(BIN)/mypy
	@echo '── import-linter: floor plan'
	@$(BIN)/lint-imports

bench: $(VENV)/.test ## Measure speed: builds, submissions, long histories and queues, live logs, starts
	@$(BIN)/python -m benchmarks.build
	@$(BIN)/python -m benchmarks.submit
	@$(BIN)/python -m benchmarks.history
	@$(BIN)/python -m benchmarks.follow
	@$(BIN)/python -m benchmarks.growth
	@$(BIN)/python -m benchmarks.start

chaos: $(VENV)/.test ## A storm of faults over the real parts; seed=N repeats one
	@$(BIN)/python -m chaos $(if $(seed),--seed $(seed))

soak: $(VENV)/.test ## 10,000 builds that do nothing: does memory grow, does a key stay?
	@$(BIN)/python -m chaos.soak

lock: $(VENV)/.python ## Choose anew what the image installs: requirements.lock
	@$(PIP) install 'uv>=0.9'
	@$(BIN)/uv pip compile pyproject.toml --extra image --extra tracing --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade --quiet \
	  --output-file requirements.lock --custom-compile-command 'make lock'

audit: ## Known vulnerabilities in requirements.lock
	@.ci/audit

clean: ## Remove the environment, caches and what `make dev` kept
	rm -rf $(VENV) .baton build dist *.egg-info .*_cache .hypothesis .coverage
	find app worker tests benchmarks chaos -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ── the environment: made once, and again when pyproject.toml changes ─────────────────────────────

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "baton: $(PYTHON) is not installed; Python 3.11 or later is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "baton: Python 3.11 or later is needed, and $(PYTHON) is" \
	    "$$($(PYTHON) -c 'import platform; print(platform.python_version())');" \
	    "name another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "baton: $(PYTHON) lacks venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	@echo '── making $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	@echo '── installing Baton into $(VENV) (a minute the first time)'
	@$(INSTALL) '.[dev]'
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml
	@echo '── installing Baton and its test tools into $(VENV) (a minute the first time)'
	@$(INSTALL) '.[dev,test]'
	@touch $@ $(VENV)/.dev

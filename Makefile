# Everything here works from a bare Python >= 3.11: the targets make a virtual environment in .venv and install into
# it what they need, once, and again only when pyproject.toml has changed.

PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
OUT ?= out
# Test processes: one per core, but never more than MAX_WORKERS (each of them compiles and loads the kernels).
WORKERS ?= auto
MAX_WORKERS ?= 8
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# One BLAS thread per test process; figures are drawn without a display.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses $(MAX_WORKERS)

export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow docs fresh oldest lint format types wheel check clean distclean

help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3] [PYTEST_ARGS=...]"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1	\2/p' Makefile | expand -t 14

demo: $(VENV)/.installed ## Certify an example data set and write the results into out/
	$(BIN)/convexrml certify --out $(OUT)

test: $(VENV)/.installed-test ## Run the tests
	$(PYTEST) $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-test ## Run the slow tests, which `make test` leaves out
	$(PYTEST) -m slow $(PYTEST_ARGS)

docs: $(VENV)/.installed-docs ## Build the site into docs/_build/html; a warning is an error
	rm -rf docs/_build
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build/html
	$(BIN)/python tests/check_site.py docs/_build/html

lint: $(VENV)/.installed-dev ## Check style and formatting (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev ## Apply formatting and the safe style fixes (ruff)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev ## Check types (mypy)
	$(BIN)/mypy

wheel: $(VENV)/.installed-dev ## Build wheel and sdist into dist/ and check them in a fresh environment
	$(BIN)/python tests/check_wheel.py --dist dist

fresh: ## Do what README says in an empty home without a compiler; install wheel and sdist there (long)
	$(PYTHON) tests/fresh_machine.py --python "$$(command -v $(PYTHON))" -- $(PYTEST_ARGS)

oldest: BIN := $(OLDEST)/bin
oldest: $(OLDEST)/.installed ## Run the tests with the oldest dependencies that pyproject.toml allows
	$(PYTEST) $(PYTEST_ARGS)

check: ## Everything that continuous integration runs
	.ci/run

clean: ## Remove what building and testing left behind
	rm -rf build dist docs/_build docs/gallery *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find convexrml solvers tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## The same, and the virtual environment and the results
	rm -rf $(VENV) $(OLDEST) $(OUT)

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "convexrml needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version`." >&2; \
	    echo "Name a newer one: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(OLDEST)/.installed: pyproject.toml tests/oldest_versions.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python tests/oldest_versions.py > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip --disable-pip-version-check install --quiet \
	    --constraint $(OLDEST)/constraints.txt --editable '.[test]'
	@touch $@

# An installation with more extras stands in for those with fewer.
$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo "Installing convexrml into $(VENV); the first time takes a minute or two ..."
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created pyproject.toml
	@echo "Installing convexrml and its test tools into $(VENV); the first time takes a minute or two ..."
	$(PIP) install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	@echo "Installing convexrml and its development tools into $(VENV); the first time takes a minute or two ..."
	$(PIP) install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-docs: $(VENV)/.created pyproject.toml
	@echo "Installing convexrml and what builds its site into $(VENV); the first time takes a minute or two ..."
	$(PIP) install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

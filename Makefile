# Every target that needs .venv builds it first, from the versions in constraints.txt.
# PYTHON=python3.12 chooses the interpreter it is built with; 3.11 is the oldest that will do.

PYTHON ?=
KILLS ?= 200
SESSIONS ?= 1000
RUNS ?= 100000
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TYPES := build/types/moorage
CODE := runtime stores adapters tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench kill mutants soak clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(INSTALLED) ## the whole story in 30 seconds, with a kill -9 in the middle
	@$(BIN)/moorage demo $(ARGS)

test: $(INSTALLED) ## the test suite; ARGS="tests/runtime -k cancel" narrows it
	@$(BIN)/python -m pytest -q $(ARGS)

check: $(INSTALLED) $(TYPES) ## format, lint, types, project rules, coverage of the pure core
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@MYPYPATH=build/types $(BIN)/mypy -p moorage
	@MYPYPATH=build/types $(BIN)/mypy tests/typing
	@MYPYPATH=build/types:. $(BIN)/mypy --explicit-package-bases benchmarks tests/rules
	@$(BIN)/python -m pytest -q tests/rules
	@$(BIN)/python tests/rules/mirror_coverage.py

format: $(INSTALLED) ## rewrite the files as the formatter wants them
	@$(BIN)/ruff check --fix-only $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(INSTALLED) ## all benchmarks, as JSON lines; ARGS=--quick for a short run
	@$(BIN)/python -m benchmarks all $(ARGS)

kill: $(INSTALLED) ## KILLS SIGKILLs at random moments, checked from outside
	@$(BIN)/python tests/acceptance/kill_loop.py --kills $(KILLS) $(ARGS)

mutants: $(INSTALLED) ## break the code in listed ways; each time a named test must fail
	@$(BIN)/python tests/acceptance/mutations.py $(ARGS)

soak: $(INSTALLED) ## SESSIONS sessions and RUNS runs: nothing may grow or be left behind
	@$(BIN)/python tests/acceptance/soak.py --sessions $(SESSIONS) --runs $(RUNS) $(ARGS)

clean: ## remove .venv and everything else that was built
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# The build tool comes from constraints.txt too, hence no build isolation.
$(INSTALLED): pyproject.toml constraints.txt
	@set -eu; \
	for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        found=$$python; break; \
	    fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo 'make: no Python 3.11 or newer: install one, or name it with make PYTHON=/path/to/python' >&2; \
	    exit 1; \
	fi; \
	[ -x $(BIN)/python ] || { echo "building $(VENV) with $$found"; $$found -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; }; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$(BIN)/python -m pip install --quiet -c constraints.txt 'setuptools>=77'; \
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[cli,test,check]'
	@touch $@

# mypy reads the packages through links, since it knows nothing of setuptools' package-dir.
$(TYPES): Makefile
	@mkdir -p $@
	@for package in runtime stores adapters; do ln -sfn ../../../$$package $@/$$package; done
	@touch $@

# Every target that needs .venv builds it first, from the versions in constraints.txt.
# PYTHON=python3.12 chooses the interpreter it is built with; 3.11 is the oldest that will do.

PYTHON ?=
KILLS ?= 200
SESSIONS ?= 1000
SECONDS ?= 120
SEED ?= 1
FAILOVER_SECONDS ?= 600
RUNS ?= 100000
WORKERS ?= 3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TYPES := build/types/moorage
AGENTS := build/agents/.installed
BROWSER := build/browser/.installed
STREAMS := build/streams/.installed
CODE := runtime stores adapters tests benchmarks examples

.DEFAULT_GOAL := help
.PHONY: help demo test test-agents test-browser test-streams console-screenshots check format bench kill failover mutants soak clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 21

demo: $(INSTALLED) ## the whole story in 30 seconds, with a kill -9 in the middle
	@$(BIN)/moorage demo $(ARGS)

# Workers have to find the same tests in the same order, also where those come out of a set. They begin with
# the files of tests/acceptance, which take longest; xdist by itself would begin with the files of most tests.
test: $(INSTALLED) ## the test suite, in three processes; ARGS="tests/runtime -k cancel" narrows it
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-agents: $(AGENTS) ## install the real Claude Code, Codex, Copilot, pi and more, and test with them
	@MOORAGE_AGENTS_REQUIRED=1 PATH="$(CURDIR)/build/agents/node_modules/.bin:$$PATH" \
	    $(BIN)/python -m pytest -q -m real_agent $(ARGS)

test-browser: $(BROWSER) ## drive the pages in Chromium, which has to be installed
	@MOORAGE_BROWSER_REQUIRED=1 $(BIN)/python -m pytest -q -m browser tests/browser $(ARGS)

test-streams: $(STREAMS) ## the public conformance suite of Durable Streams, against a real server
	@$(BIN)/python tests/acceptance/streams_conformance.py build/streams

console-screenshots: $(BROWSER) ## take the pictures of the console in docs/images again
	@$(BIN)/python -m tests.browser.console_screenshots docs/images

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

failover: $(INSTALLED) ## SECONDS of trouble for a cluster on Postgres, checked from outside; SEED=
	@$(BIN)/python tests/acceptance/failover.py --seconds $(SECONDS) --seed $(SEED) $(ARGS)

mutants: $(INSTALLED) ## break the code in listed ways; each time a named test must fail
	@$(BIN)/python tests/acceptance/mutations.py $(ARGS)

soak: $(INSTALLED) ## SESSIONS sessions and RUNS runs: nothing may grow; then failover, for longer
	@$(BIN)/python tests/acceptance/soak.py --sessions $(SESSIONS) --runs $(RUNS) $(ARGS)
	@[ $(FAILOVER_SECONDS) = 0 ] || $(BIN)/python tests/acceptance/failover.py \
	    --seconds $(FAILOVER_SECONDS) --seed $(SEED)

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

# Large programs of others: a wheel each, or, with npm, a folder of their own.
$(AGENTS): $(INSTALLED) agent-programs.txt
	@command -v npm >/dev/null || { echo 'make: no npm: install Node.js 20 or newer, for Copilot and pi' >&2; exit 1; }
	@mkdir -p build/agents
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[claude,codex,acp,openai-agents]'
	@npm install --silent --no-save --no-audit --no-fund --prefix build/agents $$(grep -v '^#' agent-programs.txt)
	@touch $@

$(BROWSER): $(INSTALLED) constraints.txt
	@command -v chromium chromium-browser google-chrome $(MOORAGE_CHROMIUM) >/dev/null || { echo 'make: no Chromium: install it (Debian: apt-get install chromium), or name it with MOORAGE_CHROMIUM' >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[browser]'
	@mkdir -p build/browser
	@touch $@

# Only its tests are taken: no lock file, as everything is resolved anew.
$(STREAMS): $(INSTALLED) stream-suite.txt
	@command -v npm >/dev/null || { echo 'make: no npm: install Node.js 20 or newer' >&2; exit 1; }
	@mkdir -p build/streams
	@npm install --silent --no-save --no-audit --no-fund --prefix build/streams $$(grep -v '^#' stream-suite.txt)
	@touch $@

# mypy reads the packages through links, since it knows nothing of setuptools' package-dir.
$(TYPES): Makefile
	@mkdir -p $@
	@for package in runtime stores adapters; do ln -sfn ../../../$$package $@/$$package; done
	@touch $@

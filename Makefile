# Everything runs in .venv, which is made from requirements.lock on first use. `make help` lists the targets.

SHELL := /bin/bash
# The first Python on the path that is new enough.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Two test processes of one thread each: threads that outnumber the cores cost far more than they give.
WORKERS ?= 2
PYTEST := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-lowest test-newest check check-rest lint types imports wheel docs test-slow format bench bench-methods audit fuzz mistakes conformance lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

venv: $(STAMP) ## install everything into .venv

$(STAMP): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "lowland needs Python 3.11 or newer, and none is on the path: name one with make PYTHON=/path/to/python." >&2; \
	  exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## compare training with and without SAM on the small model that comes along
	$(BIN)/lowland compare --preset demo

test: $(STAMP) ## run the tests, slow ones left out
	$(PYTEST)

# Both have a virtual environment of their own, which uv fills. On Linux, PyPI's PyTorch brings CUDA with it: for a small one
# set UV_TORCH_BACKEND=cpu, or TORCH=torch==2.13.0+cpu and UV_FIND_LINKS=DIR where a build lies in a folder.
# TESTS=tests/sam runs these tests only.
TORCH ?= torch
test-lowest: .venv-lowest/.installed ## run the tests with the lowest versions that the ranges allow
	$(subst $(BIN),.venv-lowest/bin,$(PYTEST)) $(TESTS)

test-newest: .venv-newest/.installed ## run the tests with the newest versions that the ranges allow
	$(subst $(BIN),.venv-newest/bin,$(PYTEST)) $(TESTS)

.venv-lowest/.installed: RESOLUTION := lowest-direct
.venv-newest/.installed: RESOLUTION := highest
.venv-lowest/.installed .venv-newest/.installed: pyproject.toml
	"$(PYTHON)" -m venv --clear $(@D) # what is installed would be kept where it is within the ranges
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet uv
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --resolution $(RESOLUTION) "$(TORCH)" \
	  --editable '.[cluster,dev,hub,lab,peft,report,text]'
	@touch $@

check: test check-rest ## run everything that must pass before a change is merged

check-rest: lint types imports wheel test-slow

lint: $(STAMP) ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP) ## check the types
	$(BIN)/mypy

imports: $(STAMP) ## check that imports run one way
	$(BIN)/lint-imports

wheel: $(STAMP) ## build the wheel and use it from elsewhere
	$(BIN)/python tools/check_wheel.py

docs: .venv-docs/.installed ## build the documentation into build/site; a warning or a dead link fails
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/.installed: pyproject.toml
	test -x $(@D)/bin/python || "$(PYTHON)" -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet --group docs
	@touch $@

test-slow: $(STAMP) ## run the slow tests only
	$(PYTEST) -m slow --timeout 900 || test $$? -eq 5 # 5: there are none

format: $(STAMP) ## format the code and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure what training costs, and what SAM adds
	@ls benchmarks/bench_*.py >/dev/null 2>&1 || { echo "There is no benchmarks/bench_*.py to run." >&2; exit 1; }
	set -e; for file in $(filter-out %/bench_methods.py,$(wildcard benchmarks/bench_*.py)); do echo "== $$file"; $(BIN)/python "$$file"; done

bench-methods: $(STAMP) ## compare all methods and rivals on several tasks; DATA=, MODELS=, ROWS= and OUT= are folders
	$(BIN)/python benchmarks/bench_methods.py --data "$(DATA)" --models "$(MODELS)" --rows "$(or $(ROWS),.)" \
	  --out "$(or $(OUT),runs/methods)"

audit: $(STAMP) ## look the pinned dependencies up among known vulnerabilities
	$(BIN)/python tools/audit.py

fuzz: $(STAMP) ## feed damaged files to the readers for a minute (SECONDS=600 for longer)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.tasks.fuzz_readers $(or $(SECONDS),60)

mistakes: $(STAMP) ## print what each mistake of a user's is answered with
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.cli.mistakes

conformance: $(STAMP) ## run the conformance suite on other implementations of SAM, too
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --upgrade \
	  --target build/conformance pytorch-optimizer==4.1.0
	PYTHONPATH=build/conformance OMP_NUM_THREADS=1 $(BIN)/python -m tests.conformance.table

# Pins already in the lock are kept. To move some: make lock UPGRADE="--upgrade-package rich", or UPGRADE=--upgrade.
# The local label of a build (torch 2.13.0+cpu) is taken off, so that the lock installs on any machine.
lock: ## resolve requirements.lock again
	test -x $(BIN)/pip-compile || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet 'pip-tools>=7.5'; }
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --extra cluster --extra dev --extra hub --extra lab --extra peft --extra report --extra text \
	  --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  $(UPGRADE) --output-file requirements.lock pyproject.toml
	sed -i -E 's/^([A-Za-z0-9._-]+==[^+ ]+)\+[A-Za-z0-9.]+/\1/' requirements.lock
	$(BIN)/python tools/hash_lock.py

clean: ## remove what was built, .venv included; runs/ stays
	rm -rf $(VENV) .venv-docs .venv-lowest .venv-newest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks examples tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

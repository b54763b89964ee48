# Two commands for a fresh clone: `make quickstart` and `make test`. Nothing but python3 (3.11 or later) is assumed.
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/quickstart
BIN := $(VENV)/bin
# Keeps the current folder off the module path: the rooms have common names and must only be found inside logfm.
export PYTHONSAFEPATH = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: quickstart test lint clean nano nano-ship

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

quickstart: $(VENV)/.installed
	$(BIN)/logfm quickstart $(INPUT) --out $(OUT)
	@echo "open $(OUT)/report.html"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The encoder that ships, from data to package: DATA is a folder of public logs, laid out as docs/nano.md says. Each stage
# is reused where it is finished; a training that was stopped goes on.
NANO := out/nano
# Packages are only read, so which Python they want is no matter.
nano: $(VENV)/.installed
	$(BIN)/pip download --quiet --no-deps --only-binary :all: --python-version 3.13 --dest $(NANO)/wheels -r benchmarks/nano_packages.txt
	$(BIN)/python -m benchmarks.nano $(DATA) --wheels $(NANO)/wheels --out $(NANO)

# Measured beside its baselines, once, and put into the package with its card.
nano-ship: nano
	$(BIN)/logfm eval run local --encoder nano=$(NANO)/package --data $(DATA) --out $(NANO)/eval
	$(BIN)/python -m benchmarks.nano $(DATA) --wheels $(NANO)/wheels --out $(NANO) --ship $(NANO)/eval/results.csv

clean:
	rm -rf $(VENV) out dist

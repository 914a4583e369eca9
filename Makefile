# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-all lint typecheck bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,cf,rank,serve,excel,fast,track,demo,dev]'
	touch $(STAMP)

# fewer requests than the defaults to learn a ranker from, so that it takes minutes
DEMO := --set ranking.most_cells=2.5e8 --set ranking.in_turn=0

demo: setup
	$(BIN)/tasteprint demo --out reports/demo --workspace workspace/demo $(DEMO)

test: setup lint typecheck
	$(BIN)/python -m pytest -m "not slow and not gpu" -rs

test-all: setup
	$(BIN)/python -m pytest -m "not gpu"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# `make` alone prints the targets. Setup runs by itself; another Python: `rm -rf .venv && make setup PYTHON=python3.12`.
PYTHON ?= python3
PRESET ?= quick
ARGS   ?=
BIN    := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup sims test lint format bench report docs lock clean FORCE

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z%<>-]+:.*## / {sub(/%/, "<slug>", $$1); printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Create .venv from python3 >= 3.11, install the locked packages and this checkout
	@command -v $(PYTHON) >/dev/null || { echo "setup: $(PYTHON) not found; install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) tools/setup.py

sims: setup ## Run every simulation (quick preset), print the claims, write the report [ARGS="..."]
	@$(BIN)/theorysim run all $(ARGS)

sim-%: setup FORCE ## Run one simulation: make sim-model_collapse [PRESET=paper] [ARGS="--seed 1"]
	@$(BIN)/theorysim run $* --preset $(PRESET) $(ARGS)

test: setup ## Run the tests [ARGS="-k sweep"]
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## Check style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: setup ## Rewrite the files in the one style
	@$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format .

bench: setup ## Measure speed and memory against naive code [ARGS="model_collapse"]
	@$(BIN)/python -m benchmarks $(ARGS)

report: setup ## Build figures/index.html from the results that exist
	@$(BIN)/theorysim report

docs: setup ## Build the pages and the API reference into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict && echo "site/index.html"

lock: setup ## Pin the newest allowed dependencies into requirements.lock
	@test -x .cache/uv/bin/uv || $(BIN)/python -m pip install --quiet --target .cache/uv "uv>=0.9"
	@.cache/uv/bin/uv pip compile pyproject.toml --all-extras --universal --fork-strategy fewest --python-version 3.11 \
	  --generate-hashes --no-annotate --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock

clean: ## Remove caches and built pages; results, figures and .venv stay
	@rm -rf .cache .pytest_cache .ruff_cache .hypothesis site dist build
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

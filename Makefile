# make demo | test | lint | bench | clean. Everything happens in .venv; nothing else is touched.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# the quick ones; whole_search, growth and keras_parity take 10 to 30 minutes each
BENCHMARKS ?= augmentation pipeline fused inference overhead
# uv knows nothing of pip's own settings for local wheels
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: demo test lint format bench clean venv
.DEFAULT_GOAL := demo

venv: $(VENV)/.ready

# uv resolves and installs about ten times faster than pip
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[dev,timm]"
	@touch $@

demo: venv
	$(BIN)/python scripts/search.py --space aug.yaml
	$(BIN)/python scripts/ensemble.py --top 5
	@echo
	@echo "look at:  $(BIN)/tensorboard --logdir runs/latest     (then open http://localhost:6006/#hparams)"
	@echo "          runs/latest/leaderboard.csv, runs/latest/ensemble/report.json"

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

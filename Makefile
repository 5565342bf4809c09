# make demo | test | lint | format | mutants | newest | bench | clean. Everything happens in .venv; nothing else is touched.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# the quick ones; whole_search, growth and keras_parity take 10 to 30 minutes each
BENCHMARKS ?= augmentation pipeline fused inference overhead
# uv knows nothing of pip's own settings for local wheels
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: demo test lint format mutants newest bench clean venv
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
	@echo "          runs/latest/report.html, runs/latest/leaderboard.csv"

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# planted mistakes, each of which a test must see: 20 to 40 minutes (docs/testing.md)
mutants: venv
	$(BIN)/python tests/mutants/run.py --jobs 2

# the tests on the newest releases of the libraries whose insides are leant on, whatever pyproject.toml allows
newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --disable-pip-version-check uv
	printf 'ray[tune]\ntorch\ntorchvision\noptuna\nalbumentations\n' > .venv-newest/override.txt
	.venv-newest/bin/uv pip install --quiet --upgrade --python .venv-newest/bin/python \
		--override .venv-newest/override.txt --editable ".[dev,timm]"
	.venv-newest/bin/uv pip list --python .venv-newest/bin/python | grep -E '^(ray|torch|torchvision|optuna|albumentations) '
	.venv-newest/bin/python -m pytest

bench: venv
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) .venv-newest .mypy_cache .pytest_cache .ruff_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

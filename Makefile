# make demo   set up .venv and run the main job on the embedded demo
# make test   set up .venv and run every test that is not marked slow
# TORCH=cpu   takes PyTorch's CPU wheels, for those who can reach their index

VENV ?= .venv
PYTHON ?= python3
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
ifeq ($(TORCH),cpu)
INDEX := --extra-index-url https://download.pytorch.org/whl/cpu
endif

.PHONY: demo test test-all lint clean

demo: $(VENV)/.installed
	$(VENV)/bin/python scripts/localize.py --dataset demo --overlays 6

test: $(VENV)/.installed-dev lint
	$(VENV)/bin/python -m pytest -m "not slow"

test-all: $(VENV)/.installed-dev lint
	$(VENV)/bin/python -m pytest

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) install $(INDEX) -e .
	touch $@

# pip before 25.1 cannot read dependency groups.
$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.installed
	$(PIP) install "pip>=25.1"
	$(PIP) install $(INDEX) -e . --group dev
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

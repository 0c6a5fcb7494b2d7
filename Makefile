# make demo   set up .venv and run the main job on the embedded demo
# make demo-detector   from the demo's labels to a trained detector and its mAP, in minutes
# make test   set up .venv, run the linters and every test that is not marked slow
# make package   build sdist and wheel, check them, and run the main job from the wheel in an empty folder
# make peers  set up .venv-peers and compare with other tools, some of which bring a build of OpenCV that would hide ours
# make lowest   the quick tests in .venv-lowest, with the lowest versions that pyproject.toml admits
# TORCH=cpu   install PyTorch's CPU wheels, if their index can be reached

VENV ?= .venv
PEERS ?= .venv-peers
LOWEST ?= .venv-lowest
PYTHON ?= python3
PURELIB := import sysconfig; print(sysconfig.get_path('purelib'))
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
ifeq ($(TORCH),cpu)
INDEX := --extra-index-url https://download.pytorch.org/whl/cpu
endif

.PHONY: demo demo-detector test test-all package peers lowest lint clean

demo: $(VENV)/.installed
	$(VENV)/bin/python scripts/localize.py --dataset demo --overlays 6

demo-detector: $(VENV)/.installed
	rm -rf runs/demo-detector
	$(VENV)/bin/python scripts/demo_detector.py

test: $(VENV)/.installed-dev lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 -m "not slow"

test-all: $(VENV)/.installed-dev lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2

# Its environment holds the wheel alone and borrows what that depends on.
package: $(VENV)/.installed-dev
	rm -rf $(VENV)/dist $(VENV)/wheel
	$(VENV)/bin/python -m build --no-isolation --outdir $(VENV)/dist .
	$(VENV)/bin/python -m twine check --strict $(VENV)/dist/*
	$(VENV)/bin/python -m venv --without-pip $(VENV)/wheel
	$(VENV)/bin/python -c "$(PURELIB)" > "$$($(VENV)/wheel/bin/python -c "$(PURELIB)")/borrowed.pth"
	$(PIP) --python $(VENV)/wheel/bin/python install --no-deps $(VENV)/dist/*.whl
	bin="$$(realpath $(VENV))/wheel/bin" && cd "$$(mktemp -d)" && \
		"$$bin/python" -c "import wsloc; assert '/wheel/lib' in wsloc.__file__, wsloc.__file__" && \
		"$$bin/wsloc" localize --dataset demo --limit 8 --report --export coco && ls runs/*/report.html data/demo

peers: $(PEERS)/.installed
	$(PEERS)/bin/python -m pytest tests/peers

lowest: $(LOWEST)/.installed
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 -m "not slow"

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

$(PEERS)/.installed: pyproject.toml tests/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install $(INDEX) -e . -r tests/peers/requirements.txt
	touch $@

$(LOWEST)/.installed: pyproject.toml tests/constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install "pip>=25.1"
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install $(INDEX) -c tests/constraints-lowest.txt -e . --group dev
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache

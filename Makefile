# setup | demo | test | check | bench | firmware. Everything happens in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test check bench firmware clean

setup: $(VENV)/dev.stamp

# A stamp, not the interpreter: one that was interrupted has an interpreter and no pip.
$(VENV)/venv.stamp:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

# What the demo needs: the library and the plot, no torch.
$(VENV)/demo.stamp: pyproject.toml | $(VENV)/venv.stamp
	$(BIN)/pip install --quiet --editable '.[synthesis]'
	touch $@

# torch first, and as pip is set up to find it: on Linux prefer the CPU build (PyTorch's installation page says how to
# point pip at it); the default one brings gigabytes that are not used. The teacher's weights lie in resemblyzer's
# wheel; its other dependencies need compiling and are not used.
$(VENV)/dev.stamp: pyproject.toml | $(VENV)/venv.stamp
	$(BIN)/pip install --quiet 'torch>=2.13,<2.14'
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps resemblyzer
	touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/demo.py

test: $(VENV)/dev.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not real_time"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -q -m real_time

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict hearable

bench: $(VENV)/dev.stamp
	$(BIN)/hearable bench
	$(BIN)/python -m benchmarks.chunk_time

firmware:
	$(MAKE) -C firmware_bridge

clean:
	$(MAKE) -C firmware_bridge clean
	rm -rf $(VENV) demo runs build dist *.egg-info

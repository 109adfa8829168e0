# make demo    the main job on the embedded default: no ROS installation needed
# make test    every test
# make lint    format, lint, types, imports
# make docs    the pages of docs/ as a site in out/site, links checked
# make bench   speed and claims; writes docs/results (long)
PYTHON ?= python3
VENV ?= .venv
# On a machine with ROS 2 sourced: make EXTRAS=world,engines,compression,forecasting,explanation,fleet,test
EXTRAS ?= ros,world,engines,compression,forecasting,explanation,fleet,test
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint format docs bench clean

demo: $(INSTALLED)
	$(BIN)/ros_xai demo

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An environment of its own: the site needs nothing of the package.
docs: $(VENV)-docs/.installed
	$(VENV)-docs/bin/mkdocs build --quiet

$(VENV)-docs/.installed: constraints.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet -c constraints.txt mkdocs-material
	touch $@

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/ros_xai bench all

$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	# Types of TensorRT, without the libraries of NVIDIA that it would ask for.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt tensorrt-stubs
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-docs out build *.egg-info

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: dev test check fuzz bench demo docs fidelity clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q "setuptools>=77" "cython>=3.1" "numpy>=2.0"
	$(BIN)/pip install -q --no-build-isolation -e ".[dev]"
	touch $@

dev: $(VENV)/.ready  ## environment and build; builds again only what changed
	$(BIN)/python setup.py -q build_ext --inplace

test: dev
	$(BIN)/pytest

fidelity: dev  ## simulated against measured kernels, as far as ../shared has them
	$(BIN)/hwsim validate operators --measured ../shared/measured

clean:
	rm -rf build dist site .venv .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name '*.so' -path './hwsim/*' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

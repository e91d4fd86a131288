# PYTHON picks the interpreter, VENV the environment; PYTEST adds options to pytest (make test PYTEST="-n 2 -x").
PYTHON ?= python3
VENV ?= .venv
PYTEST ?=
# Measured data, golden outputs and real traces, if you have them: without the folder what needs them is left out.
HWSIM_SHARED ?= $(abspath ../shared)
export HWSIM_SHARED
BIN := $(VENV)/bin
STOP = || { echo "make dev: $(1)" >&2; exit 1; }

.PHONY: help shared needs dev test check fuzz bench demo docs fidelity seed-study clean

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

shared:
	@echo $(HWSIM_SHARED)

needs:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null $(call STOP,$(PYTHON) is missing or older than 3.11: install it or name another one$(comma) make dev PYTHON=python3.12)
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null $(call STOP,$(PYTHON) cannot make environments: on Debian and Ubuntu apt-get install python3-venv)
	@$(PYTHON) -c 'import sysconfig; open(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null $(call STOP,the C headers of $(PYTHON) are missing: on Debian and Ubuntu apt-get install python3-dev)
	@command -v $${CC:-gcc} >/dev/null || command -v cc >/dev/null $(call STOP,there is no C compiler: on Debian and Ubuntu apt-get install gcc libc6-dev)

$(VENV)/.ready: pyproject.toml | needs
	@echo "make: an environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@echo "make: tools to build with, downloaded"
	$(BIN)/pip install -qq --disable-pip-version-check "setuptools>=77" "cython>=3.1" "numpy>=2.0"
	@echo "make: hwsim and what it needs, downloaded; the cores compiled (a few minutes)"
	$(BIN)/pip install -qq --disable-pip-version-check --no-build-isolation -e ".[dev]"
	touch $@

dev: $(VENV)/.ready  ## environment and build; builds again only what changed
	@echo "make: cores compiled where they changed"
	$(BIN)/python setup.py -q build_ext --inplace

test: dev  ## all tests, random ones a seeded tenth
	$(BIN)/python -m pytest $(PYTEST)

check: dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fuzz: dev  ## random tests at their full counts
	HWSIM_FUZZ=1 $(BIN)/python -m pytest -m fuzz $(PYTEST)

bench: dev  ## goals and rates
	$(BIN)/python -m pytest bench -o addopts="-q --strict-markers --import-mode=importlib" $(PYTEST)

demo: dev  ## Llama-3.1-70B on eight H100s under an hour of production-like traffic: the screen and its file
	mkdir -p build
	@echo "make: an hour of requests replayed"
	$(BIN)/hwsim replay h100-sxm-x8 llama-3.1-70b azure-conversation --plan tp=8 --slo ttft=2s,tpot=50ms \
		--plot build/demo.png -o build/demo.h5

fidelity: dev  ## simulated against all that is measured and HWSIM_SHARED has: kernels, servers, chips of all classes, power
	mkdir -p build
	@echo "make: kernels"
	$(BIN)/hwsim validate operators
	@echo "make: a server, request by request; picture in build/serving.png"
	$(BIN)/hwsim validate serving --plot build/serving.png
	@echo "make: serving points of many servers"
	$(BIN)/hwsim validate points
	@echo "make: chips of every class and single requests"
	$(BIN)/hwsim validate classes
	@echo "make: power of servers; picture in build/power.png"
	$(BIN)/hwsim validate power --plot build/power.png

seed-study: dev  ## seven accelerators on Llama-2-70B: table, findings, figure and points in build/seed/
	$(BIN)/python bench/seed/study.py build/seed

docs: dev  ## the documentation as web pages, in site/
	$(BIN)/pip install -qq --disable-pip-version-check -e ".[docs]" --no-build-isolation
	$(BIN)/mkdocs build --strict

clean:  ## everything that was made
	rm -rf build dist site .venv .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
	find . -path './hwsim/*' \( -name '*.so' -o -name built.sha256 \) -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

comma := ,

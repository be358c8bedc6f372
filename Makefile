# Lepton. `make sim` shows the chip at work, `make test` runs every test; both set up what they need.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: sim test bench bitstream lint firmware lock mutants campaign netlist docs site clean help

sim: $(VENV)/.sim  ## run the shipped network on the simulated chip
	@$(BIN)/lepton sim $(ARGS)

# Bytecode is kept even where the environment says otherwise: hundreds of tests start a Python of their own.
test: $(VENV)/.test  ## run all tests
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)
	@$(BIN)/ruff check .
	@$(BIN)/python -m mypy

bench: $(VENV)/.bench  ## measure networks and layers on the chip (QUICK=1: the small ones)
	@$(BIN)/lepton bench $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

bitstream: $(VENV)/.test  ## build the ULX3S board with the chip tiny (an hour or more)
	@$(BIN)/lepton chip build --board ulx3s --config tiny $(ARGS)

lint: $(VENV)/.test  ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/python -m mypy

mutants: $(VENV)/.test  ## plant faults one by one; the tests must notice each (ARGS="word ...": in these files)
	@$(BIN)/python tools/mutants.py $(ARGS)

campaign: $(VENV)/.test  ## kill every process and every power supply on the way of results; continues where it stopped
	@$(BIN)/python -m tests.campaign $(ARGS)

netlist: $(VENV)/.test  ## run the shipped network on the gates that synthesis makes of tiny (minutes)
	@LEPTON_NETLIST=1 $(BIN)/python -m pytest -n 0 tests/hdl/flow/test_netlist.py $(ARGS)

docs: $(VENV)/.test  ## rewrite the generated reference pages
	@$(BIN)/python -m lepton.arch.docs
	@$(BIN)/python -m lepton.service.docs
	@$(BIN)/python -m lepton.frontends.docs

site: $(VENV)/.test  ## the documentation as web pages, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

firmware: $(VENV)/.test  ## compile the controller's firmware into the package
	@$(BIN)/python -m lepton.firmware.build

lock:  ## pin the newest versions that pyproject.toml admits
	@$(PYTHON) tools/lock.py

clean:  ## remove what was built, but not the environment
	rm -rf build

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Levels of set-up: `make sim` stays quick because it needs neither torch nor LiteRT, `make bench` adds the
# controller's compiler and the S3 server.
$(VENV)/.sim: requirements/sim.txt pyproject.toml tools/setup.sh
	@tools/setup.sh sim $(PYTHON) $(VENV)

$(VENV)/.bench: requirements/bench.txt $(VENV)/.sim
	@tools/setup.sh bench $(PYTHON) $(VENV)

$(VENV)/.test: requirements/test.txt $(VENV)/.sim
	@tools/setup.sh test $(PYTHON) $(VENV)

# Every target sets up what it needs. On a fresh machine with Python 3.11 or newer: make benchmark, make test.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN ?= runs/quick
# Processes of the tests: a number, 0 for none but pytest's own, or auto: one for each CPU, four at most.
WORKERS ?= auto
# requirements.lock: the tested versions; requirements-oldest.txt, requirements-newest.txt: both ends of the range.
CONSTRAINT ?= requirements.lock

.PHONY: setup check test drills benchmark paper lint regress report leaderboard docs notebooks clean

setup: $(READY)

# torch and torchvision must be resolved together: the default torchvision does not import with a CPU-only torch.
$(READY): pyproject.toml $(CONSTRAINT)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINT) --editable '.[dev,clevr,faces]'
	touch $@

# Under two minutes: every test that starts no process and does no training, and the loss traces.
check: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q --check -n 2

# The tests of a file stay in one process and in their order, so that fixtures of a module are made once.
test: setup
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# At different random points each time; the seed is printed.
drills: setup
	MMVAE_BENCH_DRILL_SEED=$${MMVAE_BENCH_DRILL_SEED:-$$(date +%s)} $(BIN)/python -m pytest -q -m "" tests/drills tests/fuzz tests/data/shards/test_accidents.py

benchmark: setup
	$(BIN)/mmvae-bench run --grid configs/quick.yaml --out runs/quick

paper: setup
	$(BIN)/mmvae-bench run --grid configs/paper.yaml --out runs/paper

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --diff . 
	$(BIN)/mypy
	$(BIN)/lint-imports

regress: setup
	$(BIN)/python -m pytest -q -m "" tests/regression

report: setup
	$(BIN)/mmvae-bench report $(RUN)

# The project's own leaderboard, a page of the documentation; its scores as files are made with the site.
leaderboard: setup
	$(BIN)/mmvae-bench leaderboard $(sort $(dir $(wildcard benchmarks/results/*/results.parquet))) --out build/leaderboard
	cp build/leaderboard/index.html docs/leaderboard/index.html

# The site in build/site, without a dead link.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: setup
	$(BIN)/python -m pytest -q tests/docs/test_notebooks.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

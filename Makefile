# tangka_match. `make` alone lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RUNS   ?= runs
FITTED  = $(wildcard checkpoints/make_search/*/best.ckpt)

.DEFAULT_GOAL := help
.PHONY: help setup demo search test fuzz lint docs bench gpu format wandb-sync clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the project with the pinned versions

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable . --group dev
	@touch $(STAMP)

demo: setup ## write the demo set, train +experiment=targeted on it for a few epochs, print the recalls
	$(BIN)/python -m tangka_match.train +experiment=targeted trainer.max_epochs=6 \
		training.early_stopping_patience=null 'tags=[make-demo]'

# The closed form is the model: gradient steps change it by less than 1 %, and a run has at least one.
search: setup ## open the search page; fits a model to the demo set first if there is none (CHECKPOINT=... DATA=...)
	@test -n "$(CHECKPOINT)" || test -n "$(FITTED)" || $(BIN)/python -m tangka_match.train +experiment=best trainer.max_steps=1 name=make_search
	$(BIN)/python -m tangka_match.search data=$(if $(DATA),precomp data.root=$(DATA),demo) open=true \
		checkpoint="$(or $(CHECKPOINT),$$(ls -t checkpoints/make_search/*/best.ckpt | head -1))"

test: setup ## run the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

fuzz: setup ## run the property tests with fresh examples, which make test draws alike every time
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/property --numprocesses=auto

lint: setup ## ruff, mypy and the import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup ## build the documentation site in site/, without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup ## measure speed and memory against the targets, about 15 minutes; results go to experiments/benchmarks
	PYTHONPATH=experiments $(BIN)/python -m benchmarks

gpu: setup ## check and measure everything that needs an NVIDIA GPU, in about five minutes
	$(BIN)/python -m pytest tests/integration/test_gpu.py
	PYTHONPATH=experiments $(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m tangka_match.train +experiment=targeted trainer=gpu trainer.max_epochs=3
	$(BIN)/python -m tangka_match.train model=sgraf_sgr loss=curriculum trainer=gpu trainer.max_epochs=3

format: setup ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wandb-sync: setup ## upload the offline W&B runs that are not there yet, after `wandb login` (RUNS=runs)
	$(BIN)/wandb sync $(RUNS)/*/wandb/offline-run-*

clean: ## remove what tools left behind; data, runs and checkpoints stay
	rm -rf .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache dist build

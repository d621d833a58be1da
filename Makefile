# `make demo` and `make test` set everything up by themselves: an environment in .venv from requirements.lock.
SHELL := /bin/bash
PYTHON ?= python3
# Relative, and commands as modules: the folder's name may hold anything, and it may be moved or copied.
BIN := .venv/bin
READY := .venv/.ready

# No tool of ours phones home.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
export GIT_PYTHON_REFRESH := quiet
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo compare experiments ablation study test test-graph test-all lint bench mlflow lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(READY) ## the environment alone

# Before the installation, which takes minutes; and whenever something is run.
.PHONY: folder
folder:
	@$(PYTHON) hicmae/folder_check.py

$(READY): requirements.lock pyproject.toml | folder
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {sys.version.split()[0]}: run make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: apt-get install -y python3-venv"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Installing the locked dependencies into .venv (several GB; minutes)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --progress-bar on -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pipelines.project.launchers
	@$(BIN)/python -m hicmae.system_check
	@touch $@

demo: $(READY) ## the whole graph on the embedded demo corpus
	@$(BIN)/python -m pipelines.project.datasets
	@$(BIN)/python -m dvc repro
	@$(BIN)/python -m pipelines.project.show

compare: export MLFLOW_TRACKING_URI := sqlite:///$(CURDIR)/mlflow.db
compare: $(READY) ## the demo without pre-training, on the voice alone and on the face alone: 3 DVC experiments
	@$(BIN)/python -m dvc repro faces audio pretrain
	@$(BIN)/python -m dvc exp run --queue --name no-pretraining --set-param finetune.init=scratch
	@$(BIN)/python -m dvc exp run --queue --name audio-only --set-param finetune.modality=audio
	@$(BIN)/python -m dvc exp run --queue --name video-only --set-param finetune.modality=video
	@OMP_NUM_THREADS=1 $(BIN)/python -m dvc exp run --run-all --jobs 2
	@$(MAKE) --no-print-directory experiments

experiments: $(READY) ## the table of DVC experiments: UAR and the like, and the parameters in which they differ
	@$(BIN)/python -m dvc exp show --md --no-pager --only-changed --drop 'Created|Executor|(data|models|results|stages|hicmae|hicmae_core)/|.*(war|f1)$$|(total|video|audio|contrastive)$$'

test: $(READY) ## the default tests: offline, minutes
	@$(BIN)/python -m pytest -m "not slow and not e2e and not gpu"

test-graph: $(READY) ## the real graph end to end, on a small corpus
	@$(BIN)/python -m pytest -m "e2e and not slow" tests/test_pipeline.py

test-all: $(READY) ## the default tests and the slow ones, the real pipeline end to end among them
	@$(BIN)/python -m pytest -m "not gpu"

lint: $(READY) ## format, style, types, import contracts
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

ablation: $(READY) ## what each part of the method brings: 54 DVC experiments, most of an hour
	@$(BIN)/python -m pipelines.project.ablation run
	@$(BIN)/python -m pipelines.project.ablation show

study: $(READY) ## what pre-training, the face and the voice bring on your dataset: 6 DVC experiments
	@$(BIN)/python -m pipelines.project.ablation run --what study
	@$(BIN)/python -m pipelines.project.ablation show --what study

bench: $(READY) ## preparing, reading, training and answering against the plain way of doing it, as ratios
	@$(BIN)/python -m benchmarks.prepare
	@$(BIN)/python -m benchmarks.loader
	@$(BIN)/python -m benchmarks.epoch
	@$(BIN)/python -m benchmarks.train_step
	@$(BIN)/python -m benchmarks.predict

mlflow: $(READY) ## the MLflow UI on http://127.0.0.1:5000
	@$(BIN)/python -m hicmae.tracking.store
	@$(BIN)/python -m mlflow server --workers 1 --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///mlflow.db

lock: $(READY) ## resolve requirements.lock anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/python -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--index-strategy unsafe-best-match --constraint constraints.txt --custom-compile-command "make lock" -o requirements.lock

clean: ## everything generated but the environment and the runs in MLflow
	rm -rf data models results reports checkpoints dvc_plots

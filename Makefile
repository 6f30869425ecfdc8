# make demo: train, test and evaluate on the embedded demo set.  make test: the tests.  Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_RUN := runs/demo

.PHONY: demo test test-quick test-all lint

$(VENV)/.installed: requirements.txt requirements-base.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements.txt
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed $(wildcard requirements-*.txt)
	$(BIN)/pip install -q -r requirements-dev.txt
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO_RUN)
	$(BIN)/python main.py --phase train --backbone resnet18 --num_epoch 10 --val_every 5 --init_lr 1e-3 --augment_rotate 180 --augment_mosaic 0.5 --vector_weight 1 --box_weight 3 --out $(DEMO_RUN)
	$(BIN)/python main.py --phase test --resume $(DEMO_RUN)/best.pth
	$(BIN)/python main.py --phase eval --resume $(DEMO_RUN)/best.pth

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto -m "not long"

test-quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Every target but gpu sets up what it needs; a fresh machine has python3 (3.11 to 3.13), make and gcc.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test slow lint format speed loader networks gpu gpu-packages learn weights reference calibrate informative coverage board example clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

.venv/.done: pyproject.toml constraints.txt
	@echo "Setting up .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 .venv/lib || true # as pip would, on all processors
	@touch $@

demo: .venv/.done ## Score baselines, and a network whose weights ship: tables and pictures
	@$(BIN)/python tests/demo.py demo

test: .venv/.done ## Run all quick tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

slow: .venv/.done ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: .venv/.done ## Check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.done ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

speed: .venv/.done ## Time scoring, segmenting, simulating and intervals, next to straightforward versions
	PYTHONPATH=tests $(BIN)/python tests/speed/measure.py
	$(BIN)/python tests/speed/simulate.py
	$(BIN)/python tests/speed/segmenter.py
	PYTHONPATH=tests/bench $(BIN)/python tests/speed/intervals.py

networks: .venv/.done ## Time Align-CR and GLF-CR next to their published form, on a CPU (10 minutes)
	PYTHONPATH=tests/models $(BIN)/python tests/speed/networks.py

BUDGET ?= 540
gpu: ## Ten minutes of one GPU: tests, step times, all methods trained (BUDGET=540 seconds)
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tests/gpu/run.py --budget $(BUDGET)

gpu-packages: .venv/.done ## Pack what a machine with only CUDA and PyTorch lacks, for `make gpu` there
	$(BIN)/python tests/gpu/carried.py

loader: .venv/.done ## Time the reading of training crops, from GeoTIFFs and from the cache
	$(BIN)/python tests/speed/loader.py

BASELINES := copy-cloudy mean-fill sar-regression
NARROW := $(addsuffix -narrow,align_cr_no_sar align_cr dsen2_cr_no_sar dsen2_cr sar_opt_cgan)
learn: .venv/.done ## Train five narrow networks on a CPU (an hour): results/sim-v1-small
	rm -f results/sim-v1-small/sim-v1-demo/*/status.json # of the ledgers that are replaced
	$(BIN)/planetcr-bench simulate build/learn/sim --size demo --train 240
	$(BIN)/planetcr-bench reproduce build/learn/sim --config tests/learn.toml --out build/learn/work --results results/sim-v1-small
	$(BIN)/planetcr-bench train dsen2_cr --data build/learn/sim --cache build/learn/work/cache --out build/learn/work/train/dsen2_cr_no_sar --val-scenes 24 --epochs 30 --batch 4 --crop 80 --set learning_rate=1e-3 --set decay=linear --set constant_epochs=15 --set ema=0.99 --model-arg width=24 --model-arg blocks=4 --model-arg use_sar=false
	$(BIN)/planetcr-bench predict dsen2_cr --data build/learn/sim --weights build/learn/work/train/dsen2_cr_no_sar/best.safetensors --out build/learn/work/preds/dsen2_cr_no_sar-narrow
	$(BIN)/planetcr-bench predict dsen2_cr --data build/learn/sim --weights build/learn/work/train/dsen2_cr_no_sar/best.safetensors --out build/learn/work/preds/dsen2_cr_no_sar-narrow-window160 --window official
	for run in narrow narrow-window160; do $(BIN)/planetcr-bench evaluate build/learn/work/preds/dsen2_cr_no_sar-$$run --data build/learn/sim --results results/sim-v1-small $(foreach segmenter,segmenter segmenter-2 segmenter-3,--segmenter build/learn/work/train/$(segmenter)/best.safetensors) || exit 1; done
	$(BIN)/planetcr-bench compare --protocol official --out build/learn/comparison/official $(foreach run,$(BASELINES) $(NARROW:=-window160),results/sim-v1-small/sim-v1-demo/$(run))
	$(BIN)/planetcr-bench compare --protocol full --out build/learn/comparison/full $(foreach run,$(BASELINES) $(NARROW),results/sim-v1-small/sim-v1-demo/$(run))

JOBS ?= 2 # networks at a time, one processor each
REPRODUCE = $(BIN)/planetcr-bench reproduce build/reference/sim --config results/reference.toml --out build/reference/runs --results build/reference/results --jobs $(JOBS)

build/reference/sim: .venv/.done
	$(BIN)/planetcr-bench simulate $@ --size full

weights: build/reference/sim ## Train the small networks that ship (two hours on two processors): planetcr_models/pretrained
	$(REPRODUCE) --until train
	@for run in build/reference/runs/train/*/; do \
	  case $$run in */dsen2_cr_no_sar/) name=sim-v1-small-no-sar;; *) name=sim-v1-small;; esac; \
	  $(BIN)/python -m planetcr_models.training.publish $$run --out models/planetcr_models/pretrained/$$name || exit 1; \
	done

reference: build/reference/sim ## Score the small networks that ship on all of sim-v1 (two hours): results/sim-v1
	$(REPRODUCE) --no-train
	$(BIN)/planetcr-bench compact build/reference/results/sim-v1/* --out results --verified

calibrate: .venv/.done ## Compare simulated scenes with real ones: make calibrate REAL=PLANET_CR
	$(BIN)/planetcr-bench simulate build/calibration --size demo
	$(BIN)/python tests/simulation/calibrate.py build/calibration $(if $(REAL),--real $(REAL)) --out build/calibration.png

informative: .venv/.done ## Measure what SAR adds under cloud, and that nothing leaks (10 minutes)
	$(BIN)/python tests/simulation/informative.py

coverage: .venv/.done ## Measure the coverage of the confidence intervals and the test's error rate (minutes)
	$(BIN)/python tests/simulation/coverage.py

board: .venv/.done ## Make all reports of results/ again, and the leaderboard: open build/site/index.html
	@for run in $(dir $(wildcard results/*/*/*/run.json results/*/*/run.json)); do $(BIN)/planetcr-bench report $$run || exit 1; done
	@$(BIN)/planetcr-bench compare $(foreach run,$(BASELINES) $(NARROW),results/sim-v1-small/sim-v1-demo/$(run))
	@$(BIN)/planetcr-bench leaderboard results --out build/site

example: .venv/.done ## Make submissions/example again: 108 simulated scenes (a minute)
	$(BIN)/planetcr-bench simulate build/example/sim --size demo --train 0
	$(BIN)/planetcr-bench predict mean-fill --data build/example/sim --out build/example/mean-fill
	$(BIN)/planetcr-bench submit pack build/example/mean-fill --card submissions/example/card.toml --data build/example/sim --results build/example/results --out submissions/example --replace
	$(BIN)/planetcr-bench submit check submissions/example --data build/example/sim

clean: ## Delete everything that the other targets made
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find benchmark models tests -name __pycache__ -type d -exec rm -rf {} +

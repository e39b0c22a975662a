# Every target but gpu sets up what it needs; a fresh machine has python3 (3.11 to 3.13), make and gcc.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test slow lint format speed loader networks gpu gpu-packages runs weights reference calibrate informative coverage board docs example wheels clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

.venv/.done: pyproject.toml constraints.txt
	@echo "Setting up .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 .venv/lib || true # as pip would, on all processors
	@touch $@

demo: .venv/.done ## Score baselines, and a network whose weights ship: tables and pictures
	@$(BIN)/planetcr-bench demo demo --size demo

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

speed: .venv/.done ## Time scoring, segmenting, simulating, curating and intervals, next to straightforward versions
	PYTHONPATH=tests $(BIN)/python tests/speed/measure.py
	$(BIN)/python tests/speed/simulate.py
	$(BIN)/python tests/speed/segmenter.py
	PYTHONPATH=tests/bench $(BIN)/python tests/speed/intervals.py
	$(BIN)/python tests/speed/curate.py

networks: .venv/.done ## Time Align-CR and GLF-CR next to their published form, on a CPU (10 minutes)
	PYTHONPATH=tests/models $(BIN)/python tests/speed/networks.py

BUDGET ?= 540
gpu: ## Ten minutes of one GPU: tests, step times, all methods trained (BUDGET=540 seconds)
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tests/gpu/run.py --budget $(BUDGET)

gpu-packages: .venv/.done ## Pack what a machine with only CUDA and PyTorch lacks, for `make gpu` there
	$(BIN)/python tests/gpu/carried.py

loader: .venv/.done ## Time the reading of training crops, from GeoTIFFs and from the cache
	$(BIN)/python tests/speed/loader.py

runs: .venv/.done ## Make the two complete ledgers of the tests again (five minutes): tests/runs
	$(BIN)/planetcr-bench simulate build/runs/sim --size demo --train 0
	$(BIN)/planetcr-bench reproduce build/runs/sim --config tests/runs.toml --no-train --out build/runs/work --results build/runs/results
	@for run in mean-fill align_cr-small; do \
	  mkdir -p tests/runs/sim-v1-demo/$$run; \
	  cp build/runs/results/sim-v1-demo/$$run/ledger.parquet build/runs/results/sim-v1-demo/$$run/run.json tests/runs/sim-v1-demo/$$run || exit 1; \
	done

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
	$(BIN)/python tests/simulation/interval_coverage.py

REFERENCE := copy-cloudy mean-fill sar-regression $(addsuffix -small,mcgan spa_gan sar_opt_cgan dsen2_cr_no_sar dsen2_cr glf_cr align_cr_no_sar align_cr_no_align align_cr)
board: .venv/.done ## Make all reports of results/ again, and the leaderboard: open build/site/index.html
	@for run in $(dir $(wildcard results/*/*/*/run.json results/*/*/run.json)); do $(BIN)/planetcr-bench report $$run || exit 1; done
	@$(BIN)/planetcr-bench compare $(wildcard $(REFERENCE:%=results/sim-v1/%)) --protocol full
	@$(BIN)/planetcr-bench leaderboard results --out build/site

.venv/.docs: .venv/.done
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

docs: .venv/.docs ## Build the site of the documents, with the board if there is one: open build/docs/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/site/mkdocs.yml

example: .venv/.done ## Make submissions/example again: ten simulated scenes (seconds)
	$(BIN)/planetcr-bench simulate build/example/sim --size tiny --train 0
	$(BIN)/planetcr-bench predict mean-fill --data build/example/sim --out build/example/mean-fill
	$(BIN)/planetcr-bench submit pack build/example/mean-fill --card submissions/example/card.toml --data build/example/sim --results build/example/results --out submissions/example --replace
	$(BIN)/planetcr-bench submit check submissions/example --data build/example/sim

wheels: ## Build wheel and sdist, and try the wheel with every supported Python at hand: dist/
	@PYTHON=$(PYTHON) tests/wheels.sh

clean: ## Delete everything that the other targets made
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find benchmark models tests -name __pycache__ -type d -exec rm -rf {} +

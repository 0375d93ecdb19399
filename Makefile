# Everything a newcomer types. `make run` needs Python 3.11 to 3.13 and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
CORES ?= all
OUT ?= runs/real
FOLDER ?= .
PROFILE ?=
CANCEL ?=
BIN := .venv/bin
KILLS ?= 36
READERS ?= $(BIN)/python
PAGE ?=
SCRATCH ?= runs/benchmark
PINS := $(shell cat requirements.txt | cksum | cut -d ' ' -f 1)
DEV_PINS := $(shell cat requirements-dev.txt | cksum | cut -d ' ' -f 1)

.PHONY: docs docs-pictures lungs-unet study-gmcae benchmark-gmcae probe benchmark-torch benchmark-memory \
    benchmark-resources benchmark-scale benchmark-surprise chaos help env env-dev run run-real resume test \
    test-slow test-cluster gauntlet benchmark format clean

help: ## Say what there is to type
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

env: ## Make .venv (PYTHON=python3.12 chooses), or repair one that was moved
	@if [ -x $(BIN)/python ] && [ "$(origin PYTHON)" != file ] && \
	    [ "$$($(BIN)/python -c 'import sys; print(sys.version_info[:2])')" != \
	      "$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])')" ]; then \
	    echo "removing .venv: it was made with another Python than $(PYTHON)"; rm -rf .venv; fi
	@if ! [ -x $(BIN)/python ] || [ "$$(cat .venv/place 2>/dev/null)" != "$(CURDIR)" ]; then \
	    $(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	      sys.exit(None if (3, 11) <= v <= (3, 13) else \
	      f"error: Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}: make env PYTHON=python3.11")'; \
	    $(PYTHON) -m venv .venv; \
	    find $(BIN) -maxdepth 1 -type f -print0 | xargs -0 grep -lIE '^#!.*/bin/python' | \
	      xargs -r sed -i.old -E '1s|^#!.*/bin/python[0-9.]*|#!$(CURDIR)/$(BIN)/python|'; \
	    rm -f $(BIN)/*.old; printf %s "$(CURDIR)" > .venv/place; fi
	@if ! [ -f .venv/pins-$(PINS) ]; then \
	    echo "installing the pinned packages into .venv (about two minutes)"; \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; \
	    echo ../../../.. > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lungfish.pth"; \
	    rm -f .venv/pins-*; touch .venv/pins-$(PINS); fi

env-dev: env ## The same, with what development and tests need
	@if ! [ -f .venv/dev-$(DEV_PINS) ]; then \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt; \
	    rm -f .venv/dev-*; touch .venv/dev-$(DEV_PINS); fi

run: env ## The whole main job on the embedded cohort of digital patients
	@$(BIN)/snakemake --cores $(CORES)

run-real: env ## The main job on your CT: DATA=folder [LABELS=labels.csv] [OUT=runs/real]
	@if [ -z "$(DATA)" ]; then \
	    echo "error: say where the CT is: make run-real DATA=folder [LABELS=labels.csv] [OUT=runs/real]"; \
	    exit 2; fi
	@$(BIN)/python scripts/samples.py --data "$(DATA)" $(if $(LABELS),--labels "$(LABELS)") \
	    --output "$(OUT)/samples.tsv"
	@mkdir -p "$(OUT)/config" && { [ -e "$(OUT)/config/config.yaml" ] || \
	    cp config/real.yaml "$(OUT)/config/config.yaml"; }
	@$(BIN)/snakemake --cores $(CORES) --directory "$(OUT)"

resume: env ## Take up a run that died, on a cluster too: [PROFILE=slurm] [CANCEL=1] [FOLDER=runs/real]
	@$(BIN)/python scripts/resume.py --folder "$(FOLDER)" \
	    $(if $(PROFILE),--profile "$(PROFILE)") $(if $(CANCEL),--cancel)

test: env-dev ## Every fast test, style and types included
	@$(BIN)/python -m pytest

test-slow: env-dev ## The rest
	@$(BIN)/python -m pytest -m slow

test-cluster: env-dev ## The workflow through a real SLURM, which it installs (as root, on Debian), starts and stops
	@tests/cluster/install-slurm
	@$(BIN)/python -m pytest -m cluster tests/cluster

chaos: env-dev ## KILLS=36 times kill -9, in every stage of the tiny cohort; the results must be equal (an hour or two)
	@$(BIN)/python -m tests.chaos --kills $(KILLS) --scratch "$(SCRATCH)/chaos-$(KILLS)"

gauntlet: env-dev ## Score DICOM readers on the tests' situations: READERS=their/bin/python [PAGE=docs/gauntlet.md]
	@$(BIN)/python -m benchmarks.gauntlet --python "$(READERS)" $(if $(PAGE),--output "$(PAGE)")

benchmark: env ## What reading, resampling and lungs cost, beside SimpleITK and kdsb17's steps (20 minutes, 2 GB)
	@$(BIN)/python -m benchmarks.reading --scratch "$(SCRATCH)" --output "$(SCRATCH)/reading.md"
	@$(BIN)/python -m benchmarks.dicom_to_nifti --scratch "$(SCRATCH)" --output "$(SCRATCH)/dicom_to_nifti.md"
	@$(BIN)/python -m benchmarks.lungs --scratch "$(SCRATCH)" --output "$(SCRATCH)/lungs.md"
	@if compgen -G "runs/study-gmcae/results/patches/*.h5" > /dev/null; then $(MAKE) benchmark-gmcae; \
	    else echo "skipped: benchmark-gmcae takes the patches of make study-gmcae, which were not made"; fi

study-gmcae: env ## Does the autoencoder learn? DATA=folder with a subfolder a patient (75 minutes on 2 cores)
	@if [ -z "$(DATA)" ]; then \
	    echo "error: say where the CT is: make study-gmcae DATA=folder [PAGE=docs/gmcae-study.md]"; exit 2; fi
	@$(BIN)/python -m benchmarks.gmcae_study --data "$(DATA)" --scratch runs/study-gmcae \
	    $(if $(PAGE),--output "$(PAGE)")

benchmark-gmcae: env ## Does its loss stay finite, what do batches cost? After study-gmcae, whose patches it takes (40 minutes)
	@$(BIN)/python -m benchmarks.gmcae_stability --hurt 10000 \
	    --patches runs/study-gmcae/results/patches/*.h5 --output runs/study-gmcae/stability.md
	@$(BIN)/python -m benchmarks.patch_store --scratch "$(SCRATCH)/patch_store" \
	    --output "$(SCRATCH)/patch_store.md"

probe: env ## Does the autoencoder's code know what was planted? (15 minutes on 2 cores)
	@$(BIN)/python -m benchmarks.probe --scratch "$(SCRATCH)/probe" --output "$(SCRATCH)/probe.md"

benchmark-torch: env ## A training step beside the same network in PyTorch, which goes into runs/torch (some GB)
	@if ! [ -x runs/torch/bin/python ]; then \
	    $(PYTHON) -m venv runs/torch && \
	    runs/torch/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy; fi
	@$(BIN)/python -m benchmarks.gmcae_torch --scratch "$(SCRATCH)/torch" --output "$(SCRATCH)/torch.md"

benchmark-memory: env ## Two scans of 512 x 512 x 600 through every stage: the peak of each (40 minutes, 3 GB of disk)
	@$(BIN)/python -m benchmarks.memory --scratch "$(SCRATCH)/memory" --output "$(SCRATCH)/memory.md"

benchmark-resources: env ## What each stage takes by the size of the scan, beside what rules ask for (30 minutes, 2 GB)
	@$(BIN)/python -m benchmarks.resources --scratch "$(SCRATCH)/resources" \
	    --output "$(SCRATCH)/resources.md"

benchmark-surprise: env ## Does the surprise map point at planted nodules? (30 minutes on 2 cores)
	@$(BIN)/python -m benchmarks.surprise --scratch "$(SCRATCH)/surprise" \
	    --output "$(SCRATCH)/surprise.md"

benchmark-scale: env ## 200 digital patients through everything: where core time and disk go (45 minutes on 2 cores)
	@$(BIN)/python -m benchmarks.scale --scratch "$(SCRATCH)/scale" --output "$(SCRATCH)/scale.md" \
	    $(if $(PAGE),--page "$(PAGE)")

docs-pictures: env ## Draw the pictures of docs/how-to/read-lung-pictures.md again, from digital patients
	@$(BIN)/python -m tests.lung_pictures --output docs/how-to/lung-pictures

lungs-unet: env ## Train the lungs' network again, on digital patients alone: some 20 minutes on 2 cores
	@$(BIN)/python scripts/train_lungs_unet.py --cases runs/lungs-unet --output resources/lungs-unet.npz

docs: env ## Rewrite the tables that are made from schemas
	@$(BIN)/python scripts/reference.py --schema workflow/schemas/config.schema.yaml --page config/README.md

format: env-dev ## Lay out Python and Snakemake files as the tests want them
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/snakefmt Snakefile workflow

clean: ## Remove results and logs; .venv stays
	@rm -rf results logs .snakemake

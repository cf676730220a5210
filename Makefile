# The graph: every recipe once. `make help` lists what can be made; facts about studies are in */studies.mk.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

SCALE ?= paper
DATA_DIR ?= data
PYTHON ?= python3
REPEATS ?= $(if $(filter quick,$(SCALE)),1,10)
export SCALE DATA_DIR

FOLDERS := $(patsubst %/studies.mk,%,$(wildcard */studies.mk))
include $(FOLDERS:%=%/studies.mk)
STUDIES := $(foreach folder,$(FOLDERS),$($(folder)_STUDIES))

# --- what users may set, checked before anything runs ----------------------------------------------------------------
whole = $(shell [[ "$($1)" =~ ^[1-9][0-9]*$$ ]] && echo yes)
$(if $(and $(filter quick paper,$(SCALE)),$(filter 1,$(words $(SCALE)))),,$(error Expected SCALE=quick or SCALE=paper, got SCALE=$(SCALE)))
$(foreach name,REPEATS DIRECTIONS THREADS MEMORY,$(if $($(name)),$(if $(call whole,$(name)),,\
  $(error Expected $(name) to be a whole number above 0, got $(name)=$($(name))))))
$(if $(QUALITY),$(if $(filter draft final,$(QUALITY)),,$(error Expected QUALITY=draft or QUALITY=final, got QUALITY=$(QUALITY))))
ifneq ($(DATA_DIR),data)
$(if $(wildcard $(DATA_DIR)/.),,$(error Expected DATA_DIR to name a folder, got DATA_DIR=$(DATA_DIR), which is not there: make it or leave DATA_DIR away))
endif
unexport REPEATS
export DIRECTIONS THREADS MEMORY DEVICE QUALITY

PY := .venv/bin/python
READY := .venv/.ready
R := results/$(SCALE)
PACKAGE := $(wildcard minima_volume/*.py)
repeats := $(shell seq 0 $$(($(REPEATS) - 1)))

# --- the environment -------------------------------------------------------------------------------------------------
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Expected python 3.11 or newer, got {sys.version.split()[0]}: set PYTHON=path/to/python3.11")'
	@echo "Setting up .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(PY) -m uv pip install --quiet --python $(PY) -c constraints.txt -e '.[dev]'
	@touch $@

# --- data: fetched once, whatever -j ---------------------------------------------------------------------------------
file.mnist := $(DATA_DIR)/MNIST/raw/train-images-idx3-ubyte.gz
file.cifar10 := $(DATA_DIR)/cifar-10-batches-py/data_batch_1
$(file.mnist) $(file.cifar10): | $(READY)
	@mkdir -p $(DATA_DIR)
	@$(PY) -m minima_volume.datasets $(if $(filter $@,$(file.mnist)),mnist,cifar10)

# --- studies: train -> rays -> cutoffs -> volumes, repeat by repeat, then joined --------------------------------------
# $(call stage,study,folder,script,output,inputs): the output of every repeat from the script and its inputs. Studies
# in TOGETHER send all repeats through one process, the others one repeat at a time.
define stage
$(if $(filter $1,$($2_TOGETHER)),
$(foreach i,$(repeats),$(R)/$1/repeat_$i/$4) &: $2/$3 $2/config.py $(foreach i,$(repeats),$(addprefix $(R)/$1/repeat_$i/,$5)) $(R)/$1/.directions | $(READY) $(file.$(data.$1))
	@$(PY) $2/$3 $1 --scale $(SCALE) --repeats $(repeats)
,
$(repeats:%=$(R)/$1/repeat_%/$4): $(R)/$1/repeat_%/$4: $2/$3 $2/config.py $(addprefix $(R)/$1/repeat_%/,$5) $(R)/$1/.directions | $(READY) $(file.$(data.$1))
	@$(PY) $2/$3 $1 --scale $(SCALE) --repeats $$*
)
endef

define study
$(call stage,$1,$2,train_models.py,minima.json,)
$(call stage,$1,$2,random_perturbs.py,rays.json,minima.json)
$(call stage,$1,$2,volume_cutoff.py,cutoffs.csv,minima.json)
$(call stage,$1,$2,volume_estimation.py,volumes.csv,rays.json cutoffs.csv)

$(R)/$1/volumes.csv: $(foreach i,$(repeats),$(R)/$1/repeat_$i/volumes.csv)
	@$(PY) $2/volume_estimation.py $1 --scale $(SCALE) --repeats $(repeats) --gather

# A new number of directions wakes the stages; the same number leaves the file, and so its time, alone.
$(R)/$1/.directions: FORCE
	@mkdir -p $$(@D); echo '$(DIRECTIONS)' | cmp -s - $$@ || echo '$(DIRECTIONS)' > $$@

figs/$(SCALE)/$1.pdf: figs/fixed_landscape.py figs/style.py figs/tables.py figs/marks.py $(R)/$1/volumes.csv
	@$(PY) figs/fixed_landscape.py $1 --scale $(SCALE)

.PHONY: $1
$1: figs/$(SCALE)/$1.pdf
	@echo "$1 is up to date: $(R)/$1/volumes.csv, figs/$(SCALE)/$1.png"
endef
$(foreach folder,$(FOLDERS),$(foreach name,$($(folder)_STUDIES),$(eval $(call study,$(name),$(folder)))))

$(foreach folder,$(FOLDERS),$(eval $(folder): $($(folder)_STUDIES)))
OTHERS := $(filter-out $(FOLDERS) figs videos,$(patsubst %/,%,$(wildcard */)))
$(OTHERS):
	@echo "'$@' is a folder, not a target: 'make help' lists the targets." >&2; exit 2

.PHONY: FORCE $(OTHERS) help quickstart all figs toy videos compare bench test test-slow check clean $(FOLDERS)
quickstart: ## poison experiment on bundled 8x8 digits, no download, about a minute
	@$(MAKE) digits_poison SCALE=quick REPEATS=2
	@echo "Next: 'make mnist_poison SCALE=quick' (MNIST, minutes), 'make mnist_poison' (the paper's parameters), 'make help'"

all: $(STUDIES) figs ## every study and every figure

figs: | $(READY) ## every figure whose results exist; says which it skipped
	@$(PY) figs/draw.py $(STUDIES) --scale $(SCALE)

toy: | $(READY) ## toy diagrams from closed forms
	@for script in $(filter-out toy_models/closed_forms.py toy_models/diagram.py,$(wildcard toy_models/*.py)); do $(PY) $$script; done

videos: $(if $(filter quick,$(SCALE)),$(R)/digits_data/volumes.csv) | $(READY) ## landscape videos and exports whose minima exist; QUALITY=draft or final
	@$(PY) videos/make_all.py --scale $(SCALE)

compare: | $(READY) ## results/paper/comparison.csv, the published numbers beside ours
	@$(PY) figs/compare.py

bench: | $(READY) ## speed against the published loop: benchmarks/README.md and results.json, about ten minutes
	@$(PY) benchmarks/bench.py

test: | $(READY) ## tests with oracles, at most three minutes
	@$(PY) -m pytest -m "not slow"

test-slow: | $(READY) ## the tests that take minutes each
	@$(PY) -m pytest -m slow

check: | $(READY) ## format, lint, types, then the tests
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(MAKE) test

clean: ## remove quick results and figures; paper-scale results stay
	rm -rf results/quick figs/quick videos/quick toy_models/out

help: ## this list
	@echo "make TARGET [SCALE=quick|paper] [REPEATS=n] [DIRECTIONS=n] [DEVICE=cpu|cuda|mps] [DATA_DIR=path] [THREADS=n] [MEMORY=MiB]"
	@echo
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  \1|/' | column -t -s '|'
	@echo
	@printf '%s\n' $(foreach name,$(STUDIES),'  $(name)|$(about.$(name))') | column -t -s '|'

.DEFAULT:
	@echo "No target or file '$@': 'make help' lists the targets; studies are $(STUDIES)." >&2; exit 2

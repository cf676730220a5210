# All rules, each once. `make help` lists the targets; the studies are named in */studies.mk.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# Values are plain text. A $ would be expanded by make, and what comes out of that is not what was given.
$(foreach name,SCALE DATA_DIR REPEATS DIRECTIONS LEVELS THREADS MEMORY DEVICE QUALITY STYLE TORCH CLUSTER JOBS SLURM,$(if $(findstring $$,$(value $(name))),\
  $(error Expected $(name) without a dollar sign, got $(name)=$(value $(name)))))
SCALE ?= paper
DATA_DIR ?= data
PYTHON ?= python3
override SCALE := $(strip $(SCALE))
REPEATS ?= $(if $(filter quick,$(SCALE)),1,10)
# On a full disk Python 3.11 leaves a truncated .pyc behind, which fails on every later run. So bytecode is written only when
# .venv is set up.
export PYTHONDONTWRITEBYTECODE := 1
# The package of this folder runs, whatever folder .venv was made for.
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
# A notebook's backend, which a `!make` inherits, is not installed here.
export MPLBACKEND := agg
export SCALE DATA_DIR

ifneq ($(realpath $(firstword $(MAKEFILE_LIST))),$(or $(realpath Makefile),none))
$(error Expected make to run in the folder of its Makefile, got $(CURDIR): run make -C $(dir $(firstword $(MAKEFILE_LIST))))
endif
$(if $(findstring t,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),$(error Expected targets to be made, got make -t, which would only \
  mark them as new: leave -t out))
FOLDERS := $(patsubst %/studies.mk,%,$(wildcard */studies.mk))
include $(FOLDERS:%=%/studies.mk)
STUDIES := $(foreach folder,$(FOLDERS),$($(folder)_STUDIES))

# --- settings, checked before anything runs, by make's own functions: no value may reach a shell -----------------------
DIGITS := 0 1 2 3 4 5 6 7 8 9
# $(call without,text,words): the text without these words in it; $(call length,digits): how many digits.
without = $(if $2,$(call without,$(subst $(firstword $2),,$1),$(wordlist 2,99,$2)),$1)
spaced = $(if $2,$(call spaced,$(subst $(firstword $2),$(firstword $2) ,$1),$(wordlist 2,99,$2)),$1)
length = $(words $(call spaced,$1,$(DIGITS)))
whole = $(if $(or $(call without,$1,$(DIGITS)),$(filter 0%,$1)),,yes)
$(if $(and $(filter quick paper,$(SCALE)),$(filter 1,$(words $(SCALE)))),,$(error Expected SCALE=quick or SCALE=paper, got SCALE=$(SCALE)))
$(foreach name,REPEATS DIRECTIONS LEVELS THREADS MEMORY JOBS,$(if $($(name)),$(if $(call whole,$($(name))),,\
  $(error Expected $(name) to be a whole number above 0, got $(name)=$($(name))))))
$(if $(REPEATS),,$(error Expected REPEATS to be a whole number above 0, got nothing: give a number of repeats, or omit REPEATS))
$(if $(filter 1 2 3,$(call length,$(REPEATS))),,$(error Expected REPEATS to be below 1000, got REPEATS=$(REPEATS)))
$(foreach name,DIRECTIONS LEVELS THREADS MEMORY JOBS,$(if $(filter 0 1 2 3 4 5 6 7,$(call length,$($(name)))),,\
  $(error Expected $(name) to be below 10000000, got $(name)=$($(name)))))
$(if $(QUALITY),$(if $(filter draft final,$(QUALITY)),,$(error Expected QUALITY=draft or QUALITY=final, got QUALITY=$(QUALITY))))
$(if $(CLUSTER),$(if $(and $(filter 1,$(words $(CLUSTER))),$(filter local slurm tcp://%,$(CLUSTER))),,$(error Expected CLUSTER to be \
  local, slurm or an address such as tcp://head:8786, got CLUSTER=$(CLUSTER))))
SPACE := $(subst ,, )
escaped = $(subst ?,\?,$(subst *,\*,$(subst [,\[,$(subst $(SPACE),\$(SPACE),$1))))
$(if $(filter data,$(DATA_DIR)),,$(if $(wildcard $(call escaped,$(DATA_DIR))/.),,$(error Expected DATA_DIR to \
  name a folder, got DATA_DIR=$(DATA_DIR), which does not exist: create the folder or omit DATA_DIR)))
# Stages import config.py from their own folder.
unexport REPEATS PYTHONSAFEPATH
$(if $(STYLE),$(if $(and $(filter paper talk,$(STYLE)),$(filter 1,$(words $(STYLE)))),,$(error Expected STYLE=paper or STYLE=talk, got STYLE=$(STYLE))))
export DIRECTIONS LEVELS THREADS MEMORY DEVICE QUALITY STYLE CLUSTER JOBS SLURM
# $(call quoted,text): the text as one word of a shell.
quoted = '$(subst ','\'',$1)'

DRY := $(strip $(foreach flag,n q,$(findstring $(flag),$(filter-out --%,$(firstword -$(MAKEFLAGS))))))
PY := .venv/bin/python
READY := .venv/.ready
R := results/$(SCALE)
F := figs/$(SCALE)$(if $(filter talk,$(STYLE)),/talk)
LOOK := $(wildcard minima_volume/drawing/*.py minima_volume/analysis/*.py)
repeats := $(shell seq 0 $$(($(REPEATS) - 1)))

# --- the environment -------------------------------------------------------------------------------------------------
# .ready holds the folder that the environment was made for, and the files that it was made from.
$(READY): FORCE
	@{ pwd -P; cat pyproject.toml constraints.txt; } 2> /dev/null | cmp -s - $@ || $(PYTHON) -m minima_volume.pipeline.environment $(call quoted,$(PYTHON))

# --- a cluster, started once around everything that was asked for: stages inside get its address ------------------------
COMPUTES := all quickstart local_volumes sharpness report $(FOLDERS) $(STUDIES) $(STUDIES:%=%.local) $(STUDIES:%=%.sharpness) results/%
ifneq ($(and $(filter local slurm,$(CLUSTER)),$(filter $(COMPUTES),$(MAKECMDGOALS))),)
.PHONY: $(MAKECMDGOALS) FORCE
$(MAKECMDGOALS) &: FORCE | $(READY)
	@$(if $(DRY),,$(PY) -m minima_volume.pipeline.cluster) $(MAKE) $(MAKECMDGOALS) REPEATS=$(REPEATS) $(if $(DRY),CLUSTER=)
else

# --- studies: train -> rays -> cutoffs -> volumes, repeat by repeat, then joined --------------------------------------
# All stages of a study run in a make of their own, which keeps the study locked: LOCKED names that study. Before, what was
# asked for is compared by content and written to .asked, whose time the stages depend on. A dry run locks nothing.
locked = $(if $(DRY),,$(PY) -m minima_volume.pipeline.chain $1 $(SCALE) $2)

define delegate
.PHONY: $1
$1 $(F)/$1.pdf $(F)/$1.png: FORCE | $(READY)
	@$$(call locked,$1,$2) $$(MAKE) LOCKED=$1 REPEATS=$(REPEATS) $$@
$(R)/$1/%: FORCE | $(READY)
	@$$(call locked,$1,$2) $$(MAKE) LOCKED=$1 REPEATS=$(REPEATS) $$@
endef

# $(call stage,study,folder,script,output,inputs): how a script makes its output for every repeat. One process runs all
# repeats of the studies in TOGETHER, and of all studies on a cluster; else there is one process per repeat.
define stage
$(if $(or $(CLUSTER),$(filter $1,$($2_TOGETHER))),
$(foreach i,$(repeats),$(R)/$1/repeat_$i/$4) &: $2/$3 $(foreach i,$(repeats),$(addprefix $(R)/$1/repeat_$i/,$5)) $(R)/$1/.asked | $(READY)
	@$(PY) $2/$3 $1 --scale $(SCALE) --repeats $(repeats)
,
$(repeats:%=$(R)/$1/repeat_%/$4): $(R)/$1/repeat_%/$4: $2/$3 $(addprefix $(R)/$1/repeat_%/,$5) $(R)/$1/.asked | $(READY)
	@$(PY) $2/$3 $1 --scale $(SCALE) --repeats $$*
)
# Scripts write whole files or none, so a file that is there when a stage fails is a good one.
.PRECIOUS: $(foreach i,$(repeats),$(R)/$1/repeat_$i/$4)
endef

define study
$(call stage,$1,$2,train_models.py,minima.json,)
$(call stage,$1,$2,random_perturbs.py,rays.json,minima.json)
$(call stage,$1,$2,volume_cutoff.py,cutoffs.csv,minima.json)
$(call stage,$1,$2,volume_estimation.py,volumes.csv,rays.json cutoffs.csv)

$(R)/$1/volumes.csv: $(foreach i,$(repeats),$(R)/$1/repeat_$i/volumes.csv)
	@$(PY) $2/volume_estimation.py $1 --scale $(SCALE) --repeats $(repeats) --gather
.PRECIOUS: $(R)/$1/volumes.csv $(F)/$1.pdf $(F)/$1.png

# Another make may have ended since this one was told to wait, so the rule has no recipe: the file is there, or everything runs.
$(R)/$1/.asked: ;

$(F)/$1.pdf $(F)/$1.png &: figs/fixed_landscape.py $(LOOK) $(R)/$1/volumes.csv
	@$(PY) -m figs.fixed_landscape $1 --scale $(SCALE)

.PHONY: $1
$1: $(F)/$1.pdf $(F)/$1.png
	@! [ -e $(R)/$1/failures.txt ] || { cat $(R)/$1/failures.txt >&2; echo "error: $1 is complete except for the minima above." >&2; exit 1; }
	@echo "$1 is up to date: $(R)/$1/volumes.csv, $(F)/$1.png" 2> /dev/null || true
endef

# ln γ of the minima that are stored, repeat by repeat; needs no rays.
define local
.PHONY: $1.local $1.sharpness
$1.local: | $(READY)
	@$(PY) $2/local_volumes.py $1 --scale $(SCALE) --repeats $(patsubst $(R)/$1/repeat_%/minima.json,%,$(wildcard $(R)/$1/repeat_*/minima.json))

# Curvature and other sharpness measures of the minima that are stored.
$1.sharpness: | $(READY)
	@$(PY) -m minima_volume.pipeline.sharpness_table $1 --scale $(SCALE) --repeats $(patsubst $(R)/$1/repeat_%/minima.json,%,$(wildcard $(R)/$1/repeat_*/minima.json))
endef
$(foreach folder,$(FOLDERS),$(foreach name,$($(folder)_STUDIES),$(eval $(call local,$(name),$(folder)))))
$(foreach folder,$(FOLDERS),$(foreach name,$($(folder)_STUDIES),$(eval $(call $(if $(filter $(name),$(LOCKED)),study,delegate),$(name),$(folder)))))

$(foreach folder,$(FOLDERS),$(eval $(folder): $($(folder)_STUDIES)))
OTHERS := $(filter-out $(FOLDERS) figs videos docs,$(patsubst %/,%,$(wildcard */)))
$(OTHERS):
	@printf "'%s' is a folder, not a target: run 'make help' for a list of the targets.\n" $(call quoted,$@) >&2; exit 2

TARGETS := help quickstart all figs toy slices profiles videos report compare readme new_experiment docs validate trust local_volumes sharpness bench bench-large test test-slow test-torch torture hashes check clean
.PHONY: FORCE $(OTHERS) $(TARGETS) $(FOLDERS)
quickstart: ## poisoned labels on bundled 8x8 digits; needs no download, takes about a minute
	@$(MAKE) digits_poison SCALE=quick REPEATS=2
	@echo "Next: 'make mnist_poison SCALE=quick' (MNIST, minutes), 'make mnist_poison' (the paper's settings), 'make help'" 2> /dev/null || true

all: $(STUDIES) figs ## all studies and all figures

figs: | $(READY) ## all figures whose results exist; prints which are skipped; STYLE=talk for slides
	@$(PY) -m figs.draw $(STUDIES) --scale $(SCALE)

TOYS := $(patsubst toy_models/%.py,%,$(filter-out toy_models/__init__.py toy_models/closed_forms.py toy_models/diagram.py,$(wildcard toy_models/*.py)))
toy_models/out/%.pdf toy_models/out/%.png: toy_models/%.py toy_models/closed_forms.py toy_models/diagram.py minima_volume/drawing/style.py | $(READY)
	@$(PY) -m toy_models.$(basename $(<F))

toy: $(foreach name,$(TOYS),toy_models/out/$(name).pdf toy_models/out/$(name).png) ## toy diagrams from closed formulas
	@echo "$(words $(TOYS)) diagrams are up to date in toy_models/out" 2> /dev/null || true

# Figures only draw, so the planes of loss that they show are measured here.
SLICED := modulo_data modulo_grokking
$(SLICED:%=$(R)/%/slices.csv): $(R)/%/slices.csv: minima_volume/planes/random_plane.py $(R)/%/repeat_0/minima.json | $(READY)
	@$(PY) -m minima_volume.planes.random_plane $* --scale $(SCALE)

slices: $(SLICED:%=$(R)/%/slices.csv) ## loss on planes around minima of modular addition, for `make figs`
	@echo "Planes are up to date: $^" 2> /dev/null || true

PROFILED := mnist_data
$(PROFILED:%=$(R)/%/profiles.csv): $(R)/%/profiles.csv: minima_volume/planes/profiles.py $(R)/%/repeat_0/minima.json | $(READY)
	@$(PY) -m minima_volume.planes.profiles $* --scale $(SCALE)

profiles: $(PROFILED:%=$(R)/%/profiles.csv) ## loss along rays through the minima with the least and the most data, for `make figs`
	@echo "Profiles are up to date: $^" 2> /dev/null || true

videos: $(if $(filter quick,$(SCALE)),$(R)/digits_data/volumes.csv) | $(READY) ## loss-landscape videos and exports whose minima exist; QUALITY=draft or final
	@$(PY) -m videos.make_all --scale $(SCALE)

# What a reviewer's own machine makes in minutes: each of the paper's claims on small data.
BRIEF := mnist_data mnist_poison mnist_sam mnist_batch_size mnist_imbalanced modulo_grokking swiss_data_x5 swiss_poison_x5
# The committed pictures suffice for the committed tables; new ones come from `make figs`.
report: $(if $(filter quick,$(SCALE)),$(BRIEF)) | $(READY) ## every claim on one page, docs/_build/report; SCALE=quick makes its numbers first
	@$(if $(filter quick,$(SCALE)),$(PY) -m figs.draw --scale quick --only-claims)
	@$(PY) -m minima_volume.analysis.report --scale $(SCALE)

compare: | $(READY) ## compare with the published numbers: results/paper/comparison.csv and comparison_trends.csv
	@$(PY) -m minima_volume.analysis.published

readme: compare ## update the generated tables of README.md and docs/ from results and studies.mk
	@$(PY) -m minima_volume.analysis.blocks

new_experiment: | $(READY) ## copy FROM=folder or study to a new experiment folder NAME=name, with TITLE="its title"
	@$(PY) -m minima_volume.pipeline.scaffold --name="$${NAME-}" --source="$${FROM-}" --title="$${TITLE-}"
	@$(PY) -m minima_volume.analysis.blocks

# The site needs packages that nothing else does. Once they are installed, it builds without a network.
.venv/.docs: $(READY)
	@$(PYTHON) -m minima_volume.pipeline.environment docs
	@touch $@

# All pages anew: a build that was killed leaves pages which are cut short and newer than their source.
docs: | .venv/.docs ## the documentation as a website, docs/_build/html, warnings as errors; a minute
	@$(PY) -m sphinx -W --keep-going -q -E -a docs docs/_build/html
	@echo "Open docs/_build/html/index.html" 2> /dev/null || true


validate: | $(READY) ## all estimators on bodies of known volume: benchmarks/validation.md, .csv and .png; at most ten minutes
	@$(PY) -m benchmarks.validate

# Studies whose radii are kept; small networks are also sampled by tethered Hamiltonian Monte Carlo.
trust: | $(READY) ## compare all estimators on the minima of stored studies; docs/claims.md explains the results
	@for study in swiss_data_x5 swiss_poison_x5; do $(PY) -m benchmarks.trust $$study --sample; done
	@for study in mnist_data mnist_poison; do $(PY) -m benchmarks.trust $$study; done
	@$(PY) -m benchmarks.samplers mnist_data

# Minima of studies that were made here; published tables hold no minima.
local_volumes: $(foreach study,$(STUDIES),$(if $(wildcard $(R)/$(study)/repeat_*/minima.json),$(study).local)) ## ln γ of all stored minima by subset simulation, local_volumes.csv; minutes each, resumes; one study: <study>.local

sharpness: $(foreach study,$(STUDIES),$(if $(wildcard $(R)/$(study)/repeat_*/minima.json),$(study).sharpness)) ## curvature, worst-case loss and other sharpness measures of all stored minima, sharpness.csv; resumes; one study: <study>.sharpness

bench: | $(READY) ## compare the speed with the published loop: benchmarks/README.md and results.json; about ten minutes
	@$(PY) -m benchmarks.bench

bench-large: | $(READY) ## cost and memory of a ray of a ResNet-18 and of GPT-like networks: benchmarks/large.md; ten minutes
	@$(PY) -m benchmarks.large

test: | $(READY) ## run the tests; some minutes
	@$(PY) -m pytest -m "not slow"

test-slow: | $(READY) ## run the slow tests, which take minutes each
	@$(PY) -m pytest -m slow

# An environment of its own, because constraints.txt pins one torch and what comes with it.
TORCH ?= 2.9.1
OTHER := .venv/torch-$(TORCH)
OF_TORCH := torch|torchvision|triton|setuptools|filelock|fsspec|sympy|networkx|nvidia-.*|cuda-.*
version = $(if $(or $(call without,$(subst .,,$1),$(DIGITS)),$(filter .% %.,$1),$(findstring ..,$1)),,$(filter 1,$(words $1)))
test-torch: | $(READY) ## run the library's tests with another torch: TORCH=2.9.1 (the lowest) or newest; minutes
	@$(if $(or $(filter newest,$(TORCH)),$(call version,$(TORCH))),,$(error Expected TORCH to be newest or a version such as 2.9.1, got TORCH=$(TORCH)))
	@[ -e $(OTHER)/.ready ] || { rm -rf $(OTHER); $(PYTHON) -m venv $(OTHER); }
	@sed -E '/^($(OF_TORCH))==/,/[^\\]$$/d' constraints.txt > $(OTHER)/constraints.txt
	@rm -f $(OTHER)/.ready
	@$(PY) -m uv pip install --quiet --upgrade --python $(OTHER)/bin/python -c $(OTHER)/constraints.txt -e '.[studies,videos,dev]' torch$(if $(filter newest,$(TORCH)),,==$(TORCH))
	@touch $(OTHER)/.ready
	@$(OTHER)/bin/python -m pytest $(addprefix tests/,measure rays crossings networks estimators sampling storage) -m "not slow"

torture: | $(READY) ## inject faults into copies of the real commands: kills, full disks, damage, bad numbers; up to 20 minutes
	@$(PY) -m tests.faults.run

# What builds the documentation needs Python 3.11.5; a file that is of no use on a machine has a checksum all the same.
hashes: | $(READY) ## write the checksums of all files of the versions in constraints.txt into it, after a change of a version
	@$(PY) -m uv pip compile constraints.txt --quiet --universal --no-deps --python-version 3.11.5 --generate-hashes --no-annotate --no-header --output-file constraints.txt

check: | $(READY) ## check format, lint and types, then run the tests
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(MAKE) test

clean: ## remove quick results and figures; paper-scale results are kept
	rm -rf results/quick figs/quick videos/quick

help: ## show this list
	@echo "make TARGET [SCALE=quick|paper] [REPEATS=n] [DIRECTIONS=n] [LEVELS=n] [DEVICE=cpu|cuda|mps] [DATA_DIR=path] [THREADS=n] [MEMORY=MiB] [STYLE=paper|talk] [DEBUG=1]"
	@echo "     [CLUSTER=local|slurm|tcp://host:port] [JOBS=n] [SLURM=\"options of sbatch\"]"
	@echo
	@grep -hE '^[a-z_-]+:.*## ' Makefile | sed -E 's/^([a-z_-]+):.*## /  \1|/' | column -t -s '|'
	@echo
	@printf '%s\n' $(foreach name,$(STUDIES),$(call quoted,  $(name)|$(about.$(name)))) | column -t -s '|'

# The system's Python suggests a target, because .venv may not exist yet; without any Python the message has no suggestion.
NEAREST := import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1))
# make -B asks for the sources too, which are there.
.DEFAULT:
	@[ ! -e $(call quoted,$@) ] || exit 0; near=$$($(PYTHON) -c '$(NEAREST)' $(call quoted,$@) $(TARGETS) $(FOLDERS) $(STUDIES) 2> /dev/null || true); \
	  printf "No target or file '%s'.%s Run 'make help' for a list of the targets; studies are %s.\n" \
	  $(call quoted,$@) "$${near:+ Did you mean '$$near'?}" "$(STUDIES)" >&2; exit 2
endif

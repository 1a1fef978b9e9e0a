# Each target does its own set-up: from a fresh clone with git, make and a Python, `make figures` is all it takes.
# tests/test_environment.py checks VERSIONS and EXPORT against pyproject.toml and requirements.txt.

VERSIONS := 3.13 3.12 3.11
EXPORT := --frozen --all-groups --no-group=exercises --extra=experiments --no-emit-project --no-annotate --no-header
EXPORT_EXERCISES := --frozen --only-group=exercises --no-emit-project --no-annotate --no-header
READY := .venv/.ready
LOCKED := --require-hashes --no-deps --no-build-isolation -r requirements.txt

# Run two test processes. The tests of a file, and the cells of a notebook, run in one process and in order. Files start
# in the order of their names, because the longest then start early.
PARALLEL := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

# The committed notebooks that `make test` executes again: MNIST's without the two longest, which take as much time as all
# others. `make test-long` executes all of them.
EXECUTED := $(filter-out %/07-sharpening-mnist.ipynb %/13-deviations-mnist.ipynb,\
	$(wildcard results/paper/notebooks/*-mnist.ipynb))

# The examples in the docstrings of the library.
EXAMPLES := dcgmm --doctest-modules --ignore=dcgmm/experiments

EXERCISES := $(notdir $(patsubst %/,%,$(wildcard exercises/masters/*/)))

# The commit that `make same-numbers` compares with.
COMMIT := HEAD

# Stages that the pipeline runs at a time; a notebook takes some 2 GB of memory.
JOBS := 2

# More options of JupyterLab: `make lab LAB_OPTIONS=--allow-root`, as in a container.
LAB_OPTIONS :=

# More options of `make audit`: --ignore=ID for a vulnerability that does not concern this project.
AUDIT_OPTIONS :=

# The values that a user gives, and the path of this folder. They reach commands by the environment, as they are: neither
# make nor the shell reads them, whatever quotes, semicolons or dollar signs they have.
CHOICES := DATASET NOTEBOOK ARCHITECTURE CLASSES PARAMS COMMIT JOBS PYTHON
unexport $(foreach name,$(CHOICES) SCALE,$(if $(filter command,$(origin $(name))),$(name)))
$(foreach name,$(CHOICES),$(eval export CHOSEN_$(name) := $$(value $(name))))
export CHOSEN_SCALE := $(if $(value SCALE),$(value SCALE),quick)

# A stage of the pipeline is `python -m dcgmm.experiments ...`: that python must be the one in .venv.
export HERE := $(CURDIR)
RUN := PATH="$$HERE/.venv/bin:$$PATH"

# Ignore Python settings of the user's shell.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
export KERAS_BACKEND := tensorflow
# Show progress at once; hide notes of pip and TensorFlow.
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TF_CPP_MIN_LOG_LEVEL := 3
export TF_ENABLE_ONEDNN_OPTS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help figures paper experiment check lint test test-long same-numbers verify release-check bench lab exercises site audit lock clean

help: ## Explain the targets
	@echo "Usage: make TARGET [PYTHON=/path/to/python]   (Python $(VERSIONS); the first call sets up .venv)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  %-13s %s\n", $$1, $$2 }'

figures: $(READY) ## Regenerate all figures and tables at the quick scale (minutes) into results/quick
	$(call repro,dvc.yaml,results/quick)

paper: $(READY) ## Regenerate at the paper's scale (up to two hours a repetition) what is out of date in results/paper
	$(call repro,results/paper/dvc.yaml,results/paper)

experiment: $(READY) ## Run one notebook on any data set: DATASET=name NOTEBOOK=05-sampling [ARCHITECTURE= CLASSES= PARAMS= SCALE=]
	@$(RUN) && .venv/bin/python -m dcgmm.experiments notebook "--notebook=$$CHOSEN_NOTEBOOK" "--dataset=$$CHOSEN_DATASET" \
	"--scale=$$CHOSEN_SCALE" "--architecture=$$CHOSEN_ARCHITECTURE" "--classes=$$CHOSEN_CLASSES" "--parameters=$$CHOSEN_PARAMS"

lint: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy

check: lint ## The fast loop: lint, import contract, types, the library's fast tests and README's code (three minutes)
	$(RUN) .venv/bin/pytest tests/library tests/test_readme.py $(EXAMPLES) -m "not slow" $(PARALLEL)

test: lint ## All tests, and the committed notebooks of MNIST executed again and compared
	@results=$$(mktemp -d) && trap 'rm -rf "$$results"' EXIT && trap 'exit 130' INT TERM && \
	DCGMM_TRAIN=never DCGMM_RESULTS="$$results" $(RUN) .venv/bin/pytest tests $(EXAMPLES) $(EXECUTED) --nbval-lax $(PARALLEL)

test-long: export DCGMM_LONG := 1
test-long: export DCGMM_PROMISES := results/promises.json
test-long: EXECUTED := results/paper/notebooks
test-long: test ## The same with all committed notebooks, and the fault and kill suites at full counts

same-numbers: $(READY) ## Declare that the code you changed gives the same numbers, bit by bit, so that nothing is trained again
	.venv/bin/python -m dcgmm.experiments same-numbers "--commit=$$CHOSEN_COMMIT"

verify: $(READY) ## Check the committed results: data, lock, models and tables, each against what is made again
	$(RUN) .venv/bin/python -m dcgmm.experiments verify

release-check: $(READY) ## Check that a release is whole: results from its code, texts that agree, all repetitions
	@$(RUN) .venv/bin/python -m dcgmm.experiments release-check

bench: $(READY) ## Measure training, sampling and sharpening on this machine, against targets, into results/bench.csv
	.venv/bin/python benchmarks/bench.py

lab: $(READY) ## Open JupyterLab on your own copies of the notebooks, in lab/; what they write goes to results/own
	@mkdir -p lab && for path in notebooks/*.ipynb; do [ -e "lab/$${path#*/}" ] || cp "$$path" lab; done
	@mkdir -p lab/exercises && for path in exercises/student/*; do \
		[ -e "lab/exercises/$${path##*/}" ] || cp -r "$$path" lab/exercises; \
	done
	@echo "Your copies of the notebooks are in lab/, and those of the exercises in lab/exercises."
	@echo "Delete a copy, and the next 'make lab' brings the original again."
	@$(RUN) .venv/bin/python -c "$$LAB" $(LAB_OPTIONS) lab

exercises: .venv/.exercises ## Make the students' exercises from the masters, and run the solutions into exercises/solutions
	@for name in $(EXERCISES); do \
		(cd exercises && $(RUN) nbgrader generate_assignment --no-db --force --log-level=WARN "$$name") && \
		$(RUN) .venv/bin/jupyter nbconvert --to notebook --execute --log-level=WARN "exercises/masters/$$name/$$name.ipynb" \
		--output-dir "exercises/solutions" && echo "exercises/student/$$name, exercises/solutions/$$name.ipynb" || exit 1; \
	done

site: $(READY) ## Build the site of the paper-scale results into site/index.html
	@rm -rf site
	.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env -d .venv/doctrees docs site
	@echo "Open site/index.html in a browser."

# By uv, because it is locked here already and reads uv.lock; pip-audit would bring twelve more packages.
audit: $(READY) ## Look up the locked packages in the database of vulnerabilities of osv.dev
	@.venv/bin/uv audit --frozen --preview-features audit-command $(AUDIT_OPTIONS) || case $$? in \
	1) exit 1;; \
	*) echo "Nothing was audited, because the database of vulnerabilities could not be asked (see above). Run 'make audit'" \
		"where the network reaches api.osv.dev, or name a database like it: AUDIT_OPTIONS=--service-url=ADDRESS" >&2; \
		exit 2;; \
	esac

# uv does not read pip.conf: behind a mirror, set UV_DEFAULT_INDEX (uv.lock then names the mirror).
lock: ## After a change to pyproject.toml, lock and export again (UPGRADE=1: to the newest versions)
	@test -x .venv/bin/uv || $(MAKE) --no-print-directory $(READY)
	.venv/bin/uv lock $(if $(UPGRADE),--upgrade)
	@{ echo "# Exported from uv.lock by 'make lock'; do not edit." && \
	.venv/bin/uv export --quiet $(EXPORT); } >.venv/export.txt
	@cmp -s .venv/export.txt requirements.txt || cp .venv/export.txt requirements.txt
	@{ echo "# Exported from uv.lock by 'make lock'; do not edit." && \
	.venv/bin/uv export --quiet $(EXPORT_EXERCISES); } >exercises/requirements.txt
	@$(MAKE) --no-print-directory $(READY)
	.venv/bin/pytest tests/test_environment.py

clean: ## Remove the environment, the quick results and the site (.venv, results/quick, site)
	rm -rf .venv results/quick site docs/api docs/notebooks
	@echo "Removed .venv, results/quick and site. The data cache, results/store and results/paper are untouched."

# $(call repro,FILE,FOLDER): run the stages that are out of date, list the results, and tell if nothing was out of date.
# A stage that fails stops only those that need it: the last `dvc repro` runs it once more, and ends with its error.
# `dvc repro` alone does the same, but it runs one stage after the other. It does not use the grid, which keeps all cores
# busy between the training stages.
define repro
@touch .venv/started
@$(RUN) .venv/bin/python -m dcgmm.experiments check
@$(RUN) && .venv/bin/dvc status --quiet $(1) || { .venv/bin/dvc repro $(1):data $(1):code && \
	{ .venv/bin/dvc status --quiet $(1):train || { \
	{ .venv/bin/python -m dcgmm.experiments grid --scale $(notdir $(2)) || [ $$? -eq 1 ]; } && \
	$(call each,$(1),train@); }; } && \
	$(call each,$(1),baselines@) && \
	$(call each,$(1),notebook@); }
$(RUN) .venv/bin/dvc repro --keep-going $(1)
@find $(2)/figures $(2)/tables $(2)/notebooks -type f ! -name ".*" | sort
@find $(2) -type f -newer .venv/started | grep -q . || echo "Nothing had to be done: $(2) was up to date."
endef

# $(call each,FILE,NAME): run the stages whose names contain NAME, several at a time. Go on after one that fails, which
# xargs tells by 123. Names are passed as they are, whatever characters they have.
each = { .venv/bin/dvc stage list --name-only $(1) | grep $(2) | tr '\n' '\0' | xargs -0 -r -n 2 -P "$$CHOSEN_JOBS" \
	sh -c '.venv/bin/dvc --wait-for-lock repro --single-item --keep-going "$$@" || exit 1' sh || [ $$? -eq 123 ]; }

# Print the version of a usable Python. Otherwise print what is missing, and fail.
define PROBE
import platform, sys
from importlib.util import find_spec
version, system = "%d.%d" % sys.version_info[:2], sys.platform + " " + platform.machine()
missing = [name for name in ("venv", "ensurepip", "_ssl", "_sqlite3") if not find_spec(name)]
if version not in "$(VERSIONS)".split():
    sys.exit("is " + version)
if missing:
    sys.exit("is " + version + " without " + ", ".join(missing))
if system not in ("linux x86_64", "linux aarch64", "darwin arm64"):
    sys.exit("is " + version + " for " + system)
print(version)
endef
export PROBE
VERSION := from importlib.metadata import version; print(version("dcgmm"))
export VERSION

# Start JupyterLab for this machine alone and with a token, whatever jupyter_server_config.py says, unless the options
# say otherwise. The token is no option of a command, because other users of the machine can read those.
define LAB
import os, re, secrets, sys
from jupyterlab.labapp import main
token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
ours = {"ServerApp.ip": "127.0.0.1", "IdentityProvider.token": token, "PasswordIdentityProvider.token": token}
given = {option[1] for option in (re.match(r"--(?:\w+\.)?(\w+)", word) for word in sys.argv) if option}
if "token" not in given:
    print(f"If a page asks for the token of this JupyterLab: {token}", flush=True)
main([f"--{name}={value}" for name, value in ours.items() if name.split(".")[1] not in given] + sys.argv[1:])
endef
export LAB

# By pip, because it reads pip.conf and this adds eight small packages only: all others are there already.
.venv/.exercises: exercises/requirements.txt $(READY)
	.venv/bin/python -m pip install --require-hashes --no-deps --quiet -r exercises/requirements.txt
	@touch $@

# A .venv that was moved, or whose Python is gone, is made anew.
ifneq ($(shell { .venv/bin/python -c "print(open('$(READY)').read())"; } 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

# The quick scale's dvc.lock holds other hashes on every kind of processor. It has to be a tracked file, because DVC refuses
# a lock that git ignores. So git is told to ignore only its changes.
#
# An interrupted set-up begins again from scratch, because $(READY) is written last. uv takes seconds where pip takes
# minutes, but uv does not read pip.conf: where pip.conf names a mirror or a proxy, and where uv fails, pip installs the
# packages. The build tools come first, so that builds use only locked packages.
$(READY): requirements.txt
	@for python in $(if $(value PYTHON),"$$CHOSEN_PYTHON",$(addprefix python,$(VERSIONS)) python3 python); do \
		if answer=$$("$$python" -c "$$PROBE" 2>&1); then found=$$python; break; fi; \
		case $$answer in "is "*) ;; *) $(if $(value PYTHON),answer="does not run",continue);; esac; \
		unfit="$$unfit; $$python $$answer"; \
	done; \
	if [ -z "$$found" ]; then \
		echo "No usable Python: one of $(VERSIONS) with venv is needed, on Linux (x86-64, aarch64) or macOS (arm64)$$unfit." \
			"Install it (Debian, Ubuntu: apt install python3 python3-venv; elsewhere conda, pyenv or uv) and, if it is not" \
			"on the PATH, name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	echo "Setting up .venv with $$found (Python $$answer): 0.9 GB to download, 2.9 GB on disk"; \
	rm -f $(READY) && "$$found" -m venv --clear .venv
	@awk '/^[a-z]/ { keep = /^(flit-core|setuptools|uv)==/ } keep' requirements.txt >.venv/build.txt
	.venv/bin/python -m pip install --require-hashes --no-deps --no-compile --quiet -r .venv/build.txt
	@if .venv/bin/python -m pip config list | grep -qE "[.](index-url|no-index|proxy)=" || \
		{ ! .venv/bin/uv pip install --python .venv/bin/python $(LOCKED) && echo "uv could not, so pip tries:"; }; then \
		.venv/bin/python -m pip install $(LOCKED) --no-compile; \
	fi
	.venv/bin/python -m pip install --no-index --no-deps --no-build-isolation --quiet --editable .
	@git update-index --skip-worktree dvc.lock 2>/dev/null || true
	@[ -e .git ] || { .venv/bin/dvc config --quiet --local core.no_scm true && \
	echo "There is no git checkout here, so captions name version $$(.venv/bin/python -c "$$VERSION") and no commit."; }
	@printf '%s\n' "$$HERE" >$(READY)

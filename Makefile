# `make demo` and `make test` need Python 3.11+ and nothing else; everything they use goes into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/installed

# Compiled modules are kept even where containers say otherwise: each process of a test would compile them anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo docs dist lock sbom audit bundle images check test nightly tools frameworks lint compiled pure coverage-client security fuzz e2e-operate e2e-logs e2e-ui ui-demo screenshots gallery simulate mutate-slices mutate-steps soak soak-sns \
	bench-round bench-handoff bench-ledger bench-relay bench-spam bench-failover bench-scale bench-start bench-adaptive bench-operate bench-privacy bench-traffic bench-merge bench-merge-large bench-peers bench-ui

help:
	@echo "make demo         train one model across three private sites on this machine"
	@echo "make ui-demo      three hospitals train in the background, and SLM-UI opens on them, until Ctrl-C (PORT=30302)"
	@echo "make screenshots  the pictures of SLM-UI in docs/ui/, from the swarm of make ui-demo"
	@echo "make check        style, types, layers and the tests that need no process: after every change"
	@echo "make test         all checks and tests: WORKERS=4 processes run them, by default two a core"
	@echo "make nightly      the long forms of what make test runs briefly; hours"
	@echo "make docs         the documentation as a site, in docs/_build/html; all links are checked, and all command blocks run"
	@echo "make dist         the wheels for real hosts, in dist/: swarmlearning (nodes) and swarmlearning-client (scripts)"
	@echo "make bundle       all that hosts without network need, in dist/: wheels, also of dependencies (PYTHONS=3.12), etcd, scripts, units"
	@echo "make images       the images of all nodes from the bundle: ENGINE=docker|podman BASE=image with Python 3.11"
	@echo "make lock         the versions and hashes that images and bundle install, anew: packaging/requirements*.txt"
	@echo "make sbom         the bill of materials (CycloneDX) of what make lock has locked, in dist/"
	@echo "make audit        known vulnerabilities of what is locked; where that cannot be looked up it says NOT AUDITED and fails"
	@echo "make lint         style, types, layers and sizes only"
	@echo "make coverage-client  the lines of the client library that its tests run, of which 95 % have to"
	@echo "make security     attacks on real nodes, each check by name: what held and what broke"
	@echo "make fuzz         altered and random bytes for all that reads others' bytes: INPUTS=50000 for each, a million in all"
	@echo "make e2e-operate  an operator's script drives a training of three hosts, and what may go wrong, each check by name (LICENSE=server, IDENTITY=spiffe)"
	@echo "make gallery      swarm doctor before broken set-ups and healthy but unusual ones: EXHIBIT=words of a name (VERBOSE=1)"
	@echo "make e2e-logs     archives of logs of 3 SNs, 4 SLs and a SWOP with planted secrets, each check by name, and their page in a browser"
	@echo "make e2e-ui       what a person does with a swarm in the browser, from hosts to logs, each check by name"
	@echo "make simulate     swarms in virtual time: SEEDS=2000 FIRST=0 (SLICES=1: rounds are merged in slices; TRACE=1 shows what happens;"
	@echo "                  ONLY=\"outer steps\", \"coded changes\" or \"error feedback\": only such swarms; GO_ON=1: whatever fails)"
	@echo "make mutate-slices  puts faults into the code of slices and says what finds each: SEEDS=60 (FAULT=words of its name)"
	@echo "make mutate-steps  the same of outer steps and error feedback: SEEDS=150 (FAULT=words of its name)"
	@echo "make bench-merge  time and memory of merging beside other frameworks: NODES=2,8 PARAMS=1,25 in millions (JSON=1)"
	@echo "make bench-merge-large  16 models of 1 GB in bounded memory; 20 GB of disk (JSON=1)"
	@echo "make bench-round  time of a round beside its floor: N=\"2 4 8\" MB=\"1 10 100 400\" (JSON=1 for JSON lines)"
	@echo "make bench-links  rounds behind thin, long, lossy links, beside the limit; root: ROWS=\"4x25@200 4x25@10/50\" (JSON=1)"
	@echo "make goodput      share of the time spent training, 8 sites whose links are cut; root, 15 minutes: SEED=number MBIT=4 TRANSFER=int4 BACK=int8 (JSON=1)"
	@echo "make bench-handoff  time of handing a model to the SL and back beside copying it: MODEL_MB=1000 (JSON=1)"
	@echo "make soak         3 SNs and 8 SLs under random faults: is all flat but the chain? SECONDS=3600 (SEED=, OUT=folder)"
	@echo "make soak-sns     SNs die at random while transactions flow: SECONDS=120 SNS=4 (SEED=number to do it again)"
	@echo "make bench-ledger time and rate of commits, one SN and three with etcd (JSON=1)"
	@echo "make bench-spam   time of an honest member's commits while another organisation sends all it can (JSON=1)"
	@echo "make bench-failover  standstill when the sentinel or a leader fails, 3 SNs of 1, 2, 3 organisations: KILLS=5 FAILURES=3 (JSON=1)"
	@echo "make bench-adaptive  rounds and accuracy of the digits demo, fixed and adaptive sync: RUNS=5 (JSON=1)"
	@echo "make bench-traffic  accuracy against bytes with outer steps and coded changes: SHORT=1, OUT=folder for plots (JSON=1)"
	@echo "make bench-privacy  accuracy of a training with privacy locks on its sites and without (JSON=1)"
	@echo "make bench-start  time until an SN and an SL are ready on a long chain, cold and warm: TRANSACTIONS=100000 (JSON=1)"
	@echo "make bench-relay  time of a model through an SN's relay beside directly: RELAY_MB=100 (JSON=1)"
	@echo "make bench-operate  from an operator's assignment to the first round, and the SWOP's memory: PAIRS=4 (JSON=1)"
	@echo "make bench-ui     first paint, delay of updates, size, memory and frames of SLM-UI in Chromium (JSON=1)"
	@echo "make bench-scale  rounds of many SLs on one SN, and its memory: SLS=64 ROUNDS=200 (JSON=1)"

install: $(STAMP)

$(STAMP): pyproject.toml packaging/client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	@echo "installing into $(VENV), once; a minute or two, and some hundred MB:"
	@test -x $(RUN)/python || { echo "  a virtual environment"; $(PYTHON) -m venv $(VENV); }
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@echo "  swarmlearning, PyTorch and scikit-learn for the demo, and what the tests need"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable packaging/client --editable ".[demo]" --group dev
	@echo "  done"
	@touch $@

demo: $(STAMP)
	@$(RUN)/swarm demo

PORT ?=
ui-demo: $(STAMP)
	@PYTHONPATH=tests:tools $(RUN)/python -m showcase $(if $(PORT),--port $(PORT))

screenshots: $(STAMP) tools
	@PYTHONPATH=tests:tools $(RUN)/python -m showcase.pictures

# Written from the code where it is reference; a warning, such as a link that leads nowhere, is an error. Then
# every command block is run as it stands.
docs: $(STAMP) tools
	@rm -rf docs/_build
	@$(RUN)/python -m sphinx --quiet --fail-on-warning --keep-going --doctree-dir docs/_build/doctrees docs docs/_build/html
	@$(RUN)/python -m pytest --quiet -n $(WORKERS) $(PARALLEL) tests/docs tests/system/test_walkthrough.py
	@PYTHONPATH=tests $(RUN)/python -m support.pages

# Two wheels: that of the nodes needs that of the training scripts, which can be installed alone.
dist: $(STAMP)
	@$(RUN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist packaging/client .
	@ls dist

lock: .tools/lock/bin/uv
	@$(RUN)/python tools/lock.py $<
.tools/lock/bin/uv:
	@$(PYTHON) -m venv .tools/lock
	@.tools/lock/bin/python -m pip install --quiet --disable-pip-version-check uv

sbom: $(STAMP) .tools/supply/bin/pip-audit
	@$(RUN)/python tools/sbom.py .tools/supply/bin/cyclonedx-py
audit: $(STAMP) .tools/supply/bin/pip-audit
	@$(RUN)/python tools/audit.py .tools/supply/bin/pip-audit
.tools/supply/bin/pip-audit:
	@$(PYTHON) -m venv .tools/supply
	@.tools/supply/bin/python -m pip install --quiet --disable-pip-version-check "cyclonedx-bom>=7.5,<8" "pip-audit>=2.10,<3" || \
		{ echo "sbom, audit: NOT AUDITED, no bill made: their tools cannot be installed here" >&2; exit 2; }

# For hosts without a package index: all packages for these versions of Python; PYTHONS= makes it without them.
PYTHONS ?= 3.11 3.12 3.13
bundle: $(STAMP) tools
	@$(RUN)/python tools/bundle.py $(PYTHONS)

ENGINE ?= $(if $(shell command -v docker),docker,podman)
BASE ?=
images: PYTHONS := # images install from an index
images: bundle
	@$(RUN)/python tools/images.py $(ENGINE) $(BASE)

lint: $(STAMP)
	@$(RUN)/ruff check --quiet .
	@$(RUN)/ruff format --quiet --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo
	@$(RUN)/python tools/sizes.py

# What real tests need beyond Python: fetched where that is possible, else named in pytest's summary.
PACKAGES := etcd-server faketime iproute2 iptables nginx libnginx-mod-stream tinyproxy-bin dataset-fashion-mnist \
	chromium podman prometheus runc containernetworking-plugins busybox-static docker-registry \
	openssh-server dbus-daemon
tools:
	@test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || dpkg --status $(PACKAGES) >/dev/null 2>&1 || \
		{ apt-get update -qq; for package in $(PACKAGES); do \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$package; done; } >/dev/null 2>&1 || true

# What callbacks are for besides PyTorch and scikit-learn (2.5 GB): fetched once where that is possible, else named too.
frameworks: $(VENV)/frameworks
$(VENV)/frameworks: $(STAMP)
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --retries 1 --group frameworks && touch $@ || \
		echo "the frameworks cannot be installed: tests of their callbacks will not run" >&2

# Each worker gets one test after another, in the order of tests/support/schedule.py; many tests wait most of the time.
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS ?= $(shell expr $(CORES) \* 2)
PARALLEL := --dist load --maxschedchunk 1 --durations 10

# The images are built beside all that comes before the tests which need them: those wait for the rest of it.
test: tools frameworks $(STAMP)
	@PYTHONPATH=tests:tools $(RUN)/python -m support.images & images=$$!; \
	$(MAKE) --no-print-directory --jobs 2 --output-sync lint compiled && \
	$(RUN)/python -m pytest -n $(WORKERS) $(PARALLEL); status=$$?; \
	kill $$images 2> /dev/null; wait $$images; exit $$status

# The bytecode of the tests, which each worker would else make for itself.
compiled: $(STAMP)
	@$(RUN)/python -m pytest --collect-only -qq > /dev/null

check: $(STAMP)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint pure

pure: $(STAMP)
	@$(RUN)/python -m pytest --quiet --pure -n $(CORES) $(PARALLEL)

nightly: lint tools frameworks
	@$(MAKE) --no-print-directory security
	@$(MAKE) --no-print-directory e2e-logs
	@$(MAKE) --no-print-directory e2e-ui
	@$(MAKE) --no-print-directory e2e-operate
	@$(MAKE) --no-print-directory e2e-operate IDENTITY=spiffe LICENSE=server
	@$(MAKE) --no-print-directory gallery
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory simulate SEEDS=50000 FIRST=$$(date +%s)
	@$(MAKE) --no-print-directory soak SECONDS=3600
	@$(MAKE) --no-print-directory soak-sns SECONDS=1800 SNS=4
	@$(MAKE) --no-print-directory soak-sns SECONDS=1800 SNS=5
	@$(RUN)/swarm chaos --plan leader-kill --json # as docs/chaos.md has it
	@$(RUN)/swarm chaos --plan hundred-kills
	@$(RUN)/swarm chaos --plan mixed --seed $$(date +%s)
	@$(MAKE) --no-print-directory bench-failover KILLS=50 FAILURES=20
	@$(MAKE) --no-print-directory fuzz

# Nearly all of the client library is run by its tests, in pytest's process and in those that it starts.
coverage-client: $(STAMP) frameworks
	@$(RUN)/coverage erase
	@$(RUN)/coverage run -m pytest --quiet tests/client
	@$(RUN)/coverage combine --quiet
	@$(RUN)/coverage report

# Every attack that once worked, and others of their kinds: tests/security/table.py.
security: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python -m security -n $(CORES)

# All readers of others' bytes, guided by coverage: tests/fuzz/table.py. Atheris is made for some versions of Python only.
INPUTS ?= 50000
fuzz: $(STAMP) .tools/fuzz/atheris
	@PYTHONPATH=tests:.tools/fuzz $(RUN)/python -m fuzz --inputs $(INPUTS)
.tools/fuzz/atheris:
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --target .tools/fuzz "atheris>=3,<4" || \
		{ echo "fuzz: Atheris cannot be installed here; nothing was fuzzed" >&2; exit 1; }

# Archives of a swarm with faults and planted secrets, each check by name, and the page in a browser: support/collected.py.
e2e-logs: $(STAMP) tools
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1 || true
	@PYTHONPATH=tests $(RUN)/python -m support.collected

# One SWCI script, three hosts, and all that may go wrong with tasks: tests/operate/table.py.
e2e-operate: $(STAMP) tools
	@PYTHONPATH=tests:tools $(RUN)/python -m operate -n $(CORES) --dist load --maxschedchunk 1

# Three SNs, hosts with SSH, and all that a person does with them in Chromium: tests/uistory/table.py.
e2e-ui: $(STAMP) tools
	@PYTHONPATH=tests:tools $(RUN)/python -m uistory

# Whom and what swarm doctor blames in each set-up, and how long it takes: tests/gallery/exhibits.
EXHIBIT ?=
VERBOSE ?=
gallery: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python -m gallery $(if $(VERBOSE),-v) $(EXHIBIT)

SEEDS ?= 2000
FIRST ?= 0
TRACE ?=
simulate: $(STAMP)
	@PYTHONPATH=tests $(RUN)/python -m simulation --first $(FIRST) --seeds $(SEEDS) $(if $(TRACE),--trace) $(if $(SLICES),--slices) \
		$(if $(ONLY),--only "$(ONLY)") $(if $(GO_ON),--go-on)

FAULT ?=
mutate-slices: $(STAMP)
	@PYTHONPATH=tests $(RUN)/python -m simulation.mutants --first $(FIRST) --seeds $(if $(filter 2000,$(SEEDS)),60,$(SEEDS)) --only "$(FAULT)"

mutate-steps: $(STAMP)
	@PYTHONPATH=tests $(RUN)/python -m simulation.mutants --steps --first $(FIRST) --seeds $(if $(filter 2000,$(SEEDS)),150,$(SEEDS)) --only "$(FAULT)"

N ?= 2 4 8
MB ?= 1 10 100 400
JSON ?=
bench-round: $(STAMP)
	@$(RUN)/python bench/round.py --nodes $(N) --mb $(MB) $(if $(JSON),--json)

# Every site behind a link of its own, in network namespaces; a row is written as bench/linkrow.py says.
# hivemind is measured beside it where it can be installed (60 MB); PyTorch is that of .venv.
ROWS ?=
HIVEMIND := .tools/hivemind
$(HIVEMIND)/fetched: $(STAMP)
	@test -x $(HIVEMIND)/bin/python || $(PYTHON) -m venv $(HIVEMIND)
	@$(HIVEMIND)/bin/python -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/ours.pth", "w").write(sys.argv[1])' \
		"$$($(RUN)/python -c 'import sys; print("\n".join(path for path in sys.path if "site-packages" in path))')"
	@$(HIVEMIND)/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 "hivemind>=1.1.12,<2" && touch $@ || \
		echo "bench-links: hivemind cannot be installed; it is left out" >&2
bench-links: $(STAMP) tools $(HIVEMIND)/fetched
	@PYTHONPATH=tests $(RUN)/python bench/links.py $(if $(ROWS),--rows $(ROWS)) $(if $(JSON),--json)

goodput: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python bench/goodput.py $(if $(SEED),--seed $(SEED)) $(if $(MBIT),--mbit $(MBIT)) \
		$(if $(TRANSFER),--transfer $(TRANSFER)) $(if $(BACK),--transfer-back $(BACK)) $(if $(JSON),--json)

MODEL_MB ?= 1000
bench-handoff: $(STAMP)
	@$(RUN)/python bench/handoff.py --mb $(MODEL_MB) $(if $(JSON),--json)

SECONDS ?= 120
SNS ?= 4
SEED ?=
soak-sns: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python -m support.soak --seconds $(SECONDS) --sns $(SNS) $(if $(SEED),--seed $(SEED))

OUT ?= runs/soak
soak: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python -m soak --seconds $(SECONDS) --out $(OUT) $(if $(SEED),--seed $(SEED))

bench-ledger: $(STAMP)
	@$(RUN)/python bench/ledger.py $(if $(JSON),--json)

bench-spam: $(STAMP)
	@$(RUN)/python bench/spam.py $(if $(JSON),--json)

KILLS ?= 5
FAILURES ?= 3
bench-failover: $(STAMP) tools
	@$(RUN)/python bench/failover.py --kills $(KILLS) --runs $(FAILURES) $(if $(JSON),--json)

SLS ?= 64
ROUNDS ?= 200
bench-scale: $(STAMP)
	@$(RUN)/python bench/scale.py --sls $(SLS) --rounds $(ROUNDS) $(if $(JSON),--json)

TRANSACTIONS ?= 100000
bench-privacy: $(STAMP) tools
	@$(RUN)/python bench/privacy.py $(if $(JSON),--json)

# All takes an hour and a half on two cores; SHORT=1 two ways of one model, two minutes.
bench-traffic: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python bench/traffic.py $(if $(SHORT),--short --tasks mlp) $(if $(OUT),--out $(OUT)) $(if $(JSON),--json)

bench-start: $(STAMP)
	@$(RUN)/python bench/start.py --transactions $(TRANSACTIONS) $(if $(JSON),--json)

RUNS ?= 5
bench-adaptive: $(STAMP)
	@$(RUN)/python bench/adaptive.py --runs $(RUNS) $(if $(JSON),--json)

RELAY_MB ?= 100
bench-relay: $(STAMP)
	@$(RUN)/python bench/relayed.py --mb $(RELAY_MB) $(if $(JSON),--json)

PAIRS ?= 4
bench-operate: $(STAMP)
	@$(RUN)/python bench/operate.py --pairs $(PAIRS) $(if $(JSON),--json)

bench-ui: $(STAMP) tools
	@PYTHONPATH=tests $(RUN)/python bench/ui.py $(if $(JSON),--json)

NODES ?= 2,4,8,16,32
PARAMS ?= 1,25,100
bench-merge: $(STAMP) bench-peers
	@$(RUN)/python bench/merge.py --nodes $(NODES) --params $(PARAMS) $(if $(JSON),--json)

# 16 models of 1 GB, as a round merges them: with influence. What does not fit into memory is read from the disk.
bench-merge-large: $(STAMP)
	@$(RUN)/python bench/merge.py --nodes 16 --params 250 --repeats 1 --influence --uncached $(if $(JSON),--json)

# Other frameworks to compare with (some GB, never in .venv): fetched once where that is possible, else left out.
PEERS := .tools/peers
bench-peers: $(PEERS)/fetched
$(PEERS)/fetched:
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@for peer in flwr geom-median byzfl; do $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		$$peer torch==2.13.0 || echo "bench-merge: $$peer cannot be installed; it is left out" >&2; done
	@touch $@

# make demo, make test: each sets up all it needs in .venv. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SOURCES := setup.py pyproject.toml $(wildcard cylosses/_core/*.p* cylosses/_core/*.h cylosses/_core/*/*.p* cylosses/_core/*/*.h) $(wildcard cylosses/capi*.p*) $(wildcard cylosses/views.p*) $(wildcard cylosses/_views/*.p*) cylosses/include/cylosses.h

.PHONY: demo generate test test-builds lint docs wheel check-package test-peers exactness same-bits fuzz sanitize free-threaded bench bench-quick clean

# The package is installed in place (editable), so that the compiled modules lie beside their sources.
$(VENV)/.pip: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.installed: $(VENV)/.pip $(SOURCES)
	$(PY) -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.%-group: $(VENV)/.installed
	$(PY) -m pip install --quiet --group $*
	touch $@

demo: $(VENV)/.installed
	$(PY) -m cylosses demo

# What follows from the classes of the losses: stubs, the registry, numbers for C, signatures. Needs nothing that is compiled.
generate:
	$(PYTHON) -m tools.generate

# As many processes as there are CPUs; the seed of the random numbers and of the order is printed first.
PYTEST_PROCESSES ?= auto
test: $(VENV)/.installed $(VENV)/.test-group
	$(PY) -m pytest --numprocesses $(PYTEST_PROCESSES) --dist worksteal

# The tests of the numbers on the builds of the loops that this CPU runs beside the best one, which `make test` has.
CORE := $(addprefix tests/test_,exact.py layouts.py extreme_weights.py integers.py streaming.py curvature.py)
test-builds: $(VENV)/.installed $(VENV)/.test-group
	for build in $$($(PY) -c 'from cylosses._core import builds; print(*[*builds.available_builds()][1:])'); do \
	    echo "on $$build:"; \
	    CYLOSSES_ISA=$$build $(PY) -m pytest --quiet -m 'not slow' --numprocesses $(PYTEST_PROCESSES) --dist worksteal $(CORE) || exit 1; \
	done

lint: $(VENV)/.installed $(VENV)/.lint-group
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint cylosses benchmarks examples   # it calls pycodestyle by name
	$(VENV)/bin/codespell
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist tests/typing/stubtest.txt cylosses
	$(PY) -m tools.vectorisation

# The site, in build/docs: pages, their code and the gallery run, warnings are errors, links within it lead somewhere. Without a network.
docs: $(VENV)/.installed $(VENV)/.docs-group
	$(PY) -m sphinx -W --keep-going -b html docs build/docs
	$(VENV)/bin/linkchecker --config docs/linkchecker.ini build/docs/index.html

# PYTHONS="python3.12 python3.13" picks interpreters; by default, all that are at hand. PYTEST="-x -k dtypes" goes to pytest.
wheel: $(VENV)/.installed $(VENV)/.package-group
	$(PY) -m tools.wheels $(if $(PYTHONS),--pythons $(PYTHONS)) -- $(PYTEST)
	$(VENV)/bin/twine check --strict dist/* wheelhouse/*
	$(VENV)/bin/check-wheel-contents wheelhouse

check-package: $(VENV)/.installed $(VENV)/.package-group
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/check-manifest --no-build-isolation
	$(VENV)/bin/validate-pyproject pyproject.toml
	$(VENV)/bin/repo-review .
	$(VENV)/bin/pyroma --min 10 --skip-tests AuthorEmail,Url .   # the project has neither yet
	$(VENV)/bin/zizmor --offline --quiet .github/workflows
	rm -rf build/sdist
	$(PY) -m build --sdist --outdir build/sdist .
	$(VENV)/bin/twine check --strict build/sdist/*

test-peers: $(VENV)/.installed $(VENV)/.test-group $(VENV)/.peers-group
	$(PY) -m pytest --override-ini=addopts= -ra --strict-markers -s tests/peers
	$(PY) -m tools.peer_table
	$(PY) -m tools.booster_starts

exactness: $(VENV)/.installed $(VENV)/.test-group
	$(PY) -m tools.exactness --arrays 10000 --splits 1000

same-bits: $(VENV)/.installed $(VENV)/.test-group
	$(PY) -m tools.build_hashes

# Random calls of every kind against exact rationals; a failure is printed as a few lines of Python, with the seed that brings it back.
# BUILDS="x86-64-v2 x86-64-v3" runs a process for each at the same time; ONLY=layouts, modes, weights,
# integers, slices or parameters (that are arrays) draws nothing else.
SECONDS ?= 60
fuzz: $(VENV)/.installed $(VENV)/.test-group
	$(PY) -m tools.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(BUILDS),--builds $(BUILDS))

# CASES=0 runs every case of every test, not a few drawn ones.
sanitize: $(VENV)/.installed $(VENV)/.test-group
	$(PY) -m tools.sanitize $(if $(CASES),--cases $(CASES))

# FREE_THREADED=/path/to/python3.14t takes that interpreter; by default one is built from Debian's source package.
free-threaded: $(VENV)/.installed
	$(PY) -m tools.free_threaded $(if $(FREE_THREADED),--python $(FREE_THREADED))

# Every row is on disk once it is timed: `make bench RESUME=1` goes on where an interrupted run stopped, and `make bench REDO=1`
# times the rows again that other programs disturbed. It writes benchmarks/RESULTS.md with its pictures, and the table of README.md.
bench: $(VENV)/.installed $(VENV)/.bench-group
	$(PY) -m benchmarks.suite --json build/suite.json $(if $(RESUME),--resume) $(if $(REDO),--redo-disturbed)
	$(PY) -m benchmarks.c_level --json build/c_level.json $(if $(RESUME)$(REDO),--resume)
	$(PY) -m benchmarks.report build/suite.json --c-level build/c_level.json --to benchmarks/RESULTS.md --short README.md

bench-quick: $(VENV)/.installed $(VENV)/.bench-group
	$(PY) -m benchmarks.suite --quick

clean:
	rm -rf build dist wheelhouse *.egg-info cylosses/*.so cylosses/_core/*.so cylosses/_views/*.so

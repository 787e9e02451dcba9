# The targets that people want are listed by `make help`. Objects go to build/, or to BUILD=DIR.
#
# A checkout may lie in any folder: make sees names from its root on. PREFIX and DESTDIR may hold any character, as
# recipes have them in single quotes, with `$(call quoted,...)`. BUILD is part of targets, whose names make splits at blanks.
CC       := clang
BUILD    ?= build
PREFIX   ?= /usr/local
CFLAGS   ?= -O3 -g
JOBS     ?= $(shell nproc)
WARN      = -Wall -Wextra -Wpedantic -Wshadow
NEEDED    = -std=c17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread $(WARN)
# What the compiler itself, and what the programs it makes, are linked with.
COMPILER_LIBS = -lyaml -lprotobuf-c -lm
RUNTIME_LIBS  = -ljpeg -lpng -lz -lm
HEADER_LIBRARIES = /usr/include/jsmn.h /usr/include/xxhash.h

# $(call quoted,TEXT): one word of the shell's, whatever it holds.
quoted = '$(subst ','\'',$(1))'

ifneq ($(or $(BUILD),empty),$(shell printf %s $(call quoted,$(BUILD)) | LC_ALL=C tr -cd 'A-Za-z0-9_./+,@^-' | sed 's/^-*//'))
$(error BUILD='$(BUILD)': name a folder by letters, digits and . _ / + , @ ^ - alone, and not with a - in front)
endif

PACKAGES      = clang libc6-dev libyaml-dev libopenblas-dev libjpeg-dev libpng-dev zlib1g-dev libjsmn-dev libxxhash-dev \
	libprotobuf-c-dev protobuf-c-compiler
TEST_PACKAGES = gcc libcmocka-dev python3-numpy
CROSS_PACKAGES = gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
	gcc-riscv64-linux-gnu libc6-dev-riscv64-cross qemu-user
BARE_PACKAGES = gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
	gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc
# For programs of several ranks: Debian's Open MPI, unless there is an MPI already, such as MPICH.
MPI_PACKAGES = libopenmpi-dev openmpi-bin

SUPPORT  = $(patsubst %.c,$(BUILD)/%.o,$(wildcard support/*.c))
COMPILER = $(patsubst %.c,$(BUILD)/%.o,$(wildcard compiler/*.c compiler/*/*.c)) $(MESSAGES).o
# ONNX's messages, by protobuf-c.
MESSAGES = $(BUILD)/messages/onnx.pb-c
RUNTIME  = $(patsubst %.c,$(BUILD)/%.o,$(wildcard runtime/*.c runtime/*/*.c))
TESTS    = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
# Tests have the kernels of the least vectors there are; these have wider ones and those of wide units, as far as the processor has them.
VECTORS  := $(shell grep -qsw avx512vl /proc/cpuinfo && echo haswell skylake-avx512) $(shell grep -qsw avx512_vbmi2 /proc/cpuinfo && echo icelake-server)
TESTS    += $(foreach march,$(VECTORS),$(patsubst %,$(BUILD)/tests/test_%-$(march),kernels blocked winograd sparse masked))
# Matrix tiles of precision bfloat16x3.
TESTS    += $(BUILD)/tests/test_tiles-x3
# Those of python/, which need a Python with numpy.
PYTHON_TESTS = tests/python/test_python
FUZZERS  = $(BUILD)/tests/spec_to_c $(BUILD)/tests/read_bytes $(BUILD)/tests/write_seeds $(BUILD)/tests/random_specs
# These fail calls of programs by a library of their own, beside which there is no room for a sanitizer's.
PRELOADING = %/test_torture %/test_kills
HELPERS  = $(patsubst tests/unit/%.c,$(BUILD)/tests/%.o,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))

# Kernels inlined into every shape, as in programs, would take tests minutes to compile.
PLAIN_INLINE = -DINLINE="static inline"

all: $(BUILD)/amdimc $(BUILD)/libamdim.a

help:
	@echo 'make            build $(BUILD)/amdimc and the runtime its programs link'
	@echo 'make demo       set up, build, train the default spec on built-in pictures, probe it'
	@echo 'make test       set up, build, run every test, JOBS=$(JOBS) at once'
	@echo 'make setup      install the Debian packages that are missing'
	@echo 'make setup-cross  install cross compilers and qemu; make test-cross runs the tests that need them'
	@echo 'make setup-bare  install compilers and qemu for machines without a system; make test-bare runs the tests that need them'
	@echo 'make setup-mpi  install Open MPI, for programs of several ranks (docs/cluster.md)'
	@echo 'make bench      time the programs on this machine, and with PYTORCH=PYTHON that Python'\''s PyTorch,'
	@echo '                with ONNX=PYTHON its ONNX Runtime'
	@echo 'make bench-memory  what budgets of memory cost'
	@echo 'make bench-ranks  a training over several processes, with PYTORCH=PYTHON against PyTorch'\''s DDP; then how it would'
	@echo '                grow with machines (docs/cluster.md)'
	@echo 'make bench-bare  what a model takes of a microcontroller'
	@echo 'make bless      rewrite the expected outputs of tests and generated/tiny/tiny.c'
	@echo 'make asan       the tests under AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/'
	@echo 'make tsan       the tests under ThreadSanitizer, in build-tsan/'
	@echo 'make torture    every call of every command failed in turn, 200 runs killed, every byte of a checkpoint changed'
	@echo 'make coverage   the tests, and how many lines of compiler/, runtime/ and support/ they run, in build-coverage/'
	@echo 'make tidy       clang-tidy and gcc'\''s analyzer over every C file; make analyze the latter alone'
	@echo 'make fuzz       hostile specs for FUZZ_SECONDS=$(FUZZ_SECONDS), hostile files for READER_SECONDS=$(READER_SECONDS) each, then'
	@echo '                SPECS=$(SPECS) random specs from FIRST=$(FIRST)'
	@echo 'make format     clang-format every C file'
	@echo 'make install    to PREFIX='$(call quoted,$(PREFIX))'; make uninstall removes what it wrote'
	@echo 'make clean'

# Set-up comes first, in a make of its own: what is built depends on what it installs.
setup:
	@tools/setup $(PACKAGES)

setup-cross:
	@tools/setup $(PACKAGES) $(CROSS_PACKAGES)

# Programs for other machines, under qemu; a part of `make test`, too, where the packages are.
test-cross:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES) $(CROSS_PACKAGES)
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BUILD)/tests/test_cross
	@BUILD=$(BUILD) tests/run $(BUILD)/tests/test_cross

# The model as C functions on microcontrollers, under qemu; a part of `make test`, too, where the packages are.
setup-bare:
	@tools/setup $(PACKAGES) $(BARE_PACKAGES)

test-bare:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES) $(BARE_PACKAGES)
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(BUILD)/tests/test_bare
	@BUILD=$(BUILD) tests/run $(BUILD)/tests/test_bare

# Trainings over several processes; a part of `make test`, too, where there is an MPI.
THERE_IS_MPI = command -v mpirun && echo '\#include <mpi.h>' | mpicc -x c -E /dev/stdin
setup-mpi:
	@tools/setup $(PACKAGES)
	@{ $(THERE_IS_MPI); } >/dev/null 2>&1 || tools/setup $(MPI_PACKAGES)

demo:
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory -s all
	@tools/demo $(BUILD)

test:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(TESTS) $(BENCHES)
	@BUILD=$(BUILD) tests/run $(TESTS) $(PYTHON_TESTS)

# bench/run prints a table, bench/shapes every product shape by shape. PyTorch is compared where python3-torch is installed,
# and a current one where PYTORCH names a Python that has it, such as a venv's; ONNX Runtime where ONNX does.
BENCHES = $(BUILD)/bench/fma $(BUILD)/bench/sgemm $(BUILD)/bench/shapes
bench:
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory -s all $(BENCHES)
	@PYTORCH=$(call quoted,$(PYTORCH)) bench/run $(BUILD)
	@ONNX=$(call quoted,$(ONNX)) bench/encode $(BUILD)
	@$(BUILD)/bench/shapes

# What budgets of memory cost in time.
bench-memory:
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory -s all
	@bench/memory $(BUILD)

# A training over several processes of this machine, and what docs/cluster.md draws from such measurements.
bench-ranks:
	@tools/setup python3
	@$(MAKE) --no-print-directory setup-mpi
	@$(MAKE) --no-print-directory -s all
	@PYTORCH=$(call quoted,$(PYTORCH)) bench/ranks $(BUILD)
	@bench/cluster-model $(BUILD)

# What specs/cortex-m7.yaml takes of a microcontroller's flash, memory and instructions.
bench-bare:
	@$(MAKE) --no-print-directory setup-bare
	@$(MAKE) --no-print-directory -s all
	@bench/bare $(BUILD)

$(BENCHES): $(BUILD)/bench/%: bench/%.c $(wildcard templates/*.h) $(BUILD)/libamdim.a
	@mkdir -p $(BUILD)/bench
	@$(CC) -std=c17 -D_GNU_SOURCE $(WARN) -O3 -march=native -ffp-contract=fast -fno-math-errno -pthread \
		-Itemplates -Iruntime -Isupport -o $@ $< $(BUILD)/libamdim.a -lopenblas -lm

bless:
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(TESTS)
	BLESS=1 BUILD=$(BUILD) tests/run $(TESTS)

# Programs that the tests compile are sanitized as well: build-asan/cc stands in for clang.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all $(PLAIN_INLINE)
ASAN_TESTS = $(patsubst $(BUILD)/%,build-asan/%,$(filter-out $(PRELOADING),$(TESTS)))
ASAN_CFLAGS = -O1 -g -fno-omit-frame-pointer $(SANITIZE)
asan:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES) libclang-rt-dev
	@mkdir -p build-asan
	@printf '#!/bin/sh\nexec $(CC) $(SANITIZE) "$$@"\n' > build-asan/cc && chmod +x build-asan/cc
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build-asan CFLAGS=$(call quoted,$(ASAN_CFLAGS)) all $(ASAN_TESTS)
	@BUILD=build-asan BUILD_CFLAGS=$(call quoted,$(ASAN_CFLAGS)) AMDIMC_CC=build-asan/cc TEST_SECONDS=3600 tests/run $(ASAN_TESTS)

# The tests under ThreadSanitizer, the programs that they compile too; but those of selfcheck, some of which race on purpose.
TSAN = -fsanitize=thread $(PLAIN_INLINE)
TSAN_TESTS = $(patsubst $(BUILD)/%,build-tsan/%,$(filter-out $(PRELOADING) %/test_selfcheck,$(TESTS)))
TSAN_CFLAGS = -O1 -g $(TSAN)
tsan:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES) libclang-rt-dev
	@mkdir -p build-tsan
	@printf '#!/bin/sh\nexec $(CC) $(TSAN) "$$@"\n' > build-tsan/cc && chmod +x build-tsan/cc
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build-tsan CFLAGS=$(call quoted,$(TSAN_CFLAGS)) all $(TSAN_TESTS)
	@BUILD=build-tsan BUILD_CFLAGS=$(call quoted,$(TSAN_CFLAGS)) AMDIMC_CC=build-tsan/cc TEST_SECONDS=3600 TSAN_OPTIONS=halt_on_error=1 tests/run $(TSAN_TESTS)

# Lines of compiler/, runtime/ and support/ that the tests run, in the compiler, in test programs and in compiled programs.
COVERED = -fprofile-instr-generate -fcoverage-mapping
COVERAGE_TESTS = $(patsubst $(BUILD)/%,build-coverage/%,$(filter-out $(PRELOADING),$(TESTS)))
COVERAGE_CFLAGS = -O1 -g $(COVERED) $(PLAIN_INLINE)
coverage:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES) llvm libclang-rt-dev
	@mkdir -p build-coverage
	@printf '#!/bin/sh\nexec $(CC) $(COVERED) "$$@"\n' > build-coverage/cc && chmod +x build-coverage/cc
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build-coverage CFLAGS=$(call quoted,$(COVERAGE_CFLAGS)) all \
		$(COVERAGE_TESTS)
	@BUILD_CFLAGS=$(call quoted,$(COVERAGE_CFLAGS)) tests/coverage build-coverage $(COVERAGE_TESTS)

# What must not be found: .clang-tidy says what is looked for. gcc takes what a list keeps for a leak, and what an option
# must be given for NULL.
CHECKED = $(wildcard compiler/*.c compiler/*/*.c runtime/*.c runtime/*/*.c support/*.c)
tidy: analyze
	@tools/setup $(PACKAGES) clang-tidy
	@$(MAKE) --no-print-directory -s $(MESSAGES).h
	@printf '%s\n' $(CHECKED) | xargs -P$(JOBS) -I'{}' clang-tidy --quiet '{}' -- $(NEEDED) -Icompiler -Iruntime -Isupport -Itemplates \
		-I$(BUILD)/messages

# A part of continuous integration, as it takes half a minute of a processor.
analyze:
	@tools/setup $(PACKAGES) gcc
	@$(MAKE) --no-print-directory -s $(MESSAGES).h
	@printf '%s\n' $(CHECKED) | xargs -P$(JOBS) -I'{}' gcc $(NEEDED) -Icompiler -Iruntime -Isupport -Itemplates -I$(BUILD)/messages \
		-O1 -fanalyzer -Wno-analyzer-malloc-leak -Wno-analyzer-null-argument -Werror -c -o /dev/null '{}'

# All that is tried of what goes wrong: every call failed, 200 runs and 20 processes of several killed, every byte of a
# checkpoint changed.
TORTURE_TESTS = $(patsubst %,$(BUILD)/tests/test_%,torture kills ranks_faults damage)
torture:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(TORTURE_TESTS)
	@for test in $(TORTURE_TESTS); do \
		BUILD=$(BUILD) TORTURE_MOST=1000000 TORTURE_KILLS=200 TORTURE_RANK_KILLS=20 TORTURE_BYTES=1 $$test || exit 1; \
	done

# Any bytes through the compiler and through every reader of files, by libFuzzer; then valid specs at random, compiled
# and held against the interpreter.
FUZZ_SECONDS ?= 60
READER_SECONDS ?= 20
SPECS        ?= 20
FIRST        ?= 0
fuzz:
	@tools/setup $(PACKAGES) $(TEST_PACKAGES) libclang-rt-dev
	@$(MAKE) --no-print-directory -s -j$(JOBS) all $(FUZZERS)
	@BUILD=$(BUILD) tests/fuzz/run $(FUZZ_SECONDS) $(READER_SECONDS) $(FIRST) $(SPECS)

$(BUILD)/amdimc: $(COMPILER) $(SUPPORT)
	@echo '  LD    $@'
	@$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(COMPILER_LIBS)

$(BUILD)/libamdim.a: $(RUNTIME) $(SUPPORT)
	@echo '  AR    $@'
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/libamdimc.a: $(filter-out %/main.o,$(COMPILER))
	@echo '  AR    $@'
	@rm -f $@
	@ar rcs $@ $^

$(MESSAGES).c $(MESSAGES).h &: compiler/emit/onnx.proto
	@echo '  PROTO $<'
	@mkdir -p $(@D)
	@protoc-c -Icompiler/emit --c_out=$(@D) $<

$(MESSAGES).o: $(MESSAGES).c
	@echo '  CC    $<'
	@$(CC) -std=c17 -D_GNU_SOURCE $(CFLAGS) -I$(<D) -c -o $@ $<

$(BUILD)/compiler/emit/onnx.o: | $(MESSAGES).h
$(BUILD)/compiler/completion.o: docs/amdimc.bash-completion
$(BUILD)/compiler/%.o: compiler/%.c
	@echo '  CC    $<'
	@mkdir -p $(@D)
	@$(CC) $(NEEDED) $(CFLAGS) -Icompiler -Isupport -Itemplates -I$(BUILD)/messages -MMD -MP -c -o $@ $<

$(BUILD)/runtime/%.o: runtime/%.c
	@echo '  CC    $<'
	@mkdir -p $(@D)
	@$(CC) $(NEEDED) -fno-math-errno $(CFLAGS) -Iruntime -Isupport -MMD -MP -c -o $@ $<

$(BUILD)/support/%.o: support/%.c
	@echo '  CC    $<'
	@mkdir -p $(@D)
	@$(CC) $(NEEDED) -fno-math-errno $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/test_onnx.o: | $(MESSAGES).h
$(BUILD)/tests/%.o: tests/unit/%.c | $(BUILD)/tests
	@echo '  CC    $<'
	@$(CC) $(NEEDED) $(PLAIN_INLINE) $(CFLAGS) -Icompiler -Iruntime -Isupport -Itemplates -Itests/fuzz -Itests/torture -I$(BUILD)/messages -MMD -MP -c -o $@ $<

$(BUILD)/tests/%-x3.o: tests/unit/%.c | $(BUILD)/tests
	@echo '  CC    $< for bfloat16x3'
	@$(CC) $(NEEDED) $(PLAIN_INLINE) $(CFLAGS) -DPARTS_OF_FLOAT=2 -Icompiler -Iruntime -Isupport -Itemplates -MMD -MP -c -o $@ $<

define BY_VECTORS
$(BUILD)/tests/%-$(1).o: tests/unit/%.c | $(BUILD)/tests
	@echo '  CC    $$< for $(1)'
	@$$(CC) $$(NEEDED) $$(PLAIN_INLINE) $$(CFLAGS) -march=$(1) -Icompiler -Iruntime -Isupport -Itemplates -MMD -MP -c -o $$@ $$<
endef
$(foreach march,$(VECTORS),$(eval $(call BY_VECTORS,$(march))))

$(BUILD)/tests/%.o: tests/fuzz/%.c | $(BUILD)/tests
	@echo '  CC    $<'
	@$(CC) $(NEEDED) $(CFLAGS) -Icompiler -Iruntime -Isupport -Itests/unit -Itests/fuzz -MMD -MP -c -o $@ $<

# Beside the tests of unit/: a library that these tests preload into programs, and what they share.
TORTURE = $(patsubst tests/torture/%.c,$(BUILD)/tests/%.o,$(filter-out %/inject.c,$(wildcard tests/torture/*.c)))
$(BUILD)/tests/%.o: tests/torture/%.c | $(BUILD)/tests
	@echo '  CC    $<'
	@$(CC) $(NEEDED) $(CFLAGS) -Isupport -Itests/unit -Itests/torture -MMD -MP -c -o $@ $<

$(BUILD)/tests/inject.so: tests/torture/inject.c tests/torture/families.h | $(BUILD)/tests
	@echo '  LD    $@'
	@$(CC) -std=c17 -D_GNU_SOURCE $(WARN) -g -shared -fPIC -o $@ $< -ldl

# The sample of generated C: a real model without a program around it. A copy of it, as the headers that lie beside it may be
# an older compiler's.
$(BUILD)/tests/tiny.o: generated/tiny/tiny.c $(wildcard templates/*.h runtime/amdim.h) | $(BUILD)/tests
	@echo '  CC    $<'
	@cp $< $(@:.o=.c)
	@$(CC) -std=c17 $(WARN) $(PLAIN_INLINE) $(CFLAGS) -Itemplates -Iruntime -c -o $@ $(@:.o=.c)

$(BUILD)/tests/test_damage: $(BUILD)/tests/tiny.o
$(BUILD)/tests/test_damage $(BUILD)/tests/test_torture $(BUILD)/tests/test_kills: $(TORTURE) | $(BUILD)/tests/inject.so
$(BUILD)/tests/test_fuzz: $(patsubst %,$(BUILD)/tests/%.o,draw spec_drawn spec_to_c holds)
$(BUILD)/tests/test_readers: $(patsubst %,$(BUILD)/tests/%.o,readers seeds holds)
$(BUILD)/tests/test_keys: WRAPPED = -Wl,--wrap=read_fields,--wrap=read_variant
$(TESTS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $(HELPERS) $(BUILD)/libamdimc.a $(BUILD)/libamdim.a
	@echo '  LD    $@'
	@$(CC) $(CFLAGS) $(LDFLAGS) $(WRAPPED) -pthread -o $@ $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(COMPILER_LIBS) \
		$(RUNTIME_LIBS)

$(BUILD)/tests/random_specs: $(patsubst %,$(BUILD)/tests/%.o,random_specs draw spec_drawn) $(HELPERS) \
		$(BUILD)/libamdimc.a $(BUILD)/libamdim.a
	@echo '  LD    $@'
	@$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^ -lcmocka $(COMPILER_LIBS) $(RUNTIME_LIBS)

$(BUILD)/tests/write_seeds: $(patsubst %,$(BUILD)/tests/%.o,write_seeds readers seeds holds) $(HELPERS) \
		$(BUILD)/libamdimc.a $(BUILD)/libamdim.a
	@echo '  LD    $@'
	@$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^ -lcmocka $(COMPILER_LIBS) $(RUNTIME_LIBS)

FUZZED = -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
$(BUILD)/tests/read_bytes: $(addprefix tests/fuzz/,read_bytes.c mend.c readers.c holds.c) tests/unit/toy_model.c \
		$(filter-out runtime/command/command.c,$(wildcard runtime/*.c runtime/*/*.c)) $(wildcard support/*.c) \
		$(wildcard runtime/*.h runtime/*/*.h support/*.h tests/fuzz/*.h) | $(BUILD)/tests
	@echo '  LD    $@'
	@$(CC) $(NEEDED) $(FUZZED) -Iruntime -Isupport -Itests/fuzz -Itests/unit -o $@ $(filter %.c,$^) $(RUNTIME_LIBS)

$(BUILD)/tests/spec_to_c: $(addprefix tests/fuzz/,spec_to_c.c mutate.c holds.c holds.h spec_drawn.c spec_drawn.h) \
		$(filter-out %/main.c %/command_line.c compiler/sweep/%,$(wildcard compiler/*.c compiler/*/*.c)) $(MESSAGES).c $(wildcard support/*.c) \
		$(wildcard compiler/*.h compiler/*/*.h) compiler/ir/ops.def | $(BUILD)/tests
	@echo '  LD    $@'
	@$(CC) $(NEEDED) $(FUZZED) -Icompiler -Isupport -Itemplates -I$(BUILD)/messages -Itests/fuzz \
		-o $@ $(filter %.c,$^) $(COMPILER_LIBS)

$(BUILD)/tests:
	@mkdir -p $@

install: all
	@tools/install install $(call quoted,$(DESTDIR)$(PREFIX)) $(BUILD) $(HEADER_LIBRARIES)

uninstall:
	@tools/install uninstall $(call quoted,$(DESTDIR)$(PREFIX))

format:
	clang-format -i compiler/*.[ch] compiler/*/*.[ch] runtime/*.[ch] runtime/*/*.[ch] support/*.[ch] templates/*.h tests/unit/*.c tests/unit/*.h \
		tests/fuzz/*.c tests/fuzz/*.h tests/bare/*.[ch] tests/library/*.[ch] bench/*.c

clean:
	rm -rf $(BUILD) build-asan build-tsan build-coverage

.PHONY: all help setup setup-cross setup-bare setup-mpi demo test test-cross test-bare bench bench-memory bench-ranks bench-bare bless asan tsan coverage tidy analyze torture fuzz install uninstall format clean
-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)

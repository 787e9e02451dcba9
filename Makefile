# Builds build/amdimc and the runtime library that its programs link. `make help` lists the targets.
CC       := clang
CFLAGS   ?= -O2 -g
WARN      = -Wall -Wextra -Wpedantic -Wshadow
NEEDED    = -std=c17 -D_GNU_SOURCE -pthread $(WARN)
BUILD    ?= build
PREFIX   ?= /usr/local

COMPILER  = $(patsubst compiler/%.c,$(BUILD)/compiler/%.o,$(wildcard compiler/*.c))
RUNTIME   = $(patsubst runtime/%.c,$(BUILD)/runtime/%.o,$(wildcard runtime/*.c))

all: $(BUILD)/amdimc $(BUILD)/libamdim.a

$(BUILD)/amdimc: $(COMPILER)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lyaml -lm

$(BUILD)/libamdim.a: $(RUNTIME)
	rm -f $@
	ar rcs $@ $^

$(BUILD)/compiler/%.o: compiler/%.c | $(BUILD)/compiler
	$(CC) $(NEEDED) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/runtime/%.o: runtime/%.c | $(BUILD)/runtime
	$(CC) $(NEEDED) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/compiler $(BUILD)/runtime:
	mkdir -p $@

-include $(wildcard $(BUILD)/compiler/*.d $(BUILD)/runtime/*.d)

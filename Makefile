# ppdb - an ordered key-value store in shared memory. `make help` lists what can be made.
#
# One set of rules builds every variant; VARIANT chooses the flags and the folder:
#   make                  build/           what is installed
#   make VARIANT=fault    build/fault/     the same with named fault points; the system tests run this one
#   make VARIANT=asan     build/asan/      also ubsan, tsan, fuzz (see "Variants")
# New files are found by wildcard: nothing needs to be added here for a new .c in a folder that exists.

VERSION := 0.1.0
RELEASED := 2026-11-25
SOVERSION := 0
PREFIX ?= /usr/local
DESTDIR ?=
VARIANT ?=
LTO ?= 0
# make fuzz: seconds a fuzzer; make unit|system|crash: FILTER='suite/test' as Criterion takes it; make bench|model|demo: ARGS
SECONDS ?= 60
# make soak: how long
MINUTES ?= 10
FILTER ?=
ARGS ?=

ifeq ($(origin CC),default)
CC := gcc
endif
CXX ?= g++
# All cores, unless clean is among the goals: then order matters. (Inner makes share the outer one's jobs.)
ifeq ($(MAKELEVEL)$(filter clean,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
V ?= 0
Q := $(if $(filter 0,$(V)),@)
say = @printf "  %-5s %s\n" $(1) $@
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

# --- Variants ---------------------------------------------------------------------------------------------------

B := build$(if $(VARIANT),/$(VARIANT))
O := build/obj/$(or $(VARIANT),release)

OPT_shm := -O2
OPT_engine := -O3
OPT_client := -O2
OPT_tools := -O2
OPT_tests := -O1

# A sanitizer's optimiser sees other paths than the plain one: its warnings do not count, its reports do.
SANITIZE_asan := -fsanitize=address
SANITIZE_ubsan := -fsanitize=undefined -fno-sanitize-recover=all
SANITIZE_tsan := -fsanitize=thread -Wno-tsan
SANITIZE_fuzz := -fsanitize=fuzzer-no-link,address
SANITIZE := $(SANITIZE_$(VARIANT))
ifneq ($(SANITIZE),)
SANITIZE += -fno-omit-frame-pointer -Wno-error
OPT_shm := -O1
OPT_engine := -O1
OPT_client := -O1
endif
ifeq ($(VARIANT),fuzz)
CC := clang
endif
FAULT := $(if $(filter fault asan ubsan tsan,$(VARIANT)),-DPP_FAULT=1)
# nocount: without counters and histograms, to measure what they cost (make overhead)
COUNT := $(if $(filter nocount,$(VARIANT)),-DPP_NO_COUNTERS=1)

# --- Flags ------------------------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wvla
PP_CFLAGS = -std=gnu11 -D_GNU_SOURCE -g -fPIC -fvisibility=hidden $(WARN) $(FAULT) $(COUNT) $(SANITIZE) $(LTOFLAGS) -I.
PP_LDFLAGS = -Wl,--as-needed -Wl,-z,relro,-z,now $(SANITIZE) $(LTOFLAGS)
LDLIBS = -luring -lnuma -lxxhash -lpthread -lm
AR := ar
ifeq ($(LTO),1)
LTOFLAGS := -flto=auto
RELOC_LTO := -flinker-output=nolto-rel
AR := gcc-ar
endif

# --- Sources ----------------------------------------------------------------------------------------------------

SRC_shm := $(wildcard shm/*.c)
SRC_engine := $(wildcard engine/*.c)
SRC_client := $(wildcard client/*.c)
SRC_ppdbd := $(wildcard tools/ppdbd*.c tools/daemon_*.c)
SRC_ppdb := $(wildcard tools/ppdb.c tools/cmd_*.c)
SRC_exporter := $(wildcard tools/exporter*.c)
# What is no program's own is everybody's.
SRC_shared := $(filter-out $(SRC_ppdbd) $(SRC_ppdb) $(SRC_exporter),$(wildcard tools/*.c))
SRC_lib := $(wildcard tests/lib/*.c)
PROGS := $(patsubst %.c,%,$(wildcard tests/progs/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
# Each of these folders is one Criterion binary.
SUITES := $(foreach s,unit system crash soak,$(if $(wildcard tests/$(s)/*.c),$(s)))
objects = $(patsubst %.c,$(O)/%.o,$(1))

SHM := $(B)/libpp-shm.a
ENGINE := $(B)/libpp-engine.a $(SHM)
CLIENT := $(B)/libpp-client.a $(ENGINE)
LAYERS := $(B)/libpp-tools.a $(CLIENT)
SO := $(B)/libppdb-client.so
LIBS := $(LAYERS) $(if $(SRC_client),$(SO) $(B)/libppdb-client.a)
# The exporter is left out where libmicrohttpd is not installed (`make deps` does that).
HTTPD := $(shell echo | $(CC) -include microhttpd.h -fsyntax-only -x c - 2>/dev/null && echo yes)
BINS := $(if $(SRC_ppdbd),$(B)/ppdbd) $(if $(wildcard tools/ppdb.c),$(B)/ppdb) $(if $(HTTPD),$(B)/ppdb-exporter)
POWER := $(if $(wildcard tests/power/*.c),$(B)/tests/power)
TESTS := $(SUITES:%=$(B)/tests/%) $(PROGS:%=$(B)/%) $(FUZZERS:%=$(B)/tests/fuzz/%) $(POWER)

.PHONY: all tests
all: $(LIBS) $(BINS) ## build the daemon, the command and the libraries (VARIANT=, LTO=1, V=1)
tests: all $(TESTS)

# --- Compile ----------------------------------------------------------------------------------------------------

# Stamps that change only when their text does: other flags (and <sys/sdt.h>, shm/probe.h) compile everything again, other files link everything again.
FLAGS_NOW = $(CC) $(wildcard /usr/include/sys/sdt.h /usr/include/*/sys/sdt.h) $(PP_CFLAGS) $(CFLAGS) $(OPT_shm) $(OPT_engine) $(OPT_client) $(OPT_tools) $(OPT_tests)
FILES_NOW = $(sort $(wildcard shm/*.c engine/*.c client/*.c tools/*.c tests/*/*.c))
stamp = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@
$(O)/flags: FORCE
	$(call stamp,$(FLAGS_NOW))
$(O)/files: FORCE
	$(call stamp,$(FILES_NOW))
FORCE:
inputs = $(filter %.o %.a,$^)
.PRECIOUS: $(O)/tests/progs/%.o $(O)/tests/fuzz/%.o $(O)/tests/fuzz/lib/%.o

# $(1) = top folder. -MMD writes the headers of each object beside it.
define compile
$$(O)/$(1)/%.o: $(1)/%.c $$(O)/flags
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(Q)$$(CC) $$(PP_CFLAGS) $$(OPT_$(1)) $$(EXTRA) $$(CFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach dir,shm engine client tools tests,$(eval $(call compile,$(dir))))
$(O)/tests/%.o: EXTRA = -Wno-shadow -Iclient -DPPDB_BUILD_DIR='"$(abspath $(B))"'
-include $(shell test -d $(O) && find $(O) -name '*.d')

# --- Libraries --------------------------------------------------------------------------------------------------

$(B)/libpp-shm.a: $(call objects,$(SRC_shm))
$(B)/libpp-engine.a: $(call objects,$(SRC_engine))
$(B)/libpp-client.a: $(call objects,$(SRC_client))
$(B)/libpp-tools.a: $(call objects,$(SRC_shared))
$(B)/libpp-%.a: $(O)/files
	@mkdir -p $(@D); rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $(inputs)

# Of the layers below only what the client uses: the daemon's half of the engine (it has threads) stays out.
LIB_OBJECTS := $(call objects,$(SRC_client)) $(B)/libpp-engine.a $(B)/libpp-shm.a
$(SO): $(LIB_OBJECTS) client/ppdb-client.map $(O)/files
	$(call say,LINK)
	$(Q)$(CC) -shared $(PP_LDFLAGS) $(LDFLAGS) -Wl,-soname,libppdb-client.so.$(SOVERSION) -Wl,-z,defs \
		-Wl,--version-script=client/ppdb-client.map -o $@ $(LIB_OBJECTS) $(LDLIBS)
	@ln -sf $(@F) $@.$(SOVERSION)

# One object in which only ppdb_* is visible, so that a program's own names never meet ours.
$(B)/libppdb-client.a: $(LIB_OBJECTS) $(O)/files
	$(call say,LINK)
	$(Q)$(CC) -r -nostdlib $(LTOFLAGS) $(RELOC_LTO) -o $(O)/ppdb-client.o $(LIB_OBJECTS)
	$(Q)objcopy --localize-hidden $(O)/ppdb-client.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $(O)/ppdb-client.o

# --- Programs ---------------------------------------------------------------------------------------------------

# The daemon gets no client code: it would have to link for that.
$(B)/ppdbd: $(call objects,$(SRC_ppdbd)) $(B)/libpp-tools.a $(ENGINE) $(O)/files
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) $(LDFLAGS) -o $@ $(inputs) $(LDLIBS)

# Only the command has a screen (ppdb top) and reads JSON (ppdb perf).
$(B)/ppdb: $(call objects,$(SRC_ppdb)) $(LAYERS) $(O)/files
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) $(LDFLAGS) -o $@ $(inputs) $(LDLIBS) -lncursesw -ltinfo -ljansson

# The only one with HTTP in it.
$(B)/ppdb-exporter: $(call objects,$(SRC_exporter)) $(LAYERS) $(O)/files
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) $(LDFLAGS) -o $@ $(inputs) $(LDLIBS) -lmicrohttpd

# What waits or asks for the time goes through the scheduler of tests/lib/sched.h.
WRAP := $(foreach f,clock_gettime nanosleep sched_yield syscall,-Wl,--wrap=$(f))
# Whole archives: the tests list all fault points there are, those of the daemon too.
define suite
$$(B)/tests/$(1): $$(call objects,$$(wildcard tests/$(1)/*.c) $$(SRC_lib)) $$(LAYERS) $$(O)/files
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(Q)$$(CC) $$(PP_LDFLAGS) $$(LDFLAGS) $$(WRAP) -o $$@ -Wl,--whole-archive $$(inputs) -Wl,--no-whole-archive -lcriterion $$(LDLIBS) -lm
endef
$(foreach s,$(SUITES),$(eval $(call suite,$(s))))

# The host's side of `make power`: a disk, what is left of it, and a judge. Nothing of the store is in it.
$(POWER): $(call objects,$(wildcard tests/power/*.c)) $(O)/files
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) $(LDFLAGS) -o $@ $(inputs)

# Real client programs: they see the public library and nothing else.
$(B)/tests/progs/%: $(O)/tests/progs/%.o $(SO)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/../..' -o $@ $< -L$(B) -lppdb-client -lpthread -lm

# Fuzz targets, with libFuzzer and with a main that replays files. They see the daemon's half of tools/ too.
$(B)/libpp-daemon.a: $(call objects,$(wildcard tools/daemon_*.c))
FUZZED := $(B)/libpp-daemon.a $(LAYERS)
$(B)/bin/%: $(O)/tests/fuzz/%.o $(FUZZED)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) -fsanitize=fuzzer,address -o $@ $(inputs) $(LDLIBS)

$(B)/tests/fuzz/%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/lib/replay.o $(FUZZED)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(PP_LDFLAGS) $(LDFLAGS) -o $@ $(inputs) $(LDLIBS)

# --- Tests ------------------------------------------------------------------------------------------------------

.PHONY: deps test unit system crash soak power numa asan ubsan tsan fuzz model bench overhead demo
AGAIN = @+$(MAKE) --no-print-directory
RUN = @.ci/suite $(if $(FILTER),--filter '$(FILTER)')

deps: ## install the Debian packages that are missing
	@.ci/install-deps build test

# Models that are searched in seconds, with all their mutants.
QUICK_MODELS := bell claim epoch_cut feed floor hint ring table wait
test: ## install what is missing, build, run the whole default suite
	@.ci/install-deps build test model browser
	$(AGAIN) tests layers
	$(AGAIN) VARIANT=fault tests
	@tests/model/run $(QUICK_MODELS)
	$(RUN) build:unit build/fault:unit:'@(fault*|sched)/*' build/fault:system build:soak

unit: ## the unit tests on the release build (FILTER='suite/test')
	@.ci/install-deps build test
	$(AGAIN) tests
	$(RUN) $(B):unit

crash: export PPDB_SUITE_TIMEOUT ?= 14400
system crash: ## the multi-process tests; kills at every instruction (both on the build with fault points)
	@.ci/install-deps build test
	$(AGAIN) VARIANT=fault tests
	$(RUN) build/fault:$@

numa: ## a guest with two NUMA nodes: where memory lies there (minutes)
	@.ci/install-deps build test power
	$(AGAIN) tests
	@PPDB_BUILD='$(abspath $(B))' tests/numa/run $(ARGS)

power: ## guests whose power goes at random moments, every disk judged (minutes; ARGS="--boots N --cuts N")
	@.ci/install-deps build test power
	$(AGAIN) tests
	$(AGAIN) VARIANT=fault tests
	@PPDB_BUILD='$(abspath $(B))' tests/power/run $(ARGS)

soak: ## MINUTES= of mixed load with kills, stops, restarts, full arena and disk; nothing may leak; plots in build/soak
	@.ci/install-deps build test soak
	$(AGAIN) tests
	@PPDB_SOAK_MINUTES='$(MINUTES)' PPDB_SUITE_TIMEOUT="$$(awk 'BEGIN { print int(600 + 180 * $(MINUTES)) }')" .ci/suite $(B):soak; \
		status=$$?; tests/soak/plot.sh $(B)/soak; exit $$status

asan ubsan: ## unit and system tests under AddressSanitizer; under UBSan
	@.ci/install-deps build test
	$(AGAIN) VARIANT=$@ tests
	$(RUN) build/$@:unit build/$@:system

tsan: ## unit tests (threads in one process) under ThreadSanitizer
	@.ci/install-deps build test
	$(AGAIN) VARIANT=$@ build/tsan/tests/unit
	$(RUN) build/$@:unit

fuzz: ## every fuzzer for SECONDS= each
	@.ci/install-deps build fuzz
	$(AGAIN) VARIANT=fuzz $(FUZZERS:%=build/fuzz/bin/%) $(if $(FUZZERS),,build/fuzz/libpp-shm.a)
	@.ci/fuzz build/fuzz '$(SECONDS)' $(FUZZERS)

model: ## check the protocol models and that their mutants are caught
	@.ci/install-deps model
	@tests/model/run $(ARGS)

bench: ## the figures of docs/benchmarks.md (ARGS= goes to bench/run)
	@.ci/install-deps build bench
	$(AGAIN) all
	@PPDB_BUILD='$(abspath $(B))' CC='$(CC)' bench/run $(ARGS)

overhead: ## what counters and histograms cost a get and a visible put: this build beside one without them, in turns
	@.ci/install-deps build
	$(AGAIN) all
	$(AGAIN) VARIANT=nocount all
	@PPDB_BUILD='$(abspath $(B))' CC='$(CC)' bench/overhead/run $(ARGS)

demo: ## writers, readers, a killed client and a killed daemon on real data, verified
	@.ci/install-deps build demo
	$(AGAIN) tests
	@PPDB_BUILD='$(abspath $(B))' tools/demo.sh $(ARGS)

# --- Checks -----------------------------------------------------------------------------------------------------

.PHONY: lint layers format docs
lint: ## barrier pairs, include layering, file shape, public header
	@CC='$(CC)' CXX='$(CXX)' .ci/lint

layers: all ## prove at link time that each layer needs only those below it
	@CC='$(CC)' LINK='$(PP_LDFLAGS)' LDLIBS='$(LDLIBS)' .ci/layers $(B)

format: ## clang-format the whole tree
	@.ci/install-deps lint
	clang-format -i $(wildcard $(foreach d,shm engine client tools bench tests/*,$(d)/*.[ch]))

docs: $(B)/man ## make the man pages (build/man), check that every link in the documentation leads somewhere
	@.ci/lint-links

$(B)/man: docs/make-man client/ppdb.h $(BINS)
	$(call say,MAN)
	@rm -rf $@
	$(Q)docs/make-man $(B) $@ $(VERSION) $(RELEASED)

# --- Install ----------------------------------------------------------------------------------------------------

.PHONY: install uninstall clean help
AT := $(DESTDIR)$(PREFIX)
COMPLETIONS := $(AT)/share/bash-completion/completions
install: all $(B)/man ## install below DESTDIR and PREFIX (/usr/local)
	install -d '$(AT)/bin' '$(AT)/lib/pkgconfig' '$(AT)/include'
	install -m 755 $(BINS) '$(AT)/bin'
	install -m 755 $(SO) '$(AT)/lib/libppdb-client.so.$(VERSION)'
	ln -sf libppdb-client.so.$(VERSION) '$(AT)/lib/libppdb-client.so.$(SOVERSION)'
	ln -sf libppdb-client.so.$(SOVERSION) '$(AT)/lib/libppdb-client.so'
	install -m 644 $(B)/libppdb-client.a '$(AT)/lib'
	install -m 644 client/ppdb.h '$(AT)/include'
	for s in 1 3 8; do install -d "$(AT)/share/man/man$$s" && cp -RP $(B)/man/man$$s/* "$(AT)/share/man/man$$s"; done
	install -d '$(AT)/share/ppdb/monitoring' '$(COMPLETIONS)'
	install -m 644 tools/completion/ppdb.bash '$(COMPLETIONS)/ppdb'
	ln -sf ppdb '$(COMPLETIONS)/ppdbd'
	ln -sf ppdb '$(COMPLETIONS)/ppdb-exporter'
	install -m 644 tools/monitoring/* '$(AT)/share/ppdb/monitoring'
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' client/ppdb-client.pc.in \
		> '$(AT)/lib/pkgconfig/ppdb-client.pc'

uninstall: ## remove what install put there
	rm -f $(foreach b,ppdbd ppdb ppdb-exporter,'$(AT)/bin/$(b)') '$(AT)/include/ppdb.h' '$(AT)/lib/pkgconfig/ppdb-client.pc'
	rm -f '$(AT)/lib/'libppdb-client.a '$(AT)/lib/'libppdb-client.so*
	rm -f $(foreach b,ppdbd ppdb ppdb-exporter,'$(COMPLETIONS)/$(b)')
	rm -rf '$(AT)/share/ppdb' '$(AT)/share/man/man1/'ppdb.1 '$(AT)/share/man/man1/'ppdb-*.1 '$(AT)/share/man/man3/'ppdb[-_]*.3 '$(AT)/share/man/man8/'ppdb*.8

clean: ## remove build/
	rm -rf build

help: ## this list
	@echo 'make TARGET:'
	@sed -n 's/^\([a-z][a-z ]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{printf "  %-14s %s\n", $$1, $$2}'

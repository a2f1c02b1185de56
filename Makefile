# Unstuck: make, make demo, make test, make install; make help names all. Switches: V=1 shows
# commands, DEV=1 makes warnings errors, SAN=address,undefined and CC=clang build side by side; FAIL=1 is the build that
# tests make fail at will (common/failpoint.h).

VERSION  := $(shell cat VERSION)
PREFIX   ?= /usr/local
BUILD    ?= build$(if $(DEV),/dev)$(if $(SAN),/san)$(if $(FAIL),/fail)$(if $(findstring clang,$(CC)),/clang)
# One name for one place: what a compiler notes about headers goes by the name.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))

PKGS     := libpq libevent_core libevent_extra jansson inih smartcols hiredis
CFLAGS   ?= -O2 -g
ALL_CPPFLAGS = -D_GNU_SOURCE -DUNSTUCK_VERSION='"$(VERSION)"' $(if $(FAIL),-DUNSTUCK_FAILPOINTS) -Icommon -I$(BUILD)/gen $(PKG_CFLAGS) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu17 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla \
             -fno-common -fstack-protector-strong -MMD -MP $(if $(DEV),-Werror) \
             $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer) $(CFLAGS)
ALL_LDFLAGS = $(if $(SAN),-fsanitize=$(SAN)) -Wl,--as-needed $(LDFLAGS)

LDLIBS     = -lm
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)
need_pkgs  = $(if $(PKG_LIBS),,$(error missing packages: $(PKGS) or pkg-config itself; run make deps))

PROGRAMS := unstuck-worker unstuck-recover unstuckctl
SCDOC    := $(shell command -v scdoc 2>/dev/null)
objs      = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(1)/*.c))
lib_objs  = $(filter-out %/main.o,$(call objs,$(1)))
say       = $(if $(V),,@echo "  $(1) $(2)";)

.PHONY: all man tests deps demo bench test check valgrind chaos mutants model fuzz fuzz-programs lint docs install uninstall clean help
all: $(PROGRAMS:%=$(BUILD)/%) $(if $(SCDOC),man)
	@:

$(BUILD)/unstuck-worker:  $(BUILD)/obj/worker/main.o  $(BUILD)/libworker.a  $(BUILD)/libcommon.a
$(BUILD)/unstuck-recover: $(BUILD)/obj/recover/main.o $(BUILD)/librecover.a $(BUILD)/libcommon.a
$(BUILD)/unstuckctl:      $(BUILD)/obj/ctl/main.o     $(BUILD)/libctl.a     $(BUILD)/libcommon.a
$(PROGRAMS:%=$(BUILD)/%):
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)

$(BUILD)/libcommon.a: $(call objs,common) $(BUILD)/obj/gen/sqltext.o
$(BUILD)/libworker.a: $(call lib_objs,worker) $(BUILD)/obj/gen/page.o
$(BUILD)/librecover.a: $(call lib_objs,recover)
$(BUILD)/libctl.a: $(call lib_objs,ctl)
$(BUILD)/lib%.a:
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/gen/sqltext.c: sql/embed.awk $(wildcard sql/*.sql)
	@mkdir -p $(@D)
	$(call say,GEN,$@)awk -f sql/embed.awk $(wildcard sql/*.sql) > $@.new && mv $@.new $@
$(BUILD)/gen/page.c: worker/embed.sh worker/page.html
	@mkdir -p $(@D)
	$(call say,GEN,$@)worker/embed.sh worker/page.html > $@.new && mv $@.new $@
$(BUILD)/obj/gen/page.o: ALL_CPPFLAGS += -Iworker
$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<
$(BUILD)/obj/%.o: %.c
	$(need_pkgs)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# docs/man/NAME.SECTION.scd, filled with the tables by the program whose page it is, or by any: see scripts/print_manual.c.
PAGES    := $(patsubst docs/man/%.scd,$(BUILD)/man/%,$(wildcard docs/man/*.scd))
PRINTERS := $(PROGRAMS:%=$(BUILD)/man/print-%)
printer   = $(BUILD)/man/print-$(if $(filter $*,$(PROGRAMS:%=%.1)),$(basename $*),unstuckctl)
need_scdoc = $(if $(SCDOC),,$(error the manual needs scdoc; run make deps))
man: $(PAGES)
	@:
$(BUILD)/man/print-unstuck-worker:  $(BUILD)/obj/worker/main.o  $(BUILD)/libworker.a
$(BUILD)/man/print-unstuck-recover: $(BUILD)/obj/recover/main.o $(BUILD)/librecover.a
$(BUILD)/man/print-unstuckctl:      $(BUILD)/obj/ctl/main.o     $(BUILD)/libctl.a
$(PRINTERS): $(BUILD)/man/print-%: $(BUILD)/obj/scripts/print_manual.o $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -Wl,--wrap=cli_parse -o $@ \
		$(filter %.o,$^) $(filter-out %/libcommon.a,$(filter %.a,$^)) $(BUILD)/libcommon.a $(PKG_LIBS) $(LDLIBS)
$(PAGES): $(BUILD)/man/%: docs/man/%.scd scripts/man.awk $(PRINTERS)
	$(need_scdoc)
	$(call say,MAN,$@)$(printer) $< > $@.scd && scdoc < $@.scd > $@.roff && awk -f scripts/man.awk $@.roff > $@.new && mv $@.new $@

# Tests: tests/test_x.c (units) and tests/it_x.c (stories), each one Check program.
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c tests/it_*.c))
# What tests give work to: the example in C, and handlers of their own.
HANDLERS := $(patsubst %.c,$(BUILD)/%,$(wildcard examples/handlers/*.c tests/handlers/*.c))
$(HANDLERS): $(BUILD)/%: $(BUILD)/obj/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)
# The worker of another version, for the test of an update.
$(BUILD)/obj/next/version.o: common/version.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(ALL_CPPFLAGS) -UUNSTUCK_VERSION -DUNSTUCK_VERSION='"$(VERSION)+next"' $(ALL_CFLAGS) -c -o $@ $<
$(BUILD)/next/unstuck-worker: $(BUILD)/obj/worker/main.o $(BUILD)/obj/next/version.o $(BUILD)/libworker.a $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
# Libraries that tests preload into our programs, without what sanitizers would put into them.
PRELOADS := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/preload/*.c))
$(PRELOADS): $(BUILD)/%.so: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) -D_GNU_SOURCE -std=gnu17 -Wall -Wextra $(if $(DEV),-Werror) -O2 -g -shared -fPIC -o $@ $<
tests: $(TESTS) $(HANDLERS) $(PRELOADS) $(BUILD)/next/unstuck-worker
	@:
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BUILD)/libsupport.a $(BUILD)/libworker.a $(BUILD)/librecover.a $(BUILD)/libctl.a $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS) $(CHECK_LIBS)
$(BUILD)/obj/tests/%.o: ALL_CPPFLAGS += -Itests/support -Itests/chaos -Iworker -Irecover -Ictl
$(BUILD)/libsupport.a: $(call objs,tests/support) $(call objs,tests/chaos)
.SECONDARY:

# Deps first, then a make of its own: pkg-config is asked again.
DEPS     ?= yes
jobs      = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
again     = +@$(MAKE) --no-print-directory $(jobs) BUILD=$(BUILD)
# The programs that a test can make fail at each step.
build_fail = +@$(MAKE) --no-print-directory $(jobs) FAIL=1 BUILD=$(BUILD)/fail all
get_deps  = @$(if $(filter no,$(DEPS)),true,scripts/deps.sh $(1))

deps:
	@scripts/deps.sh

demo:
	$(call get_deps,build run)
	$(again) all
	@BUILD=$(abspath $(BUILD)) scripts/demo.sh

# bench/x.c with a main() of its own each, but for what all share. WORK=a, or WORK="a d", runs single works.
BENCH := $(patsubst %.c,$(BUILD)/%,$(filter-out bench/must.c bench/must_pg.c bench/layout.c,$(wildcard bench/*.c)))
BENCH_SHARED := must must_pg layout
$(BUILD)/libbench.a: $(BENCH_SHARED:%=$(BUILD)/obj/bench/%.o)
$(BENCH): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(BUILD)/libbench.a
$(BUILD)/bench/child: $(BUILD)/libworker.a $(BUILD)/libcommon.a
$(BUILD)/obj/bench/child.o: ALL_CPPFLAGS += -Iworker
$(BENCH):
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
bench:
	$(call get_deps,build run)
	$(again) all $(BENCH)
	@BUILD=$(abspath $(BUILD)) bench/run $(WORK)

# Sanitizers make all slower, and a finding has to end a program with a status that no test expects.
test check:
	$(call get_deps,build man run test)
	$(again) all tests
	$(build_fail)
	@UNSTUCK_BUILD=$(abspath $(BUILD)) UNSTUCK_SOURCE=$(CURDIR) CK_TIMEOUT_MULTIPLIER=$(if $(SAN),5,2) \
		ASAN_OPTIONS=exitcode=99:detect_leaks=1 UBSAN_OPTIONS=exitcode=99:halt_on_error=1:print_stacktrace=1 \
		tests/run $(TESTS)

# The units under memcheck. Where vfork() is only a fork() some cannot run: they have that tag.
UNIT_TESTS := $(filter $(BUILD)/tests/test_%,$(TESTS))
valgrind:
	$(call get_deps,build run test mem)
	$(again) $(UNIT_TESTS) $(HANDLERS)
	@UNSTUCK_BUILD=$(abspath $(BUILD)) UNSTUCK_SOURCE=$(CURDIR) CK_TIMEOUT_MULTIPLIER=20 CK_EXCLUDE_TAGS=vfork TEST_PROGRAM_LIMIT=1800 \
		TEST_UNDER="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite" \
		tests/run $(UNIT_TESTS)

# A storm of faults, and the judge (tests/it_chaos.c): the same seed, the same storm, as far as the machine allows.
# FAULTS="term, server crash": only these. BEAT: the heartbeat in milliseconds.
SEED    ?= 1
SECONDS ?= 60
LANES   ?= 8
BEAT    ?= 100
chaos:
	$(call get_deps,build run test)
	$(again) all tests
	@UNSTUCK_BUILD=$(abspath $(BUILD)) UNSTUCK_SOURCE=$(CURDIR) CK_TIMEOUT_MULTIPLIER=$(if $(SAN),5,2) \
		CK_RUN_CASE=storm CHAOS_SEED=$(SEED) CHAOS_SECONDS=$(SECONDS) CHAOS_LANES=$(LANES) CHAOS_FAULTS="$(FAULTS)" CHAOS_BEAT=$(BEAT) \
		$(BUILD)/tests/it_chaos
# MUTANT=name tries one.
mutants:
	$(call get_deps,build run test)
	$(again) all tests
	@tests/chaos/mutants/run $(BUILD) $(MUTANT)

# WIDE=wide searches larger bounds too: minutes more.
model:
	$(call get_deps,build model)
	@tests/model/run $(BUILD)/model $(WIDE)

# tests/fuzz/x.c are libFuzzer's targets; each runs FUZZ_SECONDS. Everything below them is built again for that.
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))
$(BUILD)/obj/tests/fuzz/%.o: ALL_CPPFLAGS += -Iworker
$(FUZZ): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/libworker.a $(BUILD)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS) $(LDLIBS)
fuzz-programs: $(FUZZ)
	@:
fuzz:
	$(call get_deps,build lint fuzz)
	+@$(MAKE) --no-print-directory $(jobs) BUILD=$(BUILD)/fuzzing CC=clang SAN=fuzzer-no-link,address,undefined fuzz-programs
	@tests/fuzz/run $(BUILD)/fuzzing $(FUZZ:$(BUILD)/%=$(BUILD)/fuzzing/%)

lint:
	$(call get_deps,build test lint)
	@tests/layers.sh
	@tests/lint.sh $(ALL_CPPFLAGS) -std=gnu17 -Itests/support -Itests/chaos -Iworker -Irecover -Ictl

$(BUILD)/print_settings: $(BUILD)/obj/scripts/print_settings.o $(BUILD)/libcommon.a
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
$(BUILD)/print_metrics: $(BUILD)/obj/scripts/print_metrics.o $(BUILD)/libworker.a $(BUILD)/libcommon.a
	$(call say,LD,$@)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(LDLIBS)
$(BUILD)/obj/scripts/print_metrics.o: ALL_CPPFLAGS += -Iworker
docs: $(BUILD)/print_settings $(BUILD)/print_metrics
	$(BUILD)/print_settings > docs/settings.md.new && mv docs/settings.md.new docs/settings.md
	$(BUILD)/print_metrics > docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md

# What is installed where; the files of the schedulers name the programs by their full path.
BIN      = $(DESTDIR)$(PREFIX)/bin
SHARE    = $(DESTDIR)$(PREFIX)/share/unstuck
DOC      = $(DESTDIR)$(PREFIX)/share/doc/unstuck
LIB      = $(DESTDIR)$(PREFIX)/lib
MAN      = $(DESTDIR)$(PREFIX)/share/man
COMPLETE = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
SCHED   := $(filter-out %.c %.h %.service %.timer,$(wildcard cron/* worker/*.conf))
UNITS   := $(wildcard cron/*.service cron/*.timer worker/*.service)
install: all
	install -d $(BIN) $(SHARE)/sql $(DOC)
	install $(PROGRAMS:%=$(BUILD)/%) $(BIN)
	install -m 644 $(wildcard sql/schema.sql sql/roles.sql) $(SHARE)/sql
	for file in $(SCHED); do \
		sed 's|/usr/local/|$(PREFIX)/|g' $$file > $(SHARE)/$${file##*/} && chmod 644 $(SHARE)/$${file##*/} || exit 1; \
	done
	install -d $(LIB)/systemd/system $(LIB)/sysusers.d $(LIB)/tmpfiles.d
	for file in $(UNITS); do \
		sed 's|/usr/local/|$(PREFIX)/|g' $$file > $(LIB)/systemd/system/$${file##*/} && \
		chmod 644 $(LIB)/systemd/system/$${file##*/} || exit 1; \
	done
	install -m 644 worker/unstuck.sysusers $(LIB)/sysusers.d/unstuck.conf
	install -m 644 worker/unstuck.tmpfiles $(LIB)/tmpfiles.d/unstuck.conf
	install -m 644 $(wildcard README.md docs/*.md docs/*.json docs/*.yml) $(DOC)
	install -d $(COMPLETE)
	for program in $(PROGRAMS); do install -m 644 scripts/completion.bash $(COMPLETE)/$$program || exit 1; done
ifneq ($(SCDOC),)
	for page in $(PAGES); do install -D -m 644 $$page $(MAN)/man$${page##*.}/$${page##*/} || exit 1; done
else
	@echo "the manual is left out: it needs scdoc, which make deps installs"
endif
uninstall:
	rm -f $(PROGRAMS:%=$(BIN)/%) $(PROGRAMS:%=$(COMPLETE)/%)
	for page in $(PAGES); do rm -f $(MAN)/man$${page##*.}/$${page##*/}; done
	rm -f $(addprefix $(LIB)/systemd/system/,$(notdir $(UNITS)))
	rm -f $(LIB)/sysusers.d/unstuck.conf $(LIB)/tmpfiles.d/unstuck.conf
	rm -rf $(SHARE) $(DOC)

clean:
	rm -rf build

help:
	@echo "make            build unstuck-worker, unstuck-recover and unstuckctl into build/"
	@echo "make demo       see it work on a private PostgreSQL, under a minute"
	@echo "make bench      measure it against the floor, under ten minutes; WORK=a runs that work alone"
	@echo "make test       build and run all tests (make check is the same)"
	@echo "make valgrind   the unit tests under memcheck, some minutes; leaks are errors"

	@echo "make chaos      a storm of faults and a judge, SEED=1 SECONDS=60 LANES=8 (workers, at most 8)"
	@echo "make mutants    broken programs, which that judge has to catch; minutes"
	@echo "make model      check the model of the protocol and its mutants; WIDE=wide takes minutes more"
	@echo "make fuzz       hostile bytes for every parser, FUZZ_SECONDS (60) each"
	@echo "make deps       install what packages.txt lists (Debian and its relatives)"
	@echo "make lint       clang-tidy, shellcheck, and who may include whom"
	@echo "make man        the manual pages, into build/man/; make does it too where scdoc is there"
	@echo "make docs       write docs/settings.md and docs/metrics.md from their tables"
	@echo "make install    to \$$(DESTDIR)\$$(PREFIX), $(PREFIX) by default; make uninstall takes it away"

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

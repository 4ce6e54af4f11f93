# The commands that people type. Each is one script or one call of Meson; the build itself is meson.build.

PYTHON = /usr/bin/python3
# Test peers that tools/peers/ only unpacks into build/, since their packages would take over the machine's mail.
UNPACKED = cyrus-imapd sasl2-bin courier-imap courier-authlib-userdb gamin nginx libnginx-mod-mail exim4-daemon-light libnss-wrapper fail2ban

.DEFAULT_GOAL = all
.PHONY: all run test test-long coverage fuzz format check docs install clean help

all: ## install what is missing (Debian), then build build/usher
	@tools/deps/install.sh build
	@tools/build.sh release

run: ## build, then show usher at work between two servers of its own
	@tools/deps/install.sh build run
	@tools/build.sh release
	@$(PYTHON) -B tools/demo/run.py --usher build/release/usher

test: ## all tests and gates, as CI runs them
	@tools/deps/install.sh build test run
	@tools/deps/install.sh --known $(UNPACKED)
	@$(PYTHON) -B tools/test_all.py

test-long: ## the same, with the integration tests that take long, and more fuzzing
	@tools/deps/install.sh build test run
	@tools/deps/install.sh --known $(UNPACKED)
	@{ command -v node && command -v npm; } >/dev/null || tools/deps/install.sh long
	@$(PYTHON) -B tools/test_all.py --long

check: ## only the gates: layers, sizes, layout, static analysis, generated pages
	@tools/deps/install.sh build test
	@$(PYTHON) -B tools/test_all.py --only gates

fuzz: ## each fuzz target for ten minutes
	@tools/deps/install.sh build test
	@$(PYTHON) -B tools/test_all.py --only fuzz --fuzz-seconds 600

coverage: ## which lines the tests reach: build/coverage/index.html
	@tools/deps/install.sh build test run
	@tools/deps/install.sh --known $(UNPACKED)
	@tools/coverage.sh all

format: ## lay the C sources out
	@tools/deps/install.sh test
	@tools/format.sh

docs: ## write docs/reference/ from src/tables/
	@tools/deps/install.sh build
	@tools/build.sh release --quiet
	@tools/gendoc.sh build/release/gendoc

install: ## install what is built (DESTDIR=... for packagers)
	@meson install -C build/release --no-rebuild

clean: ## remove all that was built
	rm -rf build

help: ## this list
	@sed -nE 's/^([a-z-]+):.* ## (.*)/  make \1\t\2/p' Makefile | expand -t 20

# The Teredo suite. "make help" lists the targets.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR    ?=
FUZZTIME   ?= 30s

# Version that the programs report when they are built outside of a git checkout: make VERSION=v1.2.3
VERSION ?=

export CGO_ENABLED = 0

# Adds the folders of ip and nft, which an ordinary user's PATH often lacks.
export PATH := $(PATH):/usr/sbin:/sbin

MODULE   := github.com/teredo-suite/teredo
PROGRAMS := teredo-client teredo-server teredo-relay
LDFLAGS  := $(if $(VERSION),-X $(MODULE)/internal/cli.version=$(VERSION))
GOBUILD  := go build -trimpath -ldflags '$(LDFLAGS)'

# Other systems that the programs are built for.
SYSTEMS := windows/amd64 windows/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64 openbsd/amd64 openbsd/arm64 \
	netbsd/amd64 netbsd/arm64 linux/arm64 linux/arm linux/mipsle linux/riscv64

# If git cannot read the tree (a copy, or another user's), the build records no commit.
ifneq ($(shell git rev-parse --verify --quiet HEAD >/dev/null 2>&1 && echo yes),yes)
GOBUILD += -buildvcs=false
endif

# Commands that the integration tests call, each with its Debian package.
TOOLS := ip:iproute2 nft:nftables miredo:miredo miredo-server:miredo-server tshark:tshark tcpdump:tcpdump \
	iperf3:iperf3 curl:curl ping:iputils-ping sysctl:procps setcap:libcap2-bin miniupnpd:miniupnpd-nftables ethtool:ethtool \
	named:bind9 dig:bind9-dnsutils radvd:radvd dnsmasq:dnsmasq-base prometheus:prometheus shellcheck:shellcheck \
	chromium:chromium nsenter:util-linux socat:socat setpriv:util-linux bird:bird2 vtysh:frr

.DEFAULT_GOAL := build
.PHONY: build test test-windows test-vm cross generate deps demo bench bench-quick screenshots lint fuzz install package image test-package release clean help check-go

build: check-go ## build the programs into bin/
	@echo "building bin/"
	@$(GOBUILD) -o bin/ ./cmd/...

test: deps build lint ## run every check and test; as root, install the tools they need first
	@echo "testing packages"
	@go test -count=1 -timeout 10m $$(go list ./... | grep -v -e '/integration$$' -e '/integration/many$$' -e '/integration/windows$$')
	@$(MAKE) --no-print-directory fuzz FUZZTIME=10000x
	@echo "testing with the real kernel and Miredo (takes a few minutes)"
	@go test -count=1 -timeout 20m -p 1 -skip '^TestMachine' ./integration ./integration/many

# What make cross checks. Programs and libraries are compiled and vetted for the systems of VETTED, and their types are checked for
# all SYSTEMS, from the sources, which takes a tenth of the time. On an idle machine that is about five minutes the first time.
VETTED := windows/amd64 darwin/arm64 linux/mipsle

cross: check-go ## check programs and libraries for all other systems, and build them for some
	@go run ./integration/crosscheck $(SYSTEMS)
	@for system in $(VETTED); do \
		echo "building and vetting for $$system"; \
		export GOOS=$${system%/*} GOARCH=$${system#*/}; \
		go vet ./... && go build -o /dev/null ./cmd/... || exit 1; \
	done

test-windows: TOOLS := ip:iproute2 nft:nftables sysctl:procps curl:curl mmdebstrap:mmdebstrap
test-windows: deps check-go ## run the programs for Windows in Wine, as root; the first time makes a folder with Wine (1 GB)
	@echo "testing the programs for Windows"
	@TEREDO_TEST_WINDOWS=1 go test -count=1 -timeout 40m ./integration/windows

MACHINES := trixie bookworm
test-vm: TOOLS += mmdebstrap:mmdebstrap qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mke2fs:e2fsprogs
test-vm: deps check-go ## test the packages in virtual machines with Debian, as root; the first time makes their disks (2 GB)
	@for suite in $(MACHINES); do sh integration/machine/image.sh $$suite >/dev/null || exit 1; done
	@packages=$$(mktemp -d); trap 'rm -rf "$$packages"' EXIT; trap 'exit 1' HUP INT TERM; \
	echo "making packages of two versions"; \
	for version in old:v0.0.0-0 new:v0.0.0-1; do (cd contrib/package && VERSION=$${version#*:} \
		go run . -platforms linux/amd64 -formats deb -out "$$packages/$${version%:*}") || exit 1; done; \
	echo "testing in virtual machines (takes ten minutes on two idle processors)"; \
	TEREDO_TEST_PACKAGES="$$packages" TEREDO_TEST_IMAGE_trixie="$$(sh integration/machine/image.sh trixie)" \
	TEREDO_TEST_IMAGE_bookworm="$$(sh integration/machine/image.sh bookworm)" \
	CI=true go test -count=1 -v -timeout 120m -run '^TestMachine' ./integration

generate: ## compile the eBPF programs (internal/kernelpath); as root on Debian, install clang first
	@{ command -v clang-16 && command -v llvm-strip-16; } >/dev/null || apt-get install -q -y --no-install-recommends clang-16 llvm-16 libbpf-dev linux-libc-dev
	@C_INCLUDE_PATH=/usr/include/$$(uname -m)-linux-gnu go generate ./internal/kernelpath

deps: ## install the Debian packages of missing test tools (as root)
	@missing=; for tool in $(TOOLS); do \
		command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "missing:$$missing; some tests need these packages; install them, or run as root on Debian" >&2; \
		exit 0; \
	fi; \
	echo "installing$$missing (apt-get, about a minute)"; \
	log=$$(mktemp); policy=/usr/sbin/policy-rc.d; \
	if [ -e $$policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; fi; \
	trap 'rm -f $$log $$policy' EXIT; trap 'exit 1' HUP INT TERM; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ apt-get update -q && \
	  apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 $$missing; } </dev/null >$$log 2>&1 || \
	{ tail -n 20 $$log >&2; echo "installing$$missing failed" >&2; exit 1; }

demo: TOOLS := ip:iproute2 nft:nftables ping:iputils-ping sysctl:procps
demo: deps build ## show a client behind a NAT that gets IPv6, in network namespaces
	@$(GOBUILD) -o bin/teredo-demo ./integration/demo
	@bin/teredo-demo

bench: deps build ## compare with Miredo, as root (about 65 minutes); writes docs/bench/ and the tables of docs/scale.md
	@$(GOBUILD) -o bin/teredo-bench ./integration/bench
	@bin/teredo-bench $(BENCHFLAGS)
	@go test -count=1 -run '^TestScale$$' ./tunnel -update

bench-quick: BENCHFLAGS := -quick -out docs/bench/quick
bench-quick: bench ## the same, less precise, in under four minutes

screenshots: deps ## make the pictures of the web page in docs/pictures, as root (three minutes)
	@mkdir -p docs/pictures
	@go test -count=1 -run '^TestPictures$$' ./integration -pictures $(CURDIR)/docs/pictures

lint: check-go ## run gofmt, go vet and staticcheck
	@echo "checking format, vet, staticcheck"
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:" $$unformatted >&2; exit 1; fi
	@go vet ./...
	@go tool staticcheck ./...

fuzz: check-go ## run each fuzz target for FUZZTIME (default 30s; 10000x means 10000 runs)
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's|/[^/]*:func | |' | sort | { failed=; \
		while read -r package target; do \
			echo "fuzzing $$package $$target for $(FUZZTIME)"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1000x $$package </dev/null || failed=1; \
		done; [ -z "$$failed" ]; }

install: ## install programs and units below PREFIX (/usr/local); packagers set DESTDIR
	@for program in $(PROGRAMS); do \
		[ -x bin/$$program ] || { echo "bin/$$program is not built: run make build first" >&2; exit 1; }; \
	done
	@install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d \
		$(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d \
		$(DESTDIR)$(PREFIX)/share/teredo $(DESTDIR)$(SYSCONFDIR)/teredo $(DESTDIR)$(SYSCONFDIR)/NetworkManager/conf.d
	@for program in $(PROGRAMS); do \
		install -m 755 bin/$$program $(DESTDIR)$(PREFIX)/bin/ && \
		sed 's|/usr/bin/|$(PREFIX)/bin/|' contrib/systemd/$$program.service \
			>$(DESTDIR)$(PREFIX)/lib/systemd/system/$$program.service && \
		bin/$$program man >$(DESTDIR)$(PREFIX)/share/man/man8/$$program.8 && \
		bin/$$program sample >$(DESTDIR)$(SYSCONFDIR)/teredo/$${program#teredo-}.toml.sample && \
		bin/$$program completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$program && \
		bin/$$program completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$$program && \
		bin/$$program completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$program.fish || exit 1; \
	done
	@install -m 644 contrib/systemd/teredo.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/teredo.conf
	@install -m 644 contrib/systemd/teredo-server-relay.conf $(DESTDIR)$(PREFIX)/share/teredo/
	@install -m 644 contrib/NetworkManager/90-teredo.conf $(DESTDIR)$(SYSCONFDIR)/NetworkManager/conf.d/
	@echo "installed below $(DESTDIR)$(PREFIX); to use the units, run: systemd-sysusers && systemctl daemon-reload"

package: FORMATS := deb rpm apk archlinux archive
package: check-go ## make packages, archives, checksums and an SBOM in dist/
	@echo "making packages in dist/"
	@cd contrib/package && VERSION='$(VERSION)' go run . -platforms 'linux/amd64 $(SYSTEMS)' -formats '$(FORMATS)'

image: check-go ## make dist/teredo-client-image.tar, which Docker and Podman load
	@echo "making dist/teredo-client-image.tar"
	@cd contrib/package && VERSION='$(VERSION)' go run ./image

test-package: TOOLS := lintian:lintian rpm:rpm pacman:pacman-package-manager mandoc:mandoc man:man-db bash:bash zsh:zsh fish:fish \
	ip:iproute2 curl:curl bwrap:bubblewrap chroot:coreutils unshare:util-linux
test-package: deps check-go ## test packages, manual pages and completions, as root with dpkg, rpm and pacman
	@echo "testing installation"
	@cd contrib/package && go vet ./... && go test -count=1 -timeout 20m ./...

release: test test-package package ## run all tests, then make everything that a release has

clean: ## remove bin/ and dist/
	@rm -rf bin dist

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 13

check-go:
	@command -v go >/dev/null || { \
		echo "go is not on PATH: install Go (https://go.dev/dl/), or add its folder to PATH" >&2; exit 1; }
	@need=$$(sed -n 's/^go 1\.\([0-9]*\).*/\1/p' go.mod); have=$$(go version) || exit 1; \
	minor=$$(echo "$$have" | sed -n 's/.* go1\.\([0-9]*\).*/\1/p'); \
	if [ -n "$$minor" ] && [ "$$minor" -lt "$$need" ]; then \
		echo "$$have is too old: Go 1.$$need or later is needed (https://go.dev/dl/)" >&2; exit 1; fi

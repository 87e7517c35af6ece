# make run      build bin/atelier and open the studio (without a display: make one picture)
# make test     every test            make race   the same under the race detector
# make bench    the speed table       make lint   gofmt, vet, staticcheck
# make windows  bin/atelier.exe by mingw-w64

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO      := go

# The processor's vector registers by simd/archsimd (compute/host/vector); without it the same functions run as plain Go.
export GOEXPERIMENT := simd

.PHONY: run build test race bench lint windows clean
run: build
	@bin/atelier

build:
	@.ci/deps build
	@mkdir -p bin
	$(GO) build -ldflags "$(LDFLAGS)" -o bin/atelier ./app

test: build
	@.ci/deps test
	$(GO) vet ./...
	$(GO) test -timeout 25m ./...

race: build
	@.ci/deps test
	$(GO) test -race -timeout 60m ./...

bench: build
	@bin/atelier bench

lint:
	@.ci/deps build
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

windows:
	@.ci/deps windows
	@mkdir -p bin
	CGO_ENABLED=1 GOOS=windows GOARCH=amd64 CC=x86_64-w64-mingw32-gcc $(GO) build -trimpath -ldflags "$(LDFLAGS) -H windowsgui" -o bin/atelier.exe ./app

clean:
	rm -rf bin

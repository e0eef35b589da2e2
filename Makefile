# What there is to do here: `make` lists it.
#
# Every target that builds asks for `setup`, which is quick when everything is there.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests demo build test lint bench bench-demo bench-peers bench-tracks soak-memory soak-reload gpu-test gpu-bench gpu-cameras bench-live bench-outage clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building needs: FFmpeg, clang, ONNX Runtime (listed before it is installed)
	@tools/setup.sh

setup-tests:
	@tools/setup.sh tests

demo: build ## Run the junction on synthetic cameras and say where its page is
	$(or $(CARGO_TARGET_DIR),target)/release/flowrun run graphs/junction.kdl --root models --listen 127.0.0.1:8080+

build: setup ## Build the release binary, target/release/flowrun
	$(CARGO) build --release --locked

test: setup-tests ## Install what tests need, and run all of them
	$(CARGO) test --workspace --locked

lint: setup ## Check format, clippy and, where cargo-deny is installed, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo "lint: licences and advisories were not checked: cargo install --locked cargo-deny"; fi

bench: setup ## Measure the dataflow on rows, and whole pipelines
	$(CARGO) bench --locked --bench rows --bench pipeline --bench reload

bench-demo: setup ## Measure the demo model, tracker and line on cameras that training has not seen
	$(CARGO) bench --locked --bench demo

bench-peers: setup ## Measure beside other tools on the same clip
	tools/bench-peers.sh loop

bench-tracks: setup ## Hold the tracker to Ultralytics' own on recorded detections
	tools/bench-peers.sh tracks

gpu-test: setup ## Compare all that runs on a GPU with the same on the processor; says `no CUDA device` where there is none
	$(CARGO) test --release --locked -p flowrun-engine -p flowrun-operators --lib gpu -- --nocapture

gpu-bench: setup ## Measure detection on a GPU beside PyTorch, in one table: make gpu-bench MODEL=yolo11n.onnx
	@FLOWRUN_GPU_MODEL=$(abspath $(MODEL)) $(CARGO) bench --locked --bench gpu
	@python3 tools/gpu-peers.py || echo "gpu-bench: no peers: PyTorch is not there"

bench-live: setup ## Measure how late the demo's detections are while it is watched
	$(CARGO) bench --locked --bench live

gpu-cameras: setup ## Measure how many cameras a GPU carries, and NVDEC here beside FFmpeg: make gpu-cameras CLIPS="a.mp4" MODEL=yolo11n.onnx
	@FLOWRUN_GPU_CLIPS="$(abspath $(CLIPS))" FLOWRUN_GPU_MODEL=$(abspath $(MODEL)) $(CARGO) bench --locked --bench gpu_cameras

bench-outage: setup-tests ## Measure whether a network camera that goes away holds up the others
	$(CARGO) bench --locked --bench outage

soak-memory: setup ## Show that memory does not grow with time
	$(CARGO) bench --locked --bench memory

soak-reload: setup-tests ## Edit a running graph of 64 cameras once a second for ten minutes
	FLOWRUN_SOAK_SECONDS=600 $(CARGO) test --release --locked --test reload soak -- --nocapture

clean: ## Remove what was built and what setup put under .deps/
	$(CARGO) clean
	rm -rf .deps

#!/usr/bin/env bash
# Brings what building needs: the system's FFmpeg and clang, and ONNX Runtime under .deps/. With the word `tests` also what
# the tests bring together with flowrun: a real RTSP server, a real browser and players.
# Quick when everything is there, and then it needs neither the network nor root. Asked for by the
# Makefile's other targets. Installs nothing without having listed it first.
set -euo pipefail
cd "$(dirname "$0")/.."

# gcc links, clang tells bindgen what FFmpeg's headers mean, ffmpeg brings ffprobe for the tests.
packages=(
    make gcc libc6-dev pkg-config clang libclang-dev
    libavcodec-dev libavformat-dev libavutil-dev libswscale-dev ffmpeg
    python3 python3-venv
)
# With `tests`, for those of network cameras: GStreamer's RTSP server, and its encoders (x264 is in ugly, x265 in bad).
test_packages=(
    python3-gi gir1.2-gst-rtsp-server-1.0
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
)
# The oldest that the pinned ffmpeg-next builds against (FFmpeg 5.1).
libraries=("libavcodec >= 59.37" "libavformat >= 59.27" "libavutil >= 57.28" "libswscale >= 6.7")

stop() {
    echo "setup: $*" >&2
    exit 1
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

system_packages() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        command -v pkg-config >/dev/null || stop "install pkg-config, clang and FFmpeg's development files (5.1 or newer), then run this again"
        for library in "${libraries[@]}"; do
            pkg-config --exists "$library" || stop "pkg-config finds no $library; install FFmpeg's development files (5.1 or newer), then run this again"
        done
        return
    fi
    local missing=() package
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "setup: going to install these packages with apt-get: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            stop "not root, and there is no sudo. As root run:
    apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}"
        fi
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update --quiet
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
}

# What those tests need that are skipped without it. Other distributions' chromium is no package of theirs, or a snap.
tested_with() {
    packages+=("${test_packages[@]}")
    command -v npm >/dev/null || packages+=(nodejs npm)
    if grep -q '^ID=debian$' /etc/os-release 2>/dev/null; then
        command -v google-chrome >/dev/null || packages+=(chromium)
    fi
}

players() {
    local from=tests/browser
    if ! command -v npm >/dev/null || cmp -s "$from/package-lock.json" "$from/node_modules/installed"; then
        return
    fi
    echo "setup: fetching into $from/node_modules what $from/package.json names"
    if (cd "$from" && npm ci --silent --no-audit --no-fund --ignore-scripts); then
        cp "$from/package-lock.json" "$from/node_modules/installed"
    else
        echo "setup: npm could not fetch them: tests that need a browser will be skipped" >&2
    fi
}

rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        stop "there is no Rust; install it with
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain $wanted"
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
        stop "rustc is $found and $wanted is needed; bring it up to date with
    rustup update stable && rustup default stable"
    fi
}

# The library is in the Python wheel; the wheel for one Python serves all, since only the library is
# taken out of it. pip refuses a wheel whose SHA-256 is not the committed one.
onnxruntime() {
    local pin=tools/onnxruntime.txt into=.deps/onnxruntime
    if [ -n "${ORT_DYLIB_PATH:-}" ]; then
        echo "setup: ORT_DYLIB_PATH is set, so ONNX Runtime is taken from $ORT_DYLIB_PATH"
        return
    fi
    if cmp -s "$pin" "$into/installed" && [ -e "$into/lib/libonnxruntime.so" ]; then
        return
    fi
    local machine
    machine=$(uname -m)
    case "$machine" in
        x86_64 | aarch64) ;;
        *) stop "there is no pinned ONNX Runtime for $machine; set ORT_DYLIB_PATH to a libonnxruntime.so of 1.17 or newer" ;;
    esac
    echo "setup: fetching ONNX Runtime ($(sed -n 's/^onnxruntime==\([0-9.]*\).*/\1/p' "$pin"), about 28 MB) into $into"
    mkdir -p .deps
    [ -x .deps/python/bin/pip ] || python3 -m venv --clear .deps/python ||
        stop "python3 cannot make a virtual environment; install python3-venv"
    rm -rf .deps/wheel "$into"
    .deps/python/bin/pip download --quiet --disable-pip-version-check --dest .deps/wheel --require-hashes \
        --no-deps --only-binary=:all: --implementation cp --python-version 3.12 \
        --platform "manylinux_2_28_$machine" --requirement "$pin" ||
        stop "ONNX Runtime could not be fetched; with the network back run this again, or set ORT_DYLIB_PATH to a libonnxruntime.so of 1.17 or newer"
    mkdir -p "$into/lib"
    .deps/python/bin/python - .deps/wheel "$into" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheels, into = map(pathlib.Path, sys.argv[1:])
(wheel,) = wheels.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        base = name.rsplit("/", 1)[-1]
        if name.startswith("onnxruntime/capi/libonnxruntime.so."):
            target = into / "lib" / base
            (into / "lib" / "libonnxruntime.so").symlink_to(base)
        elif name in ("onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"):
            target = into / base
        else:
            continue
        with archive.open(name) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
PYTHON
    [ -e "$into/lib/libonnxruntime.so" ] || stop "the wheel of ONNX Runtime holds no libonnxruntime.so"
    rm -rf .deps/wheel
    cp "$pin" "$into/installed"
}

[ "${1:-}" != tests ] || tested_with
system_packages
rust
onnxruntime
[ "${1:-}" != tests ] || players

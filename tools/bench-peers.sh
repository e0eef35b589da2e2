#!/usr/bin/env bash
# Measures flowrun beside Ultralytics: `loop` on the same clip, model and threads (bench_peers.py says what exactly),
# `tracks` on the same recorded detections (bench_tracks.py). Brings Ultralytics into .deps/peers first, several
# gigabytes with a CUDA build of torch. Fails when something cannot be run, never on what is measured.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${FLOWRUN_DATA:-../shared/data}
clip=$data/video/intel_car-detection.mp4
model=$data/models/yolo11n-coco.onnx
reference=$data/golden/track_bytetrack_bgslibrary_video02.avi.json
case ${1:-loop} in
    loop) needed=("$clip" "$model") run=(tools/bench_peers.py --clip "$clip" --model "$model") ;;
    tracks) needed=("$reference") run=(tools/bench_tracks.py --reference "$reference") ;;
    *) echo "error: \`$1\` is neither loop nor tracks" >&2 && exit 2 ;;
esac
for file in "${needed[@]}"; do
    if [ ! -e "$file" ]; then
        echo "skipped: no reference data"
        exit 0
    fi
done

pin=tools/peers.txt into=.deps/peers
if ! cmp -s "$pin" "$into/installed"; then
    echo "bench-peers: fetching into $into what $pin names, and what that needs"
    python3 -m venv --clear "$into"
    "$into/bin/pip" install --quiet --disable-pip-version-check --requirement "$pin"
    cp "$pin" "$into/installed"
fi

"${CARGO:-cargo}" build --release --locked --bin flowrun
exec "$into/bin/python" "${run[@]}" --flowrun "${CARGO_TARGET_DIR:-target}/release/flowrun"

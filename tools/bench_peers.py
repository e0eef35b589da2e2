"""Measures flowrun and Ultralytics on the same clip, ONNX file and number of threads, one after the other.

Both decode the clip, detect (score 0.25, IoU 0.45, 300 boxes at most, 640x640), follow with ByteTrack as
bytetrack.yaml has it, and write one JSON object a track and frame. Both run ONNX Runtime on the host's processor
with the same intra-op threads. Other threads are what each tool makes of the machine: flowrun decodes and
letterboxes while the model runs; Ultralytics takes one frame after the other.

Runs alternate, A B A B, after one of each that does not count. Of each run:

    loop fps   flowrun: frames / the time its summary gives, which begins when the model is loaded and warm and
               ends when all is written. Ultralytics: the frames after the first / the time after the first, so
               that loading, warming up and the tracker's import are left out there too.
    whole fps  frames / the time from starting the process to its end, for both.
    CPU s      user and system time of the process.
    peak MiB   the most memory that was resident (wait4's ru_maxrss). "less CUDA" is without the pages of CUDA
               libraries, which a CPU build of torch does not have; they are counted at the end of the loop.

The table has the medians, and flowrun's as a multiple of Ultralytics'.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SCORE, IOU, MOST, SIDE = 0.25, 0.45, 300, 640

GRAPH = """
model yolo {model} provider=cpu
cameras clip {{ file road {clip} pace=max; }}
flow vehicles from=clip {{
    detect yolo min-score={score} iou={iou} max={most} threads={threads}
    track as=tracks
}}
write {{ jsonl {rows} from=vehicles.tracks; }}
"""


def ultralytics(arguments):
    """One run of the other side, in a process of its own: prints what it measured as JSON."""
    import onnxruntime
    import torch

    torch.set_num_threads(arguments.threads)
    open_session = onnxruntime.InferenceSession.__init__

    def with_threads(session, model, options=None, *rest, **named):
        options = options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        open_session(session, model, options, *rest, **named)

    # Ultralytics has no parameter for it.
    onnxruntime.InferenceSession.__init__ = with_threads
    from ultralytics import YOLO

    frames, rows, began = 0, 0, None
    with open(arguments.rows, "w", encoding="utf-8") as out:
        model = YOLO(arguments.model, task="detect")
        results = model.track(
            arguments.clip, stream=True, persist=True, tracker="bytetrack.yaml", conf=SCORE, iou=IOU, imgsz=SIDE,
            max_det=MOST, device="cpu", verbose=False,
        )
        for result in results:
            began = began or time.perf_counter()
            boxes = result.boxes
            if boxes.id is not None:
                columns = boxes.id.int().tolist(), boxes.cls.int().tolist(), boxes.conf.tolist(), boxes.xyxy.tolist()
                for track, label, score, box in zip(*columns):
                    row = {"frame": frames, "track": track, "class": result.names[label], "score": score, "box": box}
                    out.write(json.dumps(row) + "\n")
                    rows += 1
            frames += 1
    loop_s = time.perf_counter() - began
    print(json.dumps({"frames": frames, "rows": rows, "loop_fps": (frames - 1) / loop_s, "cuda_mib": cuda_mib()}))


def cuda_mib():
    """Resident pages of CUDA libraries in this process."""
    total, counts = 0, False
    with open("/proc/self/smaps", encoding="utf-8") as smaps:
        for line in smaps:
            fields = line.split()
            if "-" in fields[0] and len(fields) >= 5:
                path = " ".join(fields[5:])
                counts = "/nvidia/" in path or "libtorch_cuda" in path or "libc10_cuda" in path
            elif counts and fields[0] == "Rss:":
                total += int(fields[1])
    return total / 1024


def child(command, environment):
    """Runs a process to its end: what it said, its wall and CPU seconds, and its peak memory in MiB."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=complained, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in said, complained:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if process.returncode != 0:
        sys.exit(f"error: {command[0]} ended with {process.returncode}\n{texts[0]}{texts[1]}")
    numbers = {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}
    return *texts, numbers


def run_ultralytics(arguments, threads, folder):
    command = [
        sys.executable, __file__, "--ultralytics", "--clip", arguments.clip, "--model", arguments.model,
        "--threads", str(threads), "--rows", str(folder / "ultralytics.jsonl"),
    ]
    environment = {
        "OMP_NUM_THREADS": str(threads), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder),
    }
    out, _, numbers = child(command, environment)
    numbers.update(json.loads(out.strip().splitlines()[-1]))
    numbers["lean_mib"] = numbers["peak_mib"] - numbers["cuda_mib"]
    return numbers


def run_flowrun(arguments, threads, folder):
    rows, graph = folder / "flowrun.jsonl", folder / "graph.kdl"
    quoted = {name: json.dumps(str(pathlib.Path(path).resolve()))
              for name, path in (("model", arguments.model), ("clip", arguments.clip), ("rows", rows))}
    graph.write_text(GRAPH.format(score=SCORE, iou=IOU, most=MOST, threads=threads, **quoted), encoding="utf-8")
    _, complaints, numbers = child([arguments.flowrun, "run", "--root", "/", str(graph)], {"FLOWRUN_LOG": "warn"})
    lines = complaints.splitlines()
    # "12.34 s" opens the summary; "road ADMITTED ANSWERED ..." is the camera's line.
    elapsed_s = next(float(line[:-2]) for line in lines if line.endswith(" s") and line[:-2].replace(".", "").isdigit())
    admitted, answered = next(line.split()[1:3] for line in lines if line.split()[:1] == ["road"])
    if admitted != answered:
        sys.exit(f"error: flowrun admitted {admitted} frames and answered {answered}")
    numbers["frames"] = int(answered)
    numbers["rows"] = sum(1 for _ in rows.open(encoding="utf-8"))
    numbers["loop_fps"] = numbers["frames"] / elapsed_s
    numbers["lean_mib"] = numbers["peak_mib"]
    return numbers


def compare(arguments, threads, folder):
    sides = {"flowrun": run_flowrun, "Ultralytics": run_ultralytics}
    runs = {name: [] for name in sides}
    for number in range(arguments.rounds + 1):
        for name, run in sides.items():
            numbers = run(arguments, threads, folder)
            numbers["whole_fps"] = numbers["frames"] / numbers["wall_s"]
            counted = "warm-up" if number == 0 else f"round {number}"
            print(
                f"  {counted}: {name:<12}{numbers['loop_fps']:6.2f} loop fps  {numbers['cpu_s']:6.1f} CPU s"
                f"  {numbers['peak_mib']:7.1f} MiB",
                flush=True,
            )
            if number > 0:
                runs[name].append(numbers)
    median = {name: {key: statistics.median(run[key] for run in of) for key in of[0]} for name, of in runs.items()}
    columns = [
        ("frames", "frames", ".0f"), ("track rows", "rows", ".0f"), ("loop fps", "loop_fps", ".2f"),
        ("whole fps", "whole_fps", ".2f"), ("CPU s", "cpu_s", ".1f"), ("peak MiB", "peak_mib", ".1f"),
        ("less CUDA", "lean_mib", ".1f"),
    ]
    print(f"\nthreads={threads}, medians of {arguments.rounds}")
    print(f"  {'':<12}" + "".join(f"{title:>12}" for title, _, _ in columns))
    for name in sides:
        print(f"  {name:<12}" + "".join(f"{median[name][key]:>12{form}}" for _, key, form in columns))
    ratios = (median["flowrun"][key] / max(median["Ultralytics"][key], 1e-9) for _, key, _ in columns)
    print(f"  {'ratio':<12}" + "".join(f"{ratio:>12.2f}" for ratio in ratios) + "\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Measures flowrun beside Ultralytics.")
    parser.add_argument("--clip", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--flowrun")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("FLOWRUN_BENCH_ROUNDS", "3")))
    parser.add_argument("--ultralytics", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rows", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ultralytics:
        return ultralytics(arguments)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f}: other work on the machine disturbs both sides")
    with tempfile.TemporaryDirectory() as folder:
        for threads in (1, 2):
            compare(arguments, threads, pathlib.Path(folder))


if __name__ == "__main__":
    main()

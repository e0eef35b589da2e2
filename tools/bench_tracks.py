"""Holds flowrun's tracker to Ultralytics' BYTETracker on the same detections, row by row.

The recorded reference holds, of each frame, detections and the tracks that BYTETracker made of them. Its detections are
rounded to three decimals and its tracks are not: where a score lies within a rounding of a threshold, nobody can find
the recorded tracks again from the recorded detections, BYTETracker least of all. So three are compared, by pairs:

    recorded   the reference's tracks
    peer       BYTETracker, run here on the reference's detections as they stand
    flowrun    `rows` and `track`, run here on the same numbers

A row agrees when the other side has a box of its frame with an overlap above 0.98, and when these two identities have
met each other before or are both new. What agrees is counted against the longer of the two lists of each frame, so that
rows too few and rows too many both cost. "alike" counts rows whose identity is the same number and whose box is within
0.01 pixel: no renaming.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types

GRAPH = """
cameras clip {{ rows road {detections} type=detection frames={frames}; }}
flow vehicles from=clip {{ track as=tracks; }}
write {{ jsonl {tracks} from=vehicles.tracks; }}
"""


def peer(reference, folder):
    """BYTETracker's rows: of each frame identity and box."""
    # It keeps settings, and would ask the network for news.
    os.environ.update(YOLO_CONFIG_DIR=str(folder), YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    import numpy
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.byte_tracker import BYTETracker

    tracker = BYTETracker(types.SimpleNamespace(**reference["cfg"]))
    found = []
    for frame in reference["frames"]:
        detections = numpy.array(frame["dets"], dtype=numpy.float32).reshape(-1, 6)
        rows = tracker.update(Boxes(detections, (240, 320)))
        found.append([(int(row[4]), [float(side) for side in row[:4]]) for row in rows])
    return found


def flowrun(binary, reference, folder):
    """flowrun's rows, of the same detections."""
    detections, tracks, graph = folder / "detections.jsonl", folder / "tracks.jsonl", folder / "graph.kdl"
    with detections.open("w", encoding="utf-8") as out:
        for number, frame in enumerate(reference["frames"]):
            for row in frame["dets"]:
                out.write(json.dumps({"frame": number, "class": f"{row[5]:.0f}", "score": row[4], "box": row[:4]}) + "\n")
    frames = len(reference["frames"])
    names = {"detections": json.dumps(str(detections)), "tracks": json.dumps(str(tracks))}
    graph.write_text(GRAPH.format(frames=frames, **names), encoding="utf-8")
    subprocess.run([binary, "run", "--root", "/", str(graph)], check=True, stderr=subprocess.DEVNULL)
    found = [[] for _ in range(frames)]
    with tracks.open(encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            found[row["frame"]].append((row["track"], row["box"]))
    return found


def overlap(a, b):
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return width * height / (area(a) + area(b) - width * height)


def compare(ours, theirs):
    """Rows in all, those that agree up to renaming, those alike to the number and to 0.01 pixel."""
    rows = agree = alike = 0
    forth, back = {}, {}
    for mine, others in zip(ours, theirs, strict=True):
        rows += max(len(mine), len(others))
        numbered = dict(mine)
        for identity, box in others:
            same = numbered.get(identity)
            alike += same is not None and max(abs(a - b) for a, b in zip(same, box)) <= 0.01
            best = max(mine, key=lambda row: overlap(row[1], box), default=None)
            if best is not None and overlap(best[1], box) > 0.98:
                met = forth.setdefault(identity, best[0]) == best[0]
                agree += (back.setdefault(best[0], identity) == identity) and met
    return rows, agree, alike


def main():
    parser = argparse.ArgumentParser(description="Holds flowrun's tracker to Ultralytics' BYTETracker.")
    parser.add_argument("--reference", required=True, help="recorded detections and tracks")
    parser.add_argument("--flowrun", required=True)
    arguments = parser.parse_args()
    reference = json.loads(pathlib.Path(arguments.reference).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "recorded": [[(row[4], row[:4]) for row in frame["tracks"]] for frame in reference["frames"]],
            "peer": peer(reference, folder),
            "flowrun": flowrun(arguments.flowrun, reference, pathlib.Path(folder)),
        }
    print(", ".join(f"{name} {sum(map(len, side))} rows" for name, side in sides.items()))
    for left, right in (("peer", "recorded"), ("flowrun", "recorded"), ("flowrun", "peer")):
        rows, agree, alike = compare(sides[left], sides[right])
        print(f"{left + ' and ' + right:<22}{100 * agree / rows:7.2f} % of {rows} rows agree, {100 * alike / rows:.2f} % alike")


if __name__ == "__main__":
    sys.exit(main())

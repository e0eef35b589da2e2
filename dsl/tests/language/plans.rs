//! Graphs that compile, and what becomes of them.

use insta::assert_snapshot;

use crate::{JUNCTION, compile, explained, findings};

#[test]
fn the_junction() {
    assert_snapshot!(findings(JUNCTION), @r"
    a plan, and
    warning[flowrun::zone-not-everywhere]: the polygon `box` does not lie on every picture
      19 |     visit  zones=box as=visits
         |                  ^^^ not on south, east
         = for these cameras `vehicles.visits` never sees it
    warning[flowrun::zone-not-everywhere]: the line `stop` does not lie on every picture
      20 |     cross  lines=stop from=tracks as=crossings
         |                  ^^^^ not on south, east
         = for these cameras `vehicles.crossings` never sees it
    ");
    assert_snapshot!(explained(JUNCTION), @r"
    cameras
      junction.north = rtsp url=rtsp://10.0.0.11/main user=env.CAM_USER password=env.CAM_PASSWORD fps=15 lateness=150ms priority=high -> frames
      junction.south = file path=clips/south.mp4 at-end=loop fps=15 lateness=150ms -> frames
      junction.east = synthetic scene=junction seed=7 fps=10 lateness=150ms -> frames
    models
      yolo11n = models/yolo11n.onnx names=coco.yaml
    zones
      box = polygon of 4 corners on north
      stop = line out/in on north
    vehicles
      vehicles.detect = detect(frames: junction) model=yolo11n max=100 classes=car,bus,truck -> detections for north, south, east
        for north: min-score=0.4
      vehicles.tracks = track(detections: vehicles.detect) -> tracks for north, south, east
      vehicles.visits = visit(tracks: vehicles.tracks) zones=box -> visits for north, south, east
      vehicles.crossings = cross(tracks: vehicles.tracks) lines=stop -> crossings for north, south, east
    waiting
      waiting = query(rows: vehicles.visits) -> table rows for north, south, east
        where zone = 'box' and dwell > '5s'
        window 1m every 1s, retained 1h
        group by camera
        vehicles = count(distinct track)
        longest = max(dwell)
    write.jsonl
      write.jsonl = jsonl(rows: vehicles.crossings) path=out/crossings.jsonl for north, south, east
    write.jsonl.2
      write.jsonl.2 = jsonl(rows: *.errors) path=out/errors.jsonl for north, south, east
    ");
}

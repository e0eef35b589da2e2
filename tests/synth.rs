//! `flowrun synth`: labelled pictures in the folders that YOLO trainers read, the same for the same seed.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use support::{Folder, Said, flowrun, said};

fn synth(folder: &Folder, out: &str, options: &[&str]) -> Said {
    let mut command = flowrun();
    command
        .arg("synth")
        .args(["--images", "70", "--size", "128x72"])
        .args(options);
    said(command.arg("--out").arg(folder.path(out)).output().unwrap())
}

#[test]
fn pictures_and_labels_are_those_of_the_seed() {
    let folder = Folder::new();
    let first = synth(&folder, "a", &["--seed", "3"]);
    assert_eq!((first.code, first.out.as_str()), (Some(0), ""), "{}", first.err);
    assert!(first.err.contains("70 of 70 pictures"), "{}", first.err);
    assert_eq!(synth(&folder, "b", &["--seed", "3"]).code, Some(0));
    let names = folder.names();
    let of = |set: &str, end: &str| {
        names
            .iter()
            .filter(|name| name.starts_with(set) && name.ends_with(end))
            .count()
    };
    // 64 of one camera to learn from, six of the next to validate on.
    assert_eq!((of("a/images/train/", ".jpg"), of("a/images/val/", ".jpg")), (64, 6));
    let (mut boxes, mut classes) = (0, std::collections::BTreeSet::new());
    for name in names.iter().filter_map(|name| name.strip_prefix("a/")) {
        let bytes = |set: &str| std::fs::read(folder.path(&format!("{set}/{name}"))).unwrap();
        assert!(bytes("a") == bytes("b"), "{name}");
        let Some(label) = name.strip_prefix("images/").and_then(|name| name.strip_suffix(".jpg")) else {
            continue;
        };
        assert_eq!(bytes("a")[..2], [0xff, 0xd8], "{name} is a JPEG");
        for line in folder.read(&format!("a/labels/{label}.txt")).lines() {
            let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let [class, x, y, width, height] = numbers[..] else {
                panic!("{line}")
            };
            let inside =
                |middle: f64, side: f64| side > 0.0 && middle - side / 2.0 > -1e-5 && middle + side / 2.0 < 1.0 + 1e-5;
            assert!(inside(x, width) && inside(y, height), "{name}: {line}");
            classes.insert(class as u32);
            boxes += 1;
        }
    }
    assert!(
        boxes > 700 && classes.len() >= 5 && classes.iter().all(|class| *class < 6),
        "{boxes} boxes of {classes:?}"
    );
    let data = folder.read("a/data.yaml");
    assert!(data.contains("val: images/val") && data.contains("  2: car"), "{data}");
    assert_eq!(synth(&folder, "c", &["--seed", "4"]).code, Some(0));
    assert_eq!(
        folder.names().iter().filter(|name| name.contains("400000-000")).count(),
        2,
        "another seed, other cameras"
    );
}

#[test]
fn what_is_hidden_gets_no_label() {
    let folder = Folder::new();
    assert_eq!(synth(&folder, "some", &["--light", "day"]).code, Some(0));
    assert_eq!(
        synth(&folder, "all", &["--light", "day", "--min-visible", "0"]).code,
        Some(0)
    );
    let labels = |set: &str| -> usize {
        let names = folder.names();
        let files = names.iter().filter(|name| name.starts_with(&format!("{set}/labels")));
        files.map(|name| folder.read(name).lines().count()).sum()
    };
    assert!(
        labels("some") < labels("all"),
        "{} of {}",
        labels("some"),
        labels("all")
    );
}

#[test]
fn wrong_options_are_refused_before_anything_is_drawn() {
    let folder = Folder::new();
    folder.write("full/kept.txt", "kept");
    for (out, options, words) in [
        ("full", &["--seed", "1"][..], "not an empty folder"),
        ("new", &["--min-visible", "2"], "--min-visible"),
        ("new", &["--density", "-1"], "--density"),
        ("new", &["--size", "127x72"], "127x72"),
    ] {
        let mut command = flowrun();
        command.args(["synth", "--images", "2", "--out"]).arg(folder.path(out));
        let options: Vec<String> = options
            .chunks(2)
            .map(|pair| format!("{}={}", pair[0], pair[1]))
            .collect();
        let said = said(command.args(options).output().unwrap());
        assert_eq!(said.code, Some(2), "{words}: {}", said.err);
        assert!(said.err.contains(words) && said.err.contains("error: "), "{}", said.err);
    }
    assert_eq!(folder.names(), ["full/kept.txt"]);
}

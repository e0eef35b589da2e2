//! What graphs touch.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use flowrun_dsl::plan::Reach;
use flowrun_dsl::system::{Anything, System};
use flowrun_dsl::{SourceFile, compile_with, include};
use insta::assert_snapshot;

use crate::{JUNCTION, catalogue, source};

fn reach_in(text: &str, system: &dyn System) -> Result<Reach, String> {
    let root = Path::new("/graphs");
    let whole: SourceFile = include(source(text), root, system).map_err(|refused| refused.1.to_text(&refused.0))?;
    let compiled = compile_with(&whole, root, &*catalogue::CATALOGUE, system).map_err(|found| found.to_text(&whole))?;
    Ok(Reach::of(&compiled.plan, &whole, &*catalogue::CATALOGUE))
}

fn reach(text: &str) -> Reach {
    reach_in(text, &Cameras::default()).unwrap()
}

fn beyond(new: &str, running: &str) -> String {
    let touches = reach(new).beyond(&reach(running));
    touches.iter().map(|touch| format!("{touch}\n")).collect()
}

/// Every file is there and holds a camera of its own.
#[derive(Default)]
struct Cameras {
    asked: RefCell<Vec<PathBuf>>,
}

impl System for Cameras {
    fn exists(&self, path: &Path) -> bool {
        self.asked.borrow_mut().push(path.to_owned());
        !path.ends_with("missing.mp4")
    }
    fn allows(&self, path: &Path) -> bool {
        self.asked.borrow_mut().push(path.to_owned());
        true
    }
    fn read(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        self.asked.borrow_mut().push(path.to_owned());
        let name = path.file_stem().unwrap().to_str().unwrap();
        Ok(format!("cameras of-{name} {{ synthetic {name}; }}").into_bytes())
    }
}

#[test]
fn all_that_a_graph_names_is_found() {
    let graph = format!(
        "{JUNCTION}\ninclude \"sites/west.kdl\"\nserver token=env.TOKEN\npublish {{ sse \"/events\" from=waiting; }}"
    );
    assert_snapshot!(beyond(&graph, "cameras g { synthetic a; }"), @r"
    the path `clips/south.mp4` (`path` of camera `south`)
    the path `coco.yaml` (`names` of model `yolo11n`)
    the path `models/yolo11n.onnx` (the file of model `yolo11n`)
    the path `out/crossings.jsonl` (`path` of `write.jsonl`)
    the path `out/errors.jsonl` (`path` of `write.jsonl.2`)
    the path `sites/west.kdl` (an `include`)
    the environment variable `CAM_PASSWORD` (`password` of camera `north`)
    the environment variable `CAM_USER` (`user` of camera `north`)
    the environment variable `TOKEN` (`token` of the server)
    ");
}

#[test]
fn an_edit_within_the_same_reach_names_nothing_new() {
    let edited = JUNCTION
        .replace("fps=15", "fps=20")
        .replace("\"clips/south.mp4\"", "\"./clips/./south.mp4\"")
        .replace("file south", "file elsewhere")
        .replace("jsonl \"out/errors.jsonl\" from=\"*.errors\";", "");
    assert_eq!(beyond(&edited, JUNCTION), "");
    assert_eq!(reach(JUNCTION), reach(JUNCTION));
}

#[test]
fn what_an_edit_touches_anew_is_named_with_who_names_it() {
    let edited = JUNCTION
        .replace("clips/south.mp4", "clips/../../secret.mp4")
        .replace("env.CAM_PASSWORD", "env.AWS_SECRET_ACCESS_KEY")
        .replace("coco.yaml", "/etc/passwd")
        .replace("out/errors.jsonl", "out/{camera}.jsonl")
        .replace("query waiting", "include \"other.kdl\"\nquery waiting");
    assert_snapshot!(beyond(&edited, JUNCTION), @r"
    the path `/etc/passwd` (`names` of model `yolo11n`)
    the path `clips/../../secret.mp4` (`path` of camera `south`)
    the path `other.kdl` (an `include`)
    the path `out/{camera}.jsonl` (`path` of `write.jsonl.2`)
    the environment variable `AWS_SECRET_ACCESS_KEY` (`password` of camera `north`)
    ");
}

/// Nothing outside is asked for, so that nothing of it can be learnt from what is said.
#[test]
fn a_graph_within_a_reach_sees_no_other_file() {
    let running = reach(JUNCTION);
    let system = Cameras::default();
    let edited = JUNCTION
        .replace("clips/south.mp4", "clips/missing.mp4")
        .replace("coco.yaml", "other.yaml");
    let new = reach_in(&edited, &running.within(&system)).unwrap();
    assert_eq!(new.beyond(&running).len(), 2);
    let own = ["/graphs/models/yolo11n.onnx"].map(PathBuf::from);
    assert!(
        system.asked.borrow().iter().all(|path| own.contains(path)),
        "{:?}",
        system.asked
    );
    let refused = reach_in(
        &format!("{JUNCTION}include \"/graphs/secret.txt\"\ninclude \"secret.txt\""),
        &running.within(&Anything),
    );
    assert_snapshot!(refused.unwrap_err(), @r#"
    error[flowrun::include]: `/graphs/secret.txt` lies outside of the graph's folder
      31 | include "/graphs/secret.txt"
         |         ^^^^^^^^^^^^^^^^^^^^ cannot be included
         = write `include "cameras.kdl"`: one file in the graph's folder or below it
    error[flowrun::missing-file]: `secret.txt` cannot be read: the graph that runs does not include it
      32 | include "secret.txt"
         |         ^^^^^^^^^^^^ not found
         = paths are relative to the file that includes
    "#);
    // What the running graph includes may be included again.
    let including = format!("{JUNCTION}include \"west.kdl\"");
    let running = reach(&including);
    assert!(
        reach_in(&including, &running.within(&system))
            .unwrap()
            .beyond(&running)
            .is_empty()
    );
}

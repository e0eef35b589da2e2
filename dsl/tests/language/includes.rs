//! Files in the places of `include`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use flowrun_dsl::system::System;
use flowrun_dsl::{Compiled, SourceFile, compile_with, include};
use insta::assert_snapshot;

use crate::{catalogue, source};

/// Files in memory, below `/graphs`.
struct Files(BTreeMap<&'static str, String>);

impl System for Files {
    fn exists(&self, _: &Path) -> bool {
        true
    }
    fn read(&self, path: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        let path = path.strip_prefix("/graphs").expect("nothing outside is read");
        let text = self
            .0
            .get(path.to_str().expect("text"))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes()[..text.len().min(at_most)].to_vec())
    }
    fn allows(&self, _: &Path) -> bool {
        true
    }
}

fn compiled(graph: &str, files: &[(&'static str, &str)]) -> Result<(SourceFile, Compiled), String> {
    let files = Files(files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect());
    let root = Path::new("/graphs");
    let whole = include(source(graph), root, &files).map_err(|refused| refused.1.to_text(&refused.0))?;
    match compile_with(&whole, root, &*catalogue::CATALOGUE, &files) {
        Ok(compiled) => Ok((whole, compiled)),
        Err(found) => Err(found.to_text(&whole)),
    }
}

const FLOW: &str = "include \"sites/cameras.kdl\"\nflow f from=site { truth; }\n";

#[test]
fn what_is_included_is_as_if_it_stood_there() {
    let cameras = "cameras site { synthetic north; }\ninclude \"more.kdl\"\n";
    let more = "cameras other { synthetic south; }";
    let (whole, split) = compiled(FLOW, &[("sites/cameras.kdl", cameras), ("sites/more.kdl", more)]).unwrap();
    let (_, together) = compiled(&format!("{}{more}\nflow f from=site {{ truth; }}", &cameras[..34]), &[]).unwrap();
    assert_eq!(split.plan.hash, together.plan.hash);
    let south = split.spans.cameras["south"].name;
    assert_eq!(
        (whole.part_at(south.start).name, whole.slice(south)),
        ("sites/more.kdl", "south")
    );
}

#[test]
fn findings_name_the_file_and_its_own_lines() {
    let found = compiled(
        FLOW,
        &[(
            "sites/cameras.kdl",
            "\ncameras site {\n    synthetic north\n}\nmodel f \"m.onnx\"",
        )],
    )
    .unwrap_err();
    assert_snapshot!(found, @r#"
    error[flowrun::duplicate-name]: `f` is already the name of a flow
         > sites/cameras.kdl
       5 | model f "m.onnx"
         |       ^ a model of the same name
       2 | flow f from=site { truth; }
         |      ^ first
         = groups, cameras, models, flows and queries share one namespace
    "#);
    let broken = compiled(
        FLOW,
        &[("sites/cameras.kdl", "cameras site {\n    synthetic north fps=\n}")],
    )
    .unwrap_err();
    assert!(
        broken.contains("     > sites/cameras.kdl\n   2 |     synthetic north fps=\n"),
        "{broken}"
    );
}

#[test]
fn what_cannot_be_included() {
    let refused = |graph: &str| {
        compiled(
            graph,
            &[("a.kdl", "include \"b.kdl\""), ("b.kdl", "\ninclude \"a.kdl\"")],
        )
        .unwrap_err()
    };
    assert_snapshot!(refused("include \"a.kdl\"\ninclude \"none.kdl\"\ninclude \"../b.kdl\"\ninclude \"/b.kdl\""), @r#"
    error[flowrun::missing-file]: `none.kdl` cannot be read: entity not found
       2 | include "none.kdl"
         |         ^^^^^^^^^^ not found
         = paths are relative to the file that includes
    error[flowrun::include]: `../b.kdl` lies outside of the graph's folder
       3 | include "../b.kdl"
         |         ^^^^^^^^^^ cannot be included
         = write `include "cameras.kdl"`: one file in the graph's folder or below it
    error[flowrun::include]: `/b.kdl` lies outside of the graph's folder
       4 | include "/b.kdl"
         |         ^^^^^^^^ cannot be included
         = write `include "cameras.kdl"`: one file in the graph's folder or below it
    error[flowrun::include]: `a.kdl` includes itself
         > b.kdl
       2 | include "a.kdl"
         |         ^^^^^^^ cannot be included
    "#);
    assert_snapshot!(refused("include\ninclude 1\ninclude \"a.kdl\" \"b.kdl\"\ninclude \"test.kdl\""), @r#"
    error[flowrun::include]: `include` takes one path and nothing else
       1 | include
         | ^^^^^^^ cannot be included
         = write `include "cameras.kdl"`: one file in the graph's folder or below it
    error[flowrun::include]: `include` takes a path, not a whole number
       2 | include 1
         |         ^ cannot be included
         = write `include "cameras.kdl"`: one file in the graph's folder or below it
    error[flowrun::include]: `include` takes one path and nothing else
       3 | include "a.kdl" "b.kdl"
         | ^^^^^^^^^^^^^^^^^^^^^^^ cannot be included
         = write `include "cameras.kdl"`: one file in the graph's folder or below it
    error[flowrun::include]: `test.kdl` includes itself
       4 | include "test.kdl"
         |         ^^^^^^^^^^ cannot be included
    "#);
}

#[test]
fn depth_size_and_number_are_bounded() {
    let names: Vec<String> = (0..12).map(|depth| format!("{depth}.kdl")).collect();
    let chain: Vec<(&'static str, String)> = names
        .iter()
        .enumerate()
        .map(|(depth, name)| (&*name.clone().leak(), format!("include \"{}.kdl\"", depth + 1)))
        .collect();
    let chain: Vec<(&'static str, &str)> = chain.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let deep = compiled("include \"0.kdl\"", &chain).unwrap_err();
    assert!(
        deep.contains("files include each other more than 8 deep") && deep.contains("     > 7.kdl\n"),
        "{deep}"
    );

    let long = format!("// {}", "x".repeat(600_000));
    let large = compiled("include \"a.kdl\"\ninclude \"a.kdl\"", &[("a.kdl", &long)]).unwrap_err();
    assert!(
        large.contains("[flowrun::file-too-large]") && large.contains("   2 | include \"a.kdl\""),
        "{large}"
    );

    let many = compiled(&"include \"a.kdl\"\n".repeat(300), &[("a.kdl", "")]).unwrap_err();
    assert!(many.contains("a graph includes at most 256 files"), "{many}");
}

/// A list of cameras is often made by something else, with what its cameras have in common.
#[test]
fn defaults_of_a_group_hold_in_its_own_file_and_no_other() {
    let graph = "include \"north.kdl\"\ncameras south { defaults fps=5; synthetic s; }\nflow f from=north { truth; }\n";
    let north = "cameras north { defaults fps=15 lateness=\"2s\"; synthetic a; synthetic b fps=20; }";
    let (_, compiled) = compiled(graph, &[("north.kdl", north)]).unwrap();
    let explained = flowrun_dsl::plan::explain(&compiled.plan, &*catalogue::CATALOGUE);
    let cameras: Vec<&str> = explained.lines().filter(|line| line.contains("synthetic")).collect();
    assert_snapshot!(cameras.join("\n"), @r"
    north.a = synthetic fps=15 lateness=2s -> frames
    north.b = synthetic fps=20 lateness=2s -> frames
    south.s = synthetic fps=5 -> frames
    ");
}

/// A library of templates.
#[test]
fn templates_may_be_included_and_findings_name_their_file() {
    let graph = "cameras g { synthetic a; }\ninclude \"library.kdl\"\nuse seen as=f from=g score=1\n";
    let library = "define seen score { truth; track; }\n";
    let (whole, found) = compiled(graph, &[("library.kdl", library)]).unwrap();
    assert_eq!(found.plan.nodes.len(), 2);
    assert_eq!(
        whole.part_at(found.spans.nodes["f.track"].name.start).name,
        "library.kdl"
    );
    let wrong = compiled(
        graph,
        &[(
            "library.kdl",
            "define seen score {\n    truth\n    visit zones=$score\n}\n",
        )],
    );
    assert_snapshot!(wrong.unwrap_err(), @r"
    error[flowrun::wrong-type]: `zones` should be the name of a zone, not a whole number
       3 | use seen as=f from=g score=1
         |                            ^ should be the name of a zone
         > library.kdl
       3 |     visit zones=$score
         |                 ^^^^^^ filled in here
    error[flowrun::wrong-rows]: `visit` reads tracks, but `f.truth` emits detections
         > library.kdl
       3 |     visit zones=$score
         |     ^^^^^ tracks are needed here
         > library.kdl
       2 |     truth
         |     ^^^^^ detections come from here
       3 | use seen as=f from=g score=1
         |     ^^^^ used here
    ");
}

//! The KDL specification's own test suite, where it is at hand.

use std::path::{Path, PathBuf};

use flowrun_dsl::SourceFile;
use flowrun_dsl::diagnostic::code;

fn data() -> Option<PathBuf> {
    let given = std::env::var_os("FLOWRUN_DATA").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = given.unwrap_or_else(beside).join("kdl/kdl-org/tests/test_cases/input");
    data.is_dir().then_some(data)
}

/// Whether the text is KDL; findings that only the language has (annotations, duplicates, 64 bits) do not count.
fn is_kdl(bytes: Vec<u8>) -> bool {
    let ours = [code::TYPE_ANNOTATION, code::DUPLICATE_PROPERTY, code::OUT_OF_RANGE];
    let Ok(source) = SourceFile::new("suite.kdl", bytes) else {
        return false;
    };
    match flowrun_dsl::document::parse(&source) {
        Ok(_) => true,
        Err(diagnostics) => diagnostics.iter().all(|diagnostic| ours.contains(&diagnostic.code)),
    }
}

#[test]
fn accepts_and_rejects_as_the_suite_says() {
    let Some(folder) = data() else {
        println!("skipped: no reference data");
        return;
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let should = !name.ends_with("_fail");
        count += 1;
        if is_kdl(std::fs::read(&path).unwrap()) != should {
            wrong.push(format!("{name} should {}", if should { "pass" } else { "fail" }));
        }
    }
    wrong.sort();
    assert!(count > 300, "only {count} cases");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! Libraries of others that are not as they should be: an old driver, and one that fails at the end of the process.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{Folder, Said, flowrun, said};

/// Builds a library of C.
fn library(folder: &Folder, name: &str, source: &str) -> PathBuf {
    let (source, library) = (folder.write("library.c", source), folder.path(name));
    let mut compiler = Command::new("cc");
    let compiled = compiler.args(["-shared", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.unwrap().success());
    library
}

#[test]
fn what_a_library_does_at_the_end_of_the_process_cannot_fail_it() {
    let folder = Folder::new();
    let text = "#include <stdlib.h>\n__attribute__((destructor)) static void end(void) { abort(); }\n";
    let library = library(&folder, "end.so", text);
    for (arguments, code) in [(["ops", "detect"], 0), (["ops", "detcet"], 2)] {
        let plain = said(flowrun().args(arguments).output().unwrap());
        let beside = flowrun().args(arguments).env("LD_PRELOAD", &library).output();
        let beside = said(beside.unwrap());
        assert_eq!([plain.code, beside.code], [Some(code); 2], "{}", beside.err);
        assert_eq!([plain.out, plain.err], [beside.out, beside.err]);
    }
}

/// What `doctor` says beside NVIDIA's driver made of these calls.
fn doctor(calls: &str) -> Said {
    let folder = Folder::new();
    // Both names, so that a driver of this machine is not found by the other.
    let library = library(&folder, "libcuda.so", calls);
    std::fs::copy(library, folder.path("libcuda.so.1")).unwrap();
    let doctor = flowrun().arg("doctor").env("LD_LIBRARY_PATH", folder.path("")).output();
    said(doctor.unwrap())
}

#[test]
fn a_driver_that_is_too_old_is_told_with_what_it_serves() {
    let old = "int cuInit(unsigned flags) { return 0; }\nint cuDriverGetVersion(int *to) { *to = 9020; return 0; }\n";
    for (calls, cause) in [
        (old, "it serves CUDA 9.2, and 10.1 is the least: install a newer one"),
        (
            "int cuInit(unsigned flags) { return 0; }",
            "it does not say which CUDA it serves",
        ),
    ] {
        let said = doctor(calls);
        assert!(
            said.out.contains(&format!("the driver does not work: {cause}")),
            "{}",
            said.out
        );
        assert!(
            said.out
                .contains(&format!("not CUDA: the NVIDIA driver does not work: {cause}")),
            "{}",
            said.out
        );
        assert_eq!(said.err, "", "nothing panics");
    }
}

#[test]
fn a_driver_without_a_device_is_no_loss() {
    let calls = "int cuInit(unsigned f) { return 0; }\nint cuDriverGetVersion(int *to) { *to = 12040; return 0; }\n\
                 int cuDeviceGetCount(int *to) { *to = 0; return 0; }\nint cuThreadExchangeStreamCaptureMode(void *m) { return 1; }\n";
    let said = doctor(calls);
    assert!(
        said.out.contains("not CUDA: the NVIDIA driver sees no device"),
        "{}",
        said.out
    );
    assert_eq!(said.err, "");
}

//! The processor, the memory, and the folders where graphs and models usually are.

use std::path::Path;

use serde::Serialize;

use super::Finding;

/// What computes.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// As Rust calls it.
    architecture: &'static str,
    /// Threads that run at once, as far as this process may use them.
    cores: usize,
    /// Instructions that inference and picture loops profit from.
    features: Vec<&'static str>,
    /// None where the system does not say.
    memory_bytes: Option<u64>,
}

/// Examines the processor and the memory.
pub fn examine(findings: &mut Vec<Finding>) -> Machine {
    let machine = Machine {
        architecture: std::env::consts::ARCH,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        features: features(),
        memory_bytes: memory_bytes(),
    };
    let memory = machine
        .memory_bytes
        .map_or_else(String::new, |bytes| format!(", {:.1} GiB of memory", gibibytes(bytes)));
    let found = format!(
        "{}, {} cores{memory}; {}",
        machine.architecture,
        machine.cores,
        machine.features.join(" ")
    );
    findings.push(Finding::ok("processor", found));
    machine
}

/// Examines the folders of the working directory.
pub fn folders(findings: &mut Vec<Finding>) {
    let graphs = count(Path::new("graphs"), "kdl");
    findings.push(match graphs {
        0 => Finding::absent("graphs", "no graphs/*.kdl here", "name your own: flowrun run PATH.kdl"),
        count => Finding::ok("graphs", format!("{count} in graphs/")),
    });
    let models = count(Path::new("models"), "onnx");
    findings.push(match models {
        0 => Finding::absent(
            "models",
            "no models/*.onnx here; `detect` needs one",
            "for synthetic cameras take models/demo-yolo11n.onnx of flowrun's repository; for real ones: \
             yolo export model=yolo11n.pt format=onnx opset=17 && mkdir -p models && mv yolo11n.onnx models/",
        ),
        count => Finding::ok("models", format!("{count} in models/")),
    });
}

fn count(folder: &Path, extension: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|found| found == extension))
        .count()
}

pub fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1u32 << 30)
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    let present = known.into_iter().filter(|(_, present)| *present);
    present.map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

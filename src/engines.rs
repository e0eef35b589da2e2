//! Engines are built by a process of their own, so that a builder that crashes or takes all memory costs no run.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::{EngineBuilder, EngineWanted, Provider};

/// How often it is looked whether the builder has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of a builder's cause so much is told.
const LONGEST_CAUSE: usize = 1_000;

/// Builds by `flowrun model build`, at the lowest priority.
#[derive(Clone, Debug)]
pub struct ChildBuilder {
    executable: PathBuf,
}

impl ChildBuilder {
    /// By an executable that has flowrun's command line, as [`crate::main`] gives it.
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        ChildBuilder {
            executable: executable.into(),
        }
    }

    /// By the executable of this process, which must have flowrun's command line; none where nobody knows where it is.
    pub fn own() -> Option<Self> {
        std::env::current_exe().ok().map(ChildBuilder::new)
    }

    fn start(&self, wanted: &EngineWanted) -> std::io::Result<Child> {
        let arguments = arguments(wanted);
        let run = |command: &mut Command| {
            let command = command.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::null());
            command.stderr(Stdio::piped()).spawn()
        };
        // Where there is no `nice`, the system has to share out its cores as it sees fit.
        let nice = run(Command::new("nice").args(["-n", "19"]).arg(&self.executable));
        match nice {
            Err(error) if error.kind() == ErrorKind::NotFound => run(&mut Command::new(&self.executable)),
            started => started,
        }
    }
}

/// What `flowrun model build` is told.
fn arguments(wanted: &EngineWanted) -> Vec<String> {
    let provider = match wanted.provider {
        Provider::Twin => "twin",
        _ => "tensorrt",
    };
    let mut arguments = ["model", "build", "--beside-a-run", "--provider", provider, "--device"]
        .map(str::to_owned)
        .to_vec();
    arguments.push(wanted.device.to_string());
    let numbers = [("--batch", wanted.batch), ("--effort", wanted.effort)];
    for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        arguments.extend([name.to_owned(), number.to_string()]);
    }
    arguments.extend(["--precision".to_owned(), wanted.precision.word().to_owned()]);
    if let Some(table) = &wanted.calibration {
        arguments.extend(["--calibration".to_owned(), path(table)]);
    }
    arguments.extend(["--".to_owned(), path(&wanted.model)]);
    arguments
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

impl EngineBuilder for ChildBuilder {
    fn build(&self, wanted: &EngineWanted, is_vain: &dyn Fn() -> bool) -> Result<()> {
        let program = self.executable.display();
        let about = |error: std::io::Error| OperatorError::new(format!("`{program}` cannot be started: {error}"));
        let mut child = self.start(wanted).map_err(about)?;
        // Its input stays open for as long as this process is there.
        let input = child.stdin.take();
        let told = child.stderr.take();
        let told = std::thread::Builder::new()
            .name("engine-log".into())
            .spawn(move || told.map_or_else(String::new, cause));
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if !is_vain() && told.is_ok() => std::thread::sleep(LOOK_EVERY),
                ended => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break Err(ended.err());
                }
            }
        };
        drop(input);
        let told = told.map_err(about)?.join().unwrap_or_default();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) if told.is_empty() => Err(OperatorError::new(format!(
                "`{program} model build` ended with {status}"
            ))),
            Ok(_) => Err(OperatorError::new(told)),
            Err(Some(error)) => Err(about(error)),
            Err(None) => Err(OperatorError::new("nobody waits for it any more")),
        }
    }
}

/// What a builder said was wrong: its last line that begins as an error's, bounded.
fn cause(said: ChildStderr) -> String {
    let mut last = String::new();
    let mut lines = BufReader::new(said);
    let mut line = Vec::new();
    while let Ok(1..) = read_line(&mut lines, &mut line) {
        let text = String::from_utf8_lossy(&line);
        if let Some(cause) = text.trim_end().strip_prefix("error: ") {
            last = cause.to_owned();
        }
    }
    last
}

/// Reads a line and keeps its beginning; gives how many bytes were read.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    line.clear();
    let mut count = 0;
    loop {
        let piece = from.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        let kept = length.min(LONGEST_CAUSE.saturating_sub(line.len()));
        line.extend_from_slice(&piece[..kept]);
        from.consume(length);
        count += length;
        if end.is_some() || length == 0 {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use flowrun_engine::infer::Precision;

    use super::*;

    fn wanted() -> EngineWanted {
        EngineWanted {
            provider: Provider::TensorRt,
            name: "m".into(),
            model: "-models/m.onnx".into(),
            device: 1,
            batch: Some(8),
            effort: None,
            precision: Precision::Int8,
            calibration: Some("ranges.table".into()),
            folder: "cache".into(),
        }
    }

    #[test]
    fn a_builder_is_told_all_that_changes_an_engine() {
        let said = arguments(&wanted()).join(" ");
        assert_eq!(
            said,
            "model build --beside-a-run --provider tensorrt --device 1 --batch 8 --precision int8 \
             --calibration ranges.table -- -models/m.onnx"
        );
    }

    #[test]
    fn a_builder_that_is_not_there_or_fails_is_told_in_one_sentence() {
        let missing = ChildBuilder::new("/nowhere/flowrun").build(&wanted(), &|| false);
        assert!(missing.unwrap_err().cause.contains("/nowhere/flowrun"));
        let failing = ChildBuilder::new("/bin/false").build(&wanted(), &|| false);
        assert!(failing.unwrap_err().cause.contains("exit status: 1"));
    }

    #[test]
    fn a_builder_that_nobody_waits_for_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let endless = folder.path().join("endless");
        std::fs::write(&endless, "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&endless, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let vain = ChildBuilder::new(&endless).build(&wanted(), &|| true);
        assert!(vain.unwrap_err().cause.contains("nobody waits"));
    }

    #[test]
    fn only_the_beginning_of_a_line_is_kept() {
        let text = [b"x".repeat(3 * LONGEST_CAUSE), b"\nerror: short\n".to_vec()].concat();
        let (mut from, mut line) = (BufReader::with_capacity(16, text.as_slice()), Vec::new());
        assert_eq!(read_line(&mut from, &mut line).unwrap(), 3 * LONGEST_CAUSE + 1);
        assert_eq!(line.len(), LONGEST_CAUSE);
        read_line(&mut from, &mut line).unwrap();
        assert_eq!(line, b"error: short\n");
    }
}

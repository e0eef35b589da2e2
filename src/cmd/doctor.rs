//! `flowrun doctor`: what this machine has and lacks, and the command that mends it.

mod devices;
mod inference;
mod machine;
mod pictures;

use clap::Args;
use serde::Serialize;

use crate::cmd::{Exit, Format};

/// The version of the JSON form.
const FORM: u32 = 1;

#[derive(Args)]
pub struct Doctor {
    /// How to print what is found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How a part of the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It is there.
    Ok,
    /// It is not there, and some graphs would be faster or more with it.
    Absent,
    /// It is not there, and is needed.
    Missing,
}

/// One part of the machine.
#[derive(Debug, Serialize)]
struct Finding {
    part: &'static str,
    state: State,
    found: String,
    /// The command or sentence that mends it, where there is something to mend.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(part: &'static str, found: impl Into<String>) -> Self {
        Finding {
            part,
            state: State::Ok,
            found: found.into(),
            remedy: None,
        }
    }
    fn absent(part: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            part,
            state: State::Absent,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
    fn missing(part: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            part,
            state: State::Missing,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// The JSON form: `findings` are for people and programs, the rest are the facts behind them.
#[derive(Serialize)]
struct Examination {
    form: u32,
    flowrun: &'static str,
    /// Whether graphs run on this machine's processor.
    healthy: bool,
    findings: Vec<Finding>,
    machine: machine::Machine,
    ffmpeg: flowrun_operators::decode::probe::Libraries,
    onnx_runtime: Option<inference::Loaded>,
    cuda: flowrun_engine::device::Cuda,
}

impl Doctor {
    pub fn execute(&self) -> Exit {
        let examination = examine();
        match self.format {
            Format::Json => println!(
                "{}",
                serde_json::to_string_pretty(&examination).expect("an examination is plain data")
            ),
            Format::Text => print!("{}", shown(&examination)),
        }
        if examination.healthy { Exit::Done } else { Exit::Failed }
    }
}

fn examine() -> Examination {
    let mut findings = Vec::new();
    let machine = machine::examine(&mut findings);
    let ffmpeg = pictures::examine(&mut findings);
    let onnx_runtime = inference::examine(&mut findings);
    let cuda = devices::examine(&mut findings, onnx_runtime.as_ref());
    machine::folders(&mut findings);
    Examination {
        form: FORM,
        flowrun: env!("CARGO_PKG_VERSION"),
        healthy: findings.iter().all(|finding| finding.state != State::Missing),
        findings,
        machine,
        ffmpeg,
        onnx_runtime,
        cuda,
    }
}

fn shown(examination: &Examination) -> String {
    let mut text = String::new();
    for finding in &examination.findings {
        let state = match finding.state {
            State::Ok => "ok",
            State::Absent => "absent",
            State::Missing => "MISSING",
        };
        text += &format!("{state:<8} {:<13} {}\n", finding.part, finding.found);
        if let Some(remedy) = &finding.remedy {
            text += &format!("{:<22} -> {remedy}\n", "");
        }
    }
    text += match examination.healthy {
        true => "\nGraphs run here.\n",
        false => "\nSomething that is needed is missing.\n",
    };
    text
}

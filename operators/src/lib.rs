//! flowrun's built-in operators: where a researcher looks first.

pub mod analyse;
pub mod clip;
pub mod decode;
pub mod detect;
pub mod draw;
pub mod encode;
pub mod publish;
pub mod query;
pub mod source;
#[cfg(test)]
mod testing;
pub mod track;
pub mod truth;
mod utc;
pub mod write;

use flowrun_engine::registry::{Def, OffloadDef, OperatorDef, QueryDef, SinkDef, SourceDef};

/// All of them: one line an operator.
pub static BUILTIN: &[&dyn OperatorDef] = &[
    &SourceDef::<source::FileSource>::new(),
    &SourceDef::<source::rtsp::RtspSource>::new(),
    &SourceDef::<source::rows::RowsSource>::new(),
    &SourceDef::<source::synthetic::Synthetic>::new(),
    &OffloadDef::<detect::Detect>::new(),
    &OffloadDef::<clip::Clip>::new(),
    &Def::<draw::Draw>::new(),
    &OffloadDef::<encode::Encode>::new(),
    &Def::<truth::Truth>::new(),
    &Def::<truth::TruthTracks>::new(),
    &Def::<track::TrackObjects>::new(),
    &Def::<analyse::VisitZones>::new(),
    &Def::<analyse::CrossLines>::new(),
    &QueryDef::<query::WindowedQuery>::new(),
    &SinkDef::<publish::hls::Hls>::new(),
    &SinkDef::<write::jsonl::Jsonl>::new(),
    &SinkDef::<publish::sse::Sse>::new(),
    &SinkDef::<write::mp4::Mp4>::new(),
];

//! `hls`: live pictures over plain HTTP, a path a camera.
//!
//! Below the path are `index.m3u8` (HLS, also with low latency), the headers, segments and parts that it names, and
//! `stream.mp4`: one endless fragmented MP4 for a page that feeds it to a media source itself. Packets become CMAF
//! ([`super::cmaf`]) on the worker that brings them, `hls_ring` keeps the newest, and requests only read.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use flowrun_dsl::params::{Bytes, Params, Template};
use flowrun_dsl::plan::Origin;
use flowrun_dsl::port::{PortRows, Role, RowKind};
use flowrun_engine::audience::Audience;
use flowrun_engine::batch::{Answer, Batch};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::operator::{NodeSetup, Sink, SinkOrder, SinkWants, SinkWriter};
use flowrun_engine::rows::CameraId;
use flowrun_engine::site::{About, Resource};

use super::cmaf::TIMESCALE;
use super::hls_channel::Channel;
use super::hls_clock::request_clock;
use super::hls_resource::HlsResource;
use super::hls_ring::Cut;

/// Serves live video to browsers and players, by HLS with low latency and as one MP4 stream.
///
/// Pictures are encoded while somebody watches: whoever asked within the last ten seconds.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct HlsParams {
    /// The path below which it is served, with {camera} for the camera's name.
    #[param(positional)]
    pub path: Template,
    /// The least length of a segment, which ends at the next keyframe.
    #[param(default = "2s", min = 0.5, max = 30)]
    pub segment: Duration,
    /// The length of the parts of a segment that can be played before it is whole.
    #[param(default = "200ms", min = 0.05, max = 5)]
    pub part: Duration,
    /// Segments that a playlist lists.
    #[param(default = "6", min = 3, max = 100)]
    pub window: usize,
    /// The most memory that a camera's segments take.
    #[param(default = "32MiB", min = 1_048_576)]
    pub memory: Bytes,
}

/// The sink `hls`.
pub struct Hls {
    params: HlsParams,
    /// The node whose pictures it asks for.
    reads: Vec<String>,
    channels: HashMap<CameraId, Arc<Served>>,
}

/// The names of what a sink reads.
fn reads(setup: &NodeSetup<'_>) -> Vec<String> {
    let inputs = setup.node.inputs.iter();
    let origins = inputs.filter_map(|input| match input.origin {
        Origin::Node(origin) => setup.plan.nodes.get(origin),
        _ => None,
    });
    origins.map(|node| node.name.clone()).collect()
}

/// A camera's channel on the site. It ends when no version of the sink has it any more.
struct Served {
    path: String,
    channel: Arc<Channel>,
    mounted: Arc<dyn Resource>,
    audience: Arc<Audience>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.audience.site.unmount(&self.path, &self.mounted);
        self.channel.end();
    }
}

impl Hls {
    /// With the channels that an earlier version has.
    fn with(params: HlsParams, setup: &NodeSetup<'_>, known: &HashMap<CameraId, Arc<Served>>) -> Result<Self> {
        let cut = Cut {
            segment: ticks(params.segment),
            part: ticks(params.part.min(params.segment)),
            window: params.window,
            memory: usize::try_from(params.memory.0).unwrap_or(usize::MAX),
        };
        if setup.node.cameras.len() > 1 && !params.path.0.contains("{camera}") {
            let cause = format!(
                "`{}` is one path for {} cameras",
                params.path.0,
                setup.node.cameras.len()
            );
            return Err(OperatorError::new(cause).help("write it with the camera's name: hls \"/live/{camera}\""));
        }
        let clock = request_clock();
        let mut channels = HashMap::new();
        for id in setup.cameras() {
            let path = path_of(&params.path, &setup.names.camera(id))?;
            if let Some(known) = known.get(&id).filter(|known| known.path == path) {
                channels.insert(id, known.clone());
                continue;
            }
            let channel = Arc::new(Channel::new(cut, setup.demands_on_inputs(id), clock.clone()));
            let about = About {
                node: Some(setup.node.name.clone()),
                camera: Some(setup.names.camera(id).to_string()),
                rows: Some(RowKind::Packet.name().to_owned()),
                event: None,
            };
            let mounted: Arc<dyn Resource> = Arc::new(HlsResource {
                channel: channel.clone(),
                about,
            });
            setup.audience.site.mount(&path, mounted.clone())?;
            let served = Served {
                path,
                channel,
                mounted,
                audience: setup.audience.clone(),
            };
            channels.insert(id, Arc::new(served));
        }
        Ok(Hls {
            params,
            reads: reads(setup),
            channels,
        })
    }
}

fn ticks(span: Duration) -> u64 {
    (span.as_secs_f64() * f64::from(TIMESCALE)).round() as u64
}

/// The path of each camera that a node sees.
fn path_of(template: &Template, camera: &str) -> Result<String> {
    let path = template.0.replace("{camera}", camera);
    if path.contains(['{', '}']) {
        let cause = format!("the path `{}` has a place that cannot be filled in", template.0);
        return Err(OperatorError::new(cause).help("it may have {camera}: hls \"/live/{camera}\""));
    }
    Ok(path)
}

impl Sink for Hls {
    const KIND: &'static str = "hls";
    const ROLE: Role = Role::Publish;
    const ORDER: SinkOrder = SinkOrder::Camera;
    const WANTS: SinkWants = SinkWants::WhenWatched;
    type Params = HlsParams;

    fn takes() -> PortRows {
        PortRows::Only(RowKind::Packet)
    }

    fn new(params: HlsParams, setup: &NodeSetup<'_>) -> Result<Self> {
        Hls::with(params, setup, &HashMap::new())
    }

    fn revise(&self, params: HlsParams, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let same = params == self.params && self.reads == reads(setup);
        same.then(|| Hls::with(params, setup, &self.channels)).transpose()
    }

    fn open(&self) -> Result<Box<dyn SinkWriter>> {
        let channels = self.channels.values().map(|served| Arc::downgrade(&served.channel));
        Ok(Box::new(Ending(channels.collect())))
    }

    /// Nothing is written: what viewers read is cut here, on the worker to which the camera belongs.
    fn encode(&self, answer: &Answer, _: &mut Vec<u8>) -> Result<()> {
        match (&answer.batch, self.channels.get(&answer.at.camera)) {
            (Batch::Packets(packets), Some(served)) => served.channel.push(packets),
            _ => Ok(()),
        }
    }
}

/// Tells viewers when the run is over, however it ended.
struct Ending(Vec<Weak<Channel>>);

impl SinkWriter for Ending {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|channel| channel.end());
    }
}

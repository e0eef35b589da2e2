//! Rows as server-sent events, for pages and programs that follow a run while it goes on.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use flowrun_dsl::params::{Bytes, Choice, Params, Template};
use flowrun_dsl::port::{PortRows, Role, RowKind};
use flowrun_engine::audience::Audience;
use flowrun_engine::batch::Answer;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{NodeSetup, Sink, SinkOrder, SinkWriter};
use flowrun_engine::rows::CameraId;
use flowrun_engine::site::{About, Resource};

use crate::publish::events::{EventStream, Events, Kept};
use crate::write::encode::{Location, RowEncoder};

/// Serves rows as server-sent events under a path of the run's server. A client that comes back goes on behind the last event
/// it had; one that has lost events is told how many by an event `lost`.
#[derive(Clone, Debug, Params)]
pub struct SseParams {
    /// The path, as in "/events/waiting". With `{camera}` in it each camera has a path of its own.
    #[param(positional)]
    pub path: Template,
    /// What makes one event: a row, named by its kind, or all rows of a frame, of frames without rows too.
    #[param(default = "row")]
    pub group: Group,
    /// Events of a path that are kept for clients that come back or read slowly.
    #[param(default = "1000", min = 1, max = 1_000_000)]
    pub keep: usize,
    /// At most this much of them.
    #[param(default = "4MiB", min = 1024)]
    pub keep_bytes: Bytes,
}

/// What makes one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Group {
    /// A row.
    Row,
    /// All rows of a frame.
    Frame,
}

/// The sink `sse`.
pub struct Sse {
    params: SseParams,
    rows: RowEncoder,
    names: Arc<Names>,
    audience: Arc<Audience>,
    /// Whose rows go to which path; what belongs to no camera's path goes to that of none.
    paths: BTreeMap<Option<CameraId>, (String, About)>,
    event: &'static str,
    streams: Streams,
    /// What keeps the streams of its own paths open.
    own: Mutex<Vec<Arc<Stream>>>,
}

/// The streams that the writer finds, those of paths that have come with an edit of the graph included.
type Streams = Arc<Mutex<BTreeMap<Option<CameraId>, Weak<Stream>>>>;

/// The events of one path, which end when no version of the sink has it any more.
struct Stream {
    path: String,
    events: Arc<Events>,
    mounted: Arc<dyn Resource>,
    audience: Arc<Audience>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.audience.site.unmount(&self.path, &self.mounted);
        self.events.end();
    }
}

/// The event's name of a row.
fn event_of(rows: &RowKind) -> &'static str {
    match rows {
        RowKind::Packet => "packet",
        RowKind::Frame => "frame",
        RowKind::Detection => "detection",
        RowKind::Track => "track",
        RowKind::Visit => "visit",
        RowKind::Crossing => "crossing",
        RowKind::Table(_) => "row",
        RowKind::Error => "error",
    }
}

fn paths(template: &str, event: &str, setup: &NodeSetup<'_>) -> Result<BTreeMap<Option<CameraId>, (String, About)>> {
    let rows = setup.node.inputs.first().map(|input| input.rows.name().to_owned());
    let about = |camera: Option<&str>| About {
        node: Some(setup.node.name.clone()),
        camera: camera.map(str::to_owned),
        rows: rows.clone(),
        event: Some(event.to_owned()),
    };
    if !template.contains("{camera}") {
        return Ok([(None, (template.to_owned(), about(None)))].into());
    }
    let of_camera = setup.node.cameras.iter().map(|camera| {
        let name = &setup.plan.cameras[*camera].name;
        let path = template.replace("{camera}", name);
        let number = CameraId(setup.plan.camera_number(*camera));
        (Some(number), (path, about(Some(name))))
    });
    Ok(of_camera.collect())
}

impl Sink for Sse {
    const KIND: &'static str = "sse";
    const ROLE: Role = Role::Publish;
    const ORDER: SinkOrder = SinkOrder::Camera;
    type Params = SseParams;

    fn takes() -> PortRows {
        PortRows::AnyRows
    }

    fn new(params: SseParams, setup: &NodeSetup<'_>) -> Result<Self> {
        let rows = RowEncoder::of(setup);
        let template = params.path.0.as_str();
        if rows.is_of_query() && template.contains("{camera}") {
            return Err(
                OperatorError::new("the rows of a query belong to no camera, and the path has {camera}")
                    .help("leave {camera} out; a query that groups by camera says it in each row"),
            );
        }
        if rows.is_of_query() && params.group == Group::Frame {
            return Err(
                OperatorError::new("the rows of a query belong to no frame").help("leave group=frame out: group=row")
            );
        }
        let kind = setup.node.inputs.first().map(|input| &input.rows);
        let event = match params.group {
            Group::Row => kind.map_or("row", event_of),
            Group::Frame => "frame",
        };
        Ok(Sse {
            paths: paths(template, event, setup)?,
            rows,
            names: setup.names.clone(),
            audience: setup.audience.clone(),
            event,
            params,
            streams: Streams::default(),
            own: Mutex::default(),
        })
    }

    fn revise(&self, params: SseParams, setup: &NodeSetup<'_>) -> Result<Option<Self>> {
        let before = &self.params;
        let same = params.path == before.path && params.group == before.group;
        if !same || (params.keep, params.keep_bytes) != (before.keep, before.keep_bytes) {
            return Ok(None);
        }
        let mut revised = Sse::new(params, setup)?;
        revised.streams = self.streams.clone();
        revised.mount(true)?;
        Ok(Some(revised))
    }

    fn open(&self) -> Result<Box<dyn SinkWriter>> {
        self.mount(false)?;
        Ok(Box::new(Publisher {
            streams: self.streams.clone(),
        }))
    }

    fn encode(&self, answer: &Answer, out: &mut Vec<u8>) -> Result<()> {
        match self.params.group {
            Group::Row => {
                let mut lines = Vec::new();
                self.rows.encode(answer, Location::Told, &mut lines)?;
                for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    parcel(out, answer.at.camera, |out| {
                        event(out, self.event, |out| out.extend_from_slice(line))
                    });
                }
            }
            Group::Frame => {
                let mut rows = Vec::new();
                self.rows.encode(answer, Location::Around, &mut rows)?;
                rows.pop();
                rows.iter_mut()
                    .filter(|byte| **byte == b'\n')
                    .for_each(|byte| *byte = b',');
                parcel(out, answer.at.camera, |out| {
                    event(out, self.event, |out| self.frame(answer, &rows, out))
                });
            }
        }
        Ok(())
    }
}

impl Sse {
    /// Puts its paths on the site; where it goes on from an earlier version, those that this has there stay.
    fn mount(&self, goes_on: bool) -> Result<()> {
        let kept = Kept {
            events: self.params.keep,
            bytes: usize::try_from(self.params.keep_bytes.0).unwrap_or(usize::MAX),
        };
        let start = u64::try_from(self.audience.opened.0 / 1_000).unwrap_or(0);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, stream| stream.strong_count() > 0);
        for (camera, (path, about)) in &self.paths {
            let known = streams.get(camera).and_then(Weak::upgrade);
            if let Some(stream) = known.filter(|stream| goes_on && stream.path == *path) {
                own.push(stream);
                continue;
            }
            let events = Arc::new(Events::new(kept, start, about.clone()));
            let mounted: Arc<dyn Resource> = Arc::new(EventStream(events.clone()));
            self.audience.site.mount(path, mounted.clone())?;
            let stream = Arc::new(Stream {
                path: path.clone(),
                events,
                mounted,
                audience: self.audience.clone(),
            });
            streams.insert(*camera, Arc::downgrade(&stream));
            own.push(stream);
        }
        Ok(())
    }

    /// A frame with the JSON of its rows, separated by commas.
    fn frame(&self, answer: &Answer, rows: &[u8], out: &mut Vec<u8>) {
        let at = &answer.at;
        let camera = self.names.camera(at.camera);
        let mut line = crate::write::line::Line::begin(out);
        line.location(&camera, at, |_| false);
        line.unsigneds("size", &[at.size.width, at.size.height]);
        line.raw_list("rows", rows);
        line.close();
    }
}

/// An event's lines.
fn event(out: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    data(out);
    out.extend_from_slice(b"\n\n");
}

/// Between the workers and the writer each event travels behind its camera and its length.
fn parcel(out: &mut Vec<u8>, camera: CameraId, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&camera.0.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out);
    let length = u32::try_from(out.len() - at - 4).expect("rows of one frame are far below 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// The parcels in some bytes.
fn parcels(mut bytes: &[u8]) -> impl Iterator<Item = (CameraId, &[u8])> {
    std::iter::from_fn(move || {
        let (camera, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some((CameraId(u32::from_le_bytes(*camera)), content))
    })
}

/// Hands events to those who watch.
struct Publisher {
    streams: Streams,
}

impl Publisher {
    fn stream(&self, camera: Option<CameraId>) -> Option<Arc<Stream>> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(&camera)?.upgrade()
    }
}

impl SinkWriter for Publisher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(all) = self.stream(None) {
            all.events.push(parcels(bytes).map(|(_, event)| event));
            return Ok(());
        }
        let mut by_camera: BTreeMap<CameraId, Vec<&[u8]>> = BTreeMap::new();
        for (camera, event) in parcels(bytes) {
            by_camera.entry(camera).or_default().push(event);
        }
        for (camera, events) in by_camera {
            if let Some(stream) = self.stream(Some(camera)) {
                stream.events.push(events);
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// However a run ends, its streams do.
impl Drop for Publisher {
    fn drop(&mut self) {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<Arc<Stream>> = streams.values().filter_map(Weak::upgrade).collect();
        drop(streams);
        open.iter().for_each(|stream| stream.events.end());
    }
}

#[cfg(test)]
mod tests;

//! `draw`: boxes, labels, zones and the time on pictures, for people to look at.
//!
//! Nothing is painted here: the picture that goes out is *deferred*, and whoever looks at it first (the encoder, on its
//! own thread) pays for one copy of the planes and the pixels that are touched. What nobody watches costs a few pointers.
//!
//! [`canvas`] is the copy and what can be painted on it, [`colour`] chooses colours, [`label`] fills in templates, `text`
//! holds the letters, `scene` puts it together.

mod canvas;
mod colour;
mod label;
mod scene;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use flowrun_dsl::params::{Choice, Line, Params, Ref, Shape, Template, Zone};
use flowrun_engine::errors::Result;
use flowrun_engine::frame::{Frame, Picture, PictureMemory};
use flowrun_engine::names::Names;
use flowrun_engine::operator::{LineShape, Operator, Output, PolygonShape, Setup};
use flowrun_engine::rows::{At, Detection, Rows, Size, Track};

use canvas::{Canvas, drawn_layout};
use label::Label;
use scene::{Outline, Scene};

/// Draws on pictures what was found on them.
///
/// Boxes of tracks and detections with a label, polygons, and lines with an arrow to their forward side. Colours are
/// stable: a track's or a class's stays the same over the run. Pictures are drawn when somebody looks at them.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct DrawParams {
    /// Polygons and lines to draw; those that lie on other cameras only are passed over.
    #[param(default = "")]
    pub zones: Vec<Ref<Shape>>,
    /// What stands above a box, with {class}, {track} and {score}; nothing when empty.
    #[param(live, default = "{class} {track}")]
    pub label: Template,
    /// What gives a box its colour; detections have no track and take their class's.
    #[param(live, default = "track")]
    pub colour: ColourBy,
    /// Whether the picture's event time stands in its corner.
    #[param(live, default = "off")]
    pub clock: Clock,
}

/// What gives a box its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum ColourBy {
    /// Who it is.
    Track,
    /// What it is.
    Class,
}

/// Whether the time is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Clock {
    /// It is not.
    Off,
    /// Event time in UTC; in an offline run the medium's own.
    Utc,
}

/// A shape of a `zones` block on this camera.
enum Marked {
    Polygon(PolygonShape),
    Line(LineShape),
}

/// The operator `draw`, of one camera.
pub struct Draw {
    params: DrawParams,
    label: Arc<Label>,
    names: Arc<Names>,
    shapes: Vec<Marked>,
    /// The shapes in pixels of pictures of this size.
    outlines: (Size, Arc<[Outline]>),
}

impl Draw {
    fn fit(&mut self, size: Size) {
        if self.outlines.0 == size {
            return;
        }
        let outline = |marked: &Marked| match marked {
            Marked::Polygon(shape) => Outline::polygon(shape.id, &shape.in_pixels(size)),
            Marked::Line(shape) => Outline::line(shape.id, shape.in_pixels(size)),
        };
        self.outlines = (size, self.shapes.iter().map(outline).collect());
    }
}

impl Operator for Draw {
    const KIND: &'static str = "draw";
    const PORTS: &'static [&'static str] = &["frames", "tracks", "detections"];
    const OPTIONAL_PORTS: &'static [&'static str] = &["tracks", "detections"];
    type Params = DrawParams;
    type Input = (Frame, Track, Detection);
    type Output = Frame;
    type State = ();

    fn new(params: DrawParams, setup: &Setup<'_>) -> Result<Self> {
        let label = Arc::new(Label::parse(&params.label)?);
        let marked = |shape: &Ref<Shape>| {
            let polygon = setup.polygon(&Ref::<Zone>::new(shape.name())).map(Marked::Polygon);
            polygon.or_else(|| setup.line(&Ref::<Line>::new(shape.name())).map(Marked::Line))
        };
        Ok(Draw {
            shapes: params.zones.iter().filter_map(marked).collect(),
            outlines: (Size::default(), Arc::new([])),
            names: setup.node.names.clone(),
            label,
            params,
        })
    }

    fn process(
        &mut self,
        at: &At,
        (frames, tracks, detections): (&[Frame], &[Track], &[Detection]),
        out: &mut Output<Frame>,
    ) -> Result<()> {
        // A frame without a picture failed before it came here; of those that were kept back there may be several.
        for frame in frames {
            let source = frame.picture.clone();
            self.fit(source.layout().size);
            let taken = frame.at(at).event_time;
            // What was found on the answer's own frame is not where it was on one that was kept back.
            let (tracks, detections) = match taken == at.event_time {
                true => (tracks, detections),
                false => (&tracks[..0], &detections[..0]),
            };
            let scene = Scene {
                tracks: tracks.into(),
                detections: detections.into(),
                outlines: self.outlines.1.clone(),
                label: self.label.clone(),
                names: self.names.clone(),
                colour: self.params.colour,
                time: (self.params.clock == Clock::Utc).then_some(taken),
            };
            let layout = drawn_layout(source.layout());
            let of_kept = source.is_retained();
            let draw = move || -> Box<dyn PictureMemory> {
                let mut canvas = Canvas::copy_of(&source.passing());
                scene.paint(&mut canvas);
                Box::new(canvas)
            };
            let picture = match of_kept {
                true => Picture::retained(layout, draw),
                false => Picture::deferred(layout, draw),
            };
            out.push(Frame {
                picture: Arc::new(picture),
                truth: frame.truth.clone(),
                packets: Rows::default(),
                taken: frame.taken,
            });
        }
        Ok(())
    }

    fn update(&mut self, params: DrawParams) {
        // A template that cannot be read was refused when the edit was prepared.
        if let Ok(label) = Label::parse(&params.label) {
            self.label = Arc::new(label);
        }
        self.params = params;
    }
    fn snapshot(&self) {}
    fn restore(&mut self, _: ()) {}
}

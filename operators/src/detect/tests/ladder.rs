//! Going down a model's ladder: what is told of providers that are not used, and how a device is opened for the one that is.

use flowrun_engine::device::{Choice, Device, DeviceKind, Devices, Twin};
use flowrun_engine::infer::{HeadForm, absent};

use super::super::ladder::OpenDevice;
use super::device::detect_by;
use super::*;

#[test]
fn another_provider_than_the_graph_asks_for_is_told_with_the_cause() {
    if !has_runtime() {
        return;
    }
    let model = fixtures().join("dynamic.onnx");
    let told = |provider: &str| {
        let (detect, _) = detect_by(&model, provider, &[]);
        let params = ModelParams::from_values(&values::<ModelParams>(&[("provider", provider)])).unwrap();
        (detect.instead(params.provider), detect.refusals().to_vec())
    };
    for (provider, named) in [("openvino", Provider::OpenVino), ("cuda", Provider::Cuda)] {
        let (text, refusals) = told(provider);
        let Some(refusal) = absent(named) else { continue };
        let text = text.unwrap();
        for part in [&*format!("computes instead of {named}"), &*refusal.cause] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(refusals.contains(&refusal), "{refusals:?}");
    }
    for provider in ["auto", "twin", "cpu"] {
        assert_eq!(told(provider).0, None, "{provider}");
    }
}

/// What is asked of devices for a model file.
struct Asked {
    path: PathBuf,
    params: ModelParams,
    model: Model,
    input: Input,
    head: HeadForm,
    batch: usize,
}

impl Asked {
    fn new(name: &str, batch: usize) -> Self {
        let path = fixtures().join(name);
        let mut model = Model::open(&path, &ModelOptions::new(1, &[Provider::Cpu])).unwrap();
        let input = input_of(&model, Some(batch)).unwrap();
        let head = warm_up(&mut model, &input, None).unwrap().form(100);
        Asked {
            params: ModelParams::from_values(&values::<ModelParams>(&[])).unwrap(),
            path,
            model,
            input,
            head,
            batch,
        }
    }

    fn on(&self, seat: Seat) -> Wanted<'_> {
        Wanted {
            seat,
            name: "m",
            model: &self.path,
            params: &self.params,
            input: &self.input,
            input_name: &self.model.input().name,
            symbol: self.model.batch_symbol(),
            undecoded: false,
            head: self.head,
            batch: Some(self.batch),
            lanes: 2,
        }
    }
}

fn twin_seat() -> Seat {
    Devices::default().of_kind(DeviceKind::Twin).seat(0).unwrap()
}

#[test]
fn a_session_for_each_size_on_a_thread_of_its_own_answers_as_one_for_all() {
    if !has_runtime() {
        return;
    }
    let asked = Asked::new("dynamic.onnx", 4);
    let device: Arc<dyn Device> = Twin::new(1 << 30);
    let pictures = [200, 20, 90].map(|level| flat(64, 48, level));
    let choice = Choice {
        min_score: 0.05,
        iou: 0.45,
        max: 100,
        agnostic: 0,
    };
    let answers = |recorded: bool| {
        let wanted = asked.on(twin_seat());
        let mut accelerator = Accelerator::on(device.clone(), Provider::Twin, &wanted).ok().unwrap();
        accelerator.recorded = recorded;
        let mut pipeline = accelerator.pipeline(&asked.path).unwrap();
        assert_eq!(pipeline.unrecorded().is_none(), recorded);
        let of = |count: usize| {
            for (place, picture) in pictures[..count].iter().enumerate() {
                let placed = accelerated::place(&mut pipeline, place, picture, asked.input.size).unwrap();
                placed.unwrap();
                pipeline.choose(place, choice, None);
            }
            pipeline.run(count).unwrap();
            let mut wide = Vec::new();
            let read = |place| format!("{:?} {:?}", pipeline.kept(place), pipeline.numbers(place, &mut wide));
            (0..count).map(read).collect::<Vec<_>>()
        };
        [1, 3, 2].map(of)
    };
    let [one_for_all, one_for_each] = [false, true].map(answers);
    assert!(one_for_all[1].iter().any(|answer| answer.len() > 20), "{one_for_all:?}");
    assert_eq!(one_for_each, one_for_all);
}

/// A graph that needs more memory than its device has is refused with the sums, and leaves nothing behind; a device that
/// is not there is done without.
#[test]
fn a_device_with_too_little_memory_is_refused_with_the_sums() {
    if !has_runtime() {
        return;
    }
    let asked = Asked::new("dynamic.onnx", 32);
    let climbed = |open: OpenDevice<'_>, closed: &[String]| {
        let (detect, _) = detect_by(&asked.path, "cpu", &[("batch", "32")]);
        let mut opened = Arc::into_inner(detect.opened).unwrap();
        let seats = if closed.is_empty() {
            vec![twin_seat()]
        } else {
            Vec::new()
        };
        let climb = Climb {
            wanted: &|seat| asked.on(seat),
            params: &asked.params,
            open,
            closed,
            floor: None,
            again: &|_| panic!("the host's provider stays"),
        };
        let climbed = climb.climb(&mut opened, &[Provider::Twin, Provider::Cpu], seats);
        let causes: Vec<String> = opened.refusals.iter().map(ToString::to_string).collect();
        climbed.map(|()| (!opened.posts.is_host(), causes))
    };
    let of = |mebibytes: usize| {
        let twin = Twin::new(mebibytes << 20);
        let device: Arc<dyn Device> = twin.clone();
        let open = |provider, wanted: &Wanted<'_>| Accelerator::on(device.clone(), provider, wanted);
        (climbed(&open, &[]), twin)
    };
    let (enough, _) = of(1 << 10);
    assert_eq!(enough.unwrap(), (true, Vec::new()));
    let (refused, twin) = of(1);
    let error = refused.unwrap_err();
    for part in [
        "2 lanes",
        "batches of up to 32",
        "1 of 1 MiB were free",
        "the device has no",
    ] {
        assert!(error.cause.contains(part), "{part}: {}", error.cause);
    }
    assert!(error.remedy.unwrap().contains("`batch="));
    assert_eq!(twin.taken_bytes(), 0, "what was opened is given back");
    let missing = |_: Provider, _: &Wanted<'_>| Err(OperatorError::new("no device: none is here").into());
    let refused_by = |cause: &str| (false, vec![format!("CPU twin: {cause}")]);
    assert_eq!(climbed(&missing, &[]).unwrap(), refused_by("no device: none is here"));
    let closed = ["device 0 cannot be opened: no device: busy".to_owned()];
    assert_eq!(climbed(&missing, &closed).unwrap(), refused_by(&closed[0]));
}

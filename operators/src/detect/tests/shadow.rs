//! A second model that looks on.

use std::sync::mpsc::channel;

use flowrun_engine::metrics::ShadowState;

use super::super::shadow::{About, Look, Shadow};
use super::floor::folder;
use super::*;

fn about() -> About {
    About {
        name: "other".into(),
        model: ModelPlan {
            path: "other.onnx".into(),
            params: ParamValues::new(),
        },
        share: 1.0,
        min_score: 0.25,
        iou: 0.45,
        agnostic: false,
    }
}

/// `detect` with a shadow.
fn followed(look: Look) -> Detect {
    let model = fixtures().join("dynamic.onnx");
    let (mut detect, _) = detect_with(&model, None, PerCamera::new(params(&[]), BTreeMap::new())).unwrap();
    detect.shadow = Some(Arc::new(Shadow::start(about(), Provider::Cpu, look).unwrap()));
    detect
}

/// Shows frames one by one; gives how many rows they were answered with.
fn show(detect: &Detect, frames: usize) -> usize {
    let pictures = [flat(64, 64, 200)];
    let mut lane = detect.lane().unwrap();
    let rows = (0..frames).map(|_| {
        let mut jobs = [job(0, &pictures)];
        detect.process(&mut lane, &mut jobs);
        jobs[0].result.as_ref().unwrap().as_ref().unwrap().len()
    });
    rows.sum()
}

/// What the shadow came to, once it has looked at so many frames.
fn seen(detect: &Detect, compared: u64) -> ShadowState {
    for _ in 0..20_000 {
        let state = detect.compute().shadow.expect("a shadow");
        if state.compared == compared {
            return state;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the shadow never looks: {:?}", detect.compute().shadow);
}

fn alone(path: &Path) -> Look {
    let mut alone = Alone::open(path, &[("provider", "cpu")], &[("min-score", "0.15")]).unwrap();
    Box::new(move |picture| alone.find(picture))
}

#[test]
fn a_shadow_tells_how_far_it_agrees() {
    if !has_runtime() {
        return;
    }
    let folder = folder();
    for (model, drift) in [("net.onnx", [0.0, 0.0]), ("other.onnx", [0.05, 0.1])] {
        let detect = followed(alone(&folder.path().join(model)));
        for round in 1..=3 {
            assert_eq!(show(&detect, 1), 2);
            seen(&detect, round);
        }
        let state = seen(&detect, 3);
        assert_eq!(
            (state.matched, state.only_main, state.only_shadow),
            (6, 0, 0),
            "{state:?}"
        );
        assert_eq!((state.skipped, state.failed, state.share()), (0, 0, 1.0));
        for (got, wanted) in state.score_drift.into_iter().zip(drift) {
            assert!((got - wanted).abs() < 1e-6, "{model}: {state:?}");
        }
    }
}

#[test]
fn a_shadow_that_stalls_delays_nothing() {
    if !has_runtime() {
        return;
    }
    let (go_on, held) = channel::<()>();
    let detect = followed(Box::new(move |_| {
        let _ = held.recv();
        Ok(Vec::<Found>::new())
    }));
    assert_eq!(show(&detect, 30), 60, "each frame is answered while nothing moves");
    let state = detect.compute().shadow.expect("a shadow");
    assert_eq!(state.compared, 0);
    assert!(
        (25..=26).contains(&state.skipped),
        "four wait, and one may be looked at: {state:?}"
    );
    drop(go_on);
    let state = seen(&detect, 30 - state.skipped);
    assert_eq!((state.matched, state.only_main), (0, 2 * state.compared));
    assert_eq!(state.share(), 0.0);
}

#[test]
fn a_shadow_that_panics_goes_on() {
    if !has_runtime() {
        return;
    }
    let mut calls = 0;
    let detect = followed(Box::new(move |_| {
        calls += 1;
        assert!(calls > 1, "panics on purpose");
        Ok(Vec::new())
    }));
    show(&detect, 2);
    let state = seen(&detect, 1);
    assert_eq!((state.failed, state.skipped), (1, 0));
}

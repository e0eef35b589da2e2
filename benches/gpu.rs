//! How fast is `detect`'s way over a device, from pictures there to boxes on the host, beside the network alone?
//!
//! `make gpu-bench MODEL=PATH`; without a CUDA device it says so. The model is a YOLO detection model of 640x640 with an
//! open batch, opened as `detect` opens it: without its last steps. Peers in PyTorch: `tools/gpu-peers.py`, which prints
//! rows of the same table. `FLOWRUN_GPU_BATCHES` (`1 8 16 32`) are the sizes of batches, and the range of TensorRT's
//! engine, which computes in fp16, or in int8 where `FLOWRUN_GPU_CALIBRATION` names a calibration table.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowrun::engine::device::{
    BoxForm, Buffer, CudaStream, Device, DevicePool, FRAMES, Fit, FramePools, Gpu, HeadShape, Lease, Surface,
};
use flowrun::engine::frame::{Matrix, Picture, PictureLayout, PixelFormat, PlainMemory, Range};
use flowrun::engine::infer::{
    Bound, EngineCache, HeadForm, Model, ModelOptions, Pipeline, PipelineOptions, Placement, Precision, Provider,
    Recorded, runtime,
};
use flowrun::prelude::{Result, Size};

const SIDE: u32 = 640;
/// Pictures under way when memory is compared.
const IN_FLIGHT: usize = 512;
const HEAD: HeadShape = HeadShape {
    boxes: BoxForm::Undecoded([SIDE, SIDE]),
    classes: 80,
    anchors: 8400,
};

/// The sizes of batches, the smallest first.
fn batches() -> Vec<usize> {
    let asked = std::env::var("FLOWRUN_GPU_BATCHES").unwrap_or_else(|_| "1 8 16 32".into());
    let mut sizes: Vec<usize> = asked.split_whitespace().map(|size| size.parse().unwrap()).collect();
    sizes.sort_unstable();
    sizes
}

fn main() {
    let device: Arc<dyn Device> = match Gpu::open(0) {
        Ok(device) => device,
        Err(fault) => {
            println!("no CUDA device ({fault})");
            return;
        }
    };
    let Some(path) = std::env::var_os("FLOWRUN_GPU_MODEL").map(PathBuf::from) else {
        println!("FLOWRUN_GPU_MODEL names no model; nothing measured");
        return;
    };
    println!(
        "{}; ONNX Runtime {}; {}",
        device.chip(),
        runtime().unwrap().version(),
        path.display()
    );
    pool(&device);
    println!("| what | batch | p50 ms | p99 ms | img/s |\n|---|---|---|---|---|");
    let wanted =
        std::env::var("FLOWRUN_GPU_PROVIDERS").unwrap_or_else(|_| "cuda cuda-thorough cuda-nchw tensorrt".into());
    for name in wanted.split_whitespace() {
        let (provider, channels_last, thorough, recorded) = match name {
            "cuda" => (Provider::Cuda, true, false, true),
            "cuda-thorough" => (Provider::Cuda, true, true, true),
            "cuda-nchw" => (Provider::Cuda, false, false, true),
            "tensorrt" => (Provider::TensorRt, true, false, false),
            "tensorrt-recorded" => (Provider::TensorRt, true, false, true),
            other => panic!("no provider {other}"),
        };
        let asked = Asked {
            name,
            provider,
            channels_last,
            thorough,
            recorded,
            device: device.clone(),
            path: &path,
            batches: batches(),
        };
        if let Err(error) = provider_rows(&asked) {
            println!("| {name}: {} | | | | |", error.cause.replace('\n', " "));
        }
    }
    // All is measured: what ONNX Runtime's providers do at the end of a process must not fail it, as it does now and then.
    signal_hook::low_level::exit(0);
}

/// Opens a model in a stream: for one recorded size, or for all.
fn open(asked: &Asked<'_>, stream: &Arc<CudaStream>, recorded: Option<usize>) -> Result<Model> {
    let mut options = ModelOptions {
        placement: Placement {
            stream: Some(stream.clone()),
            channels_last: asked.channels_last,
            thorough: asked.thorough,
            recorded: recorded.map(|batch| Recorded {
                batch,
                symbol: Some("batch".into()),
            }),
            ..Placement::default()
        },
        undecoded: true,
        ..ModelOptions::new(
            1,
            if asked.provider == Provider::Cuda {
                &[Provider::Cuda]
            } else {
                &[Provider::TensorRt]
            },
        )
    };
    let mut build = None;
    if asked.provider == Provider::TensorRt {
        let tensorrt = &mut options.placement.tensorrt;
        let shape = |batch: usize| format!("images:{batch}x3x{SIDE}x{SIDE}");
        let (least, most) = (asked.batches[0], asked.batches[asked.batches.len() - 1]);
        tensorrt.shapes = Some([shape(least), shape(most), shape(most)]);
        tensorrt.effort = std::env::var("FLOWRUN_GPU_EFFORT")
            .ok()
            .and_then(|effort| effort.parse().ok());
        if let Some(table) = std::env::var_os("FLOWRUN_GPU_CALIBRATION") {
            tensorrt.calibration = Some(table.into());
            tensorrt.precision = Precision::Int8;
        }
        let cache = EngineCache::open(asked.path, asked.device.chip(), tensorrt, true)?;
        build = cache.begin()?;
        if let Some(build) = &build {
            build.equip(tensorrt)?;
        }
        let found = if build.is_none() { "hit" } else { "miss" };
        println!("| engine cache {found} | | | | |");
        tensorrt.folder = Some(cache.folder().to_owned());
    }
    let begun = Instant::now();
    let model = Model::open(asked.path, &options)?;
    if asked.provider == Provider::TensorRt {
        println!(
            "| {} session opened in {:.1} s | | | | |",
            model.provider(),
            begun.elapsed().as_secs_f64()
        );
    }
    if let Some(build) = build {
        build.finish()?;
    }
    Ok(model)
}

/// What is measured.
struct Asked<'a> {
    name: &'a str,
    provider: Provider,
    channels_last: bool,
    thorough: bool,
    recorded: bool,
    device: Arc<dyn Device>,
    path: &'a Path,
    batches: Vec<usize>,
}

/// The colours of limited BT.709, 1280x720 in the middle of 640x640.
const FIT: Fit = Fit {
    inner: [640, 360],
    margins: [0, 140],
    luma: [16.0, 255.0 / 219.0],
    chroma: [1.7927, 0.2132, 0.5329, 2.1124],
};

fn pipeline(asked: &Asked<'_>, pools: &FramePools, recorded: bool) -> Result<Pipeline> {
    let stream = Arc::new(CudaStream::open(&asked.device)?);
    let options = PipelineOptions {
        size: [SIDE, SIDE],
        batches: &asked.batches,
        head: HeadForm::Grid(HEAD, Some(100)),
        pools: pools.clone(),
        recorded,
    };
    Pipeline::new(stream.clone(), &options, &mut |size| open(asked, &stream, size))
}

fn provider_rows(asked: &Asked<'_>) -> Result<()> {
    let Asked { name, device, .. } = asked;
    let before = device.memory()?.free;
    let stream = Arc::new(CudaStream::open(device)?);
    let model = open(asked, &stream, None)?;
    if std::env::var_os("FLOWRUN_GPU_BUILD_ONLY").is_some() {
        return Ok(());
    }
    let shapes = ([3, SIDE as usize, SIDE as usize], HEAD.dims());
    let mut bare = Bound::new(vec![(model, asked.batches.clone())], device, &shapes.0, &shapes.1)?;
    for batch in asked.batches.iter().copied() {
        row(&format!("{name}: network alone, resident input"), batch, || {
            bare.run(batch).unwrap()
        });
    }
    drop(bare);
    let layout = PictureLayout {
        size: Size {
            width: 1280,
            height: 720,
        },
        format: PixelFormat::Nv12,
        matrix: Matrix::Bt709,
        range: Range::Limited,
    };
    let pools = FramePools::new(device, 3 * 32);
    pools.reserve(FRAMES[1])?;
    let loader = CudaStream::open(device)?;
    let surfaces: Vec<Arc<Surface>> = (0..32)
        .map(|seed| pools.upload(&loader, layout, &noise(seed)).unwrap())
        .collect();
    let host: Vec<_> = (0..32)
        .map(|seed| Picture::new(layout, Box::new(noise(seed))))
        .collect();
    for recorded in [false, true] {
        if recorded && !asked.recorded {
            continue;
        }
        let begun = Instant::now();
        let mut pipeline = pipeline(asked, &pools, recorded)?;
        println!(
            "| {name}: a pipeline opened in {:.1} s | | | | |",
            begun.elapsed().as_secs_f64()
        );
        let how = match pipeline.unrecorded() {
            None => "recorded".to_owned(),
            Some(cause) => format!("launched ({cause})"),
        };
        for batch in asked.batches.iter().copied() {
            let what = format!("{name}: NV12 720p on the device to boxes on the host, {how}");
            row(&what, batch, || {
                surfaces[..batch].iter().enumerate().for_each(|(place, surface)| {
                    pipeline.place_resident(place, surface, &FIT).unwrap();
                });
                pipeline.run(batch).unwrap();
            });
        }
        for batch in asked.batches.iter().copied() {
            let what = format!("{name}: NV12 720p on the host to boxes on the host, {how}");
            row(&what, batch, || {
                host[..batch]
                    .iter()
                    .enumerate()
                    .for_each(|(place, picture)| pipeline.place(place, picture, &FIT).unwrap());
                pipeline.run(batch).unwrap();
            });
        }
    }
    lanes(asked, &pools, &surfaces)?;
    let (state, taken) = (pools.device.state(), before.saturating_sub(device.memory()?.free) >> 20);
    println!(
        "| {name}: device memory kept by ONNX Runtime and pools {taken} MiB; pool efficiency {:.2} | | | | |",
        state.efficiency()
    );
    Ok(())
}

/// Two lanes at once, as `detect` has them.
fn lanes(asked: &Asked<'_>, pools: &FramePools, surfaces: &[Arc<Surface>]) -> Result<()> {
    let recorded = asked.recorded;
    let mut pipelines = [pipeline(asked, pools, recorded)?, pipeline(asked, pools, recorded)?];
    for batch in asked.batches.iter().copied() {
        let begun = Instant::now();
        let rounds = 12_800 / batch.max(4);
        std::thread::scope(|scope| {
            for pipeline in &mut pipelines {
                scope.spawn(move || {
                    for _ in 0..rounds {
                        surfaces[..batch].iter().enumerate().for_each(|(place, surface)| {
                            pipeline.place_resident(place, surface, &FIT).unwrap();
                        });
                        pipeline.run(batch).unwrap();
                    }
                });
            }
        });
        let rate = (2 * rounds * batch) as f64 / begun.elapsed().as_secs_f64();
        println!(
            "| {}: two lanes, NV12 720p on the device to boxes on the host | {batch} | | | {rate:.0} |",
            asked.name
        );
    }
    Ok(())
}

fn noise(seed: u64) -> PlainMemory {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    let mut plane = |bytes: usize| std::iter::repeat_with(&mut next).take(bytes).collect::<Vec<_>>();
    let (luma, chroma) = (plane(1280 * 720), plane(1280 * 360));
    PlainMemory::new([(1280, luma), (1280, chroma)])
}

fn row(what: &str, batch: usize, mut run: impl FnMut()) {
    (0..20).for_each(|_| run());
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < Duration::from_millis(1500) || times.len() < 50 {
        let at = Instant::now();
        run();
        times.push(at.elapsed());
    }
    times.sort_unstable();
    let ms = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let rate = batch as f64 / times.iter().map(Duration::as_secs_f64).sum::<f64>() * times.len() as f64;
    println!("| {what} | {batch} | {:.3} | {:.3} | {rate:.0} |", ms(0.5), ms(0.99));
}

fn pool(device: &Arc<dyn Device>) {
    let pool = DevicePool::new(device);
    for bytes in FRAMES {
        pool.reserve(bytes, 64).unwrap();
    }
    let free = device.memory().unwrap().free;
    let mut times: Vec<Duration> = (0..1_000_000)
        .map(|round: usize| {
            let at = Instant::now();
            let lease: Option<Lease<_>> = pool.take(FRAMES[round % 3]);
            let took = at.elapsed();
            assert!(lease.is_some());
            took
        })
        .collect();
    times.sort_unstable();
    println!(
        "pool take: p50 {:?}, p99 {:?}, worst {:?}; a million of them took {} bytes",
        times[500_000],
        times[990_000],
        times[999_999],
        free.saturating_sub(device.memory().unwrap().free)
    );
    for (name, bytes) in ["1080p", "720p", "480p"].into_iter().zip(FRAMES) {
        let taken = |made: &dyn Fn() -> Box<dyn std::any::Any>| {
            let before = device.memory().unwrap().free;
            let _held = made();
            before.saturating_sub(device.memory().unwrap().free) >> 20
        };
        let pooled = taken(&|| {
            let pool = DevicePool::new(device);
            pool.reserve(bytes, IN_FLIGHT).unwrap();
            Box::new(pool)
        });
        let apart = taken(&|| {
            let each = (0..IN_FLIGHT).map(|_| Buffer::new(device, bytes).unwrap());
            Box::new(each.collect::<Vec<_>>())
        });
        println!("{IN_FLIGHT} pictures of {name}: {pooled} MiB from a pool, {apart} MiB allocated one by one");
    }
}

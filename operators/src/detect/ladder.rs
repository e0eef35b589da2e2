//! Goes down a model's ladder: the first provider that takes the model and is not under its floor computes it.

use std::collections::BTreeMap;

use flowrun_engine::device::{Seat, is_out_of_memory};
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::{Outcome, Pipeline, Provider, Refusal, absent};
use flowrun_engine::operator::PerCamera;

use super::accelerated::{Accelerator, Unused, Wanted};
use super::alone::{found_in, job_of};
use super::floor::Floor;
use super::host::Host;
use super::params::ModelParams;
use super::posts::{Post, Posts};
use super::{DetectLane, Opened};

/// How a device is opened for a provider.
pub(super) type OpenDevice<'a> = &'a dyn Fn(Provider, &Wanted<'_>) -> Result<Accelerator, Unused>;

/// What opening a model needs to try its providers.
pub(super) struct Climb<'a> {
    /// What is asked of a provider on a device.
    pub wanted: &'a dyn Fn(Seat) -> Wanted<'a>,
    /// The model as the graph has it.
    pub params: &'a ModelParams,
    /// Opens a provider's device.
    pub open: OpenDevice<'a>,
    /// Why devices that it is to be tried on cannot be opened.
    pub closed: &'a [String],
    /// What the graph demands of each.
    pub floor: Option<&'a Floor>,
    /// Opens the model once more on the host, by one of these.
    pub again: &'a dyn Fn(&[Provider]) -> Result<(Provider, Host)>,
}

/// A provider that takes the model, with a pipeline for each lane.
type Found = (Accelerator, Vec<Pipeline>);

impl Climb<'_> {
    /// Puts the best accelerator that the ladder has in place on each device, and says why better ones are not used. Where
    /// there is none, the host's provider is held to the floor too.
    ///
    /// # Errors
    /// When devices are there and have too little memory; when a provider that the graph asks for by name is under the
    /// floor, or nothing that is left is good enough.
    pub fn climb(&self, opened: &mut Opened, ladder: &[Provider], seats: Vec<Seat>) -> Result<()> {
        match seats.is_empty() {
            true => self.without_device(opened, ladder),
            false => self
                .closed
                .iter()
                .for_each(|cause| tracing::warn!(cause, "a device is done without")),
        }
        let (mut found, mut unfit, mut full) = (Vec::new(), Vec::new(), None);
        for seat in seats {
            match self.best(opened, ladder, &(self.wanted)(seat.clone())) {
                Ok(Some(best)) => found.push((seat, best)),
                Ok(None) => unfit.push(seat),
                // What stands in for a device would not keep up, and nobody asked for that; another device may.
                Err(error) if is_out_of_memory(&error.cause) => {
                    tracing::warn!(device = seat.ordinal(), cause = error.cause, "a device is done without");
                    full.get_or_insert(error);
                    unfit.push(seat);
                }
                Err(error) => return Err(error),
            }
        }
        match full {
            Some(error) if found.is_empty() => return Err(error),
            // Where others take the model, no camera is to live where it is not.
            _ if !found.is_empty() => unfit.iter().for_each(Seat::bar),
            _ => self.judge_host(opened)?,
        }
        let (host, policy) = ((opened.on_host, opened.input.batch.most()), self.params.breaker());
        let posts = found.into_iter();
        let posts = posts.map(|(seat, found)| Post::on_device(seat, found, host, policy));
        opened.posts = Posts::new(posts.collect(), || Post::on_host(host, policy));
        Ok(())
    }

    /// Says why no provider of a ladder has a device.
    fn without_device(&self, opened: &mut Opened, ladder: &[Provider]) {
        for provider in ladder.iter().copied().filter(|provider| provider.is_on_device()) {
            let closed = || Refusal {
                provider,
                cause: self.closed.join("; "),
                is_loss: true,
            };
            refuse(opened, absent(provider).unwrap_or_else(closed), None);
        }
    }

    /// The best accelerator of a device; none where no provider takes the model there.
    fn best(&self, opened: &mut Opened, ladder: &[Provider], wanted: &Wanted<'_>) -> Result<Option<Found>> {
        for provider in ladder.iter().copied().filter(|provider| provider.is_on_device()) {
            if let Some(refusal) = absent(provider) {
                refuse(opened, refusal, None);
                continue;
            }
            let taken = (self.open)(provider, wanted).and_then(|accelerator| {
                let pipelines = accelerator.pipelines(wanted.model, wanted.lanes)?;
                Ok((accelerator, pipelines))
            });
            let OperatorError { cause, remedy } = match taken {
                Ok((accelerator, mut pipelines)) => match self.judge(opened, &mut pipelines)? {
                    Ok(()) => return Ok(Some((accelerator, pipelines))),
                    Err(cause) => {
                        // Pipelines go before what they were opened on.
                        drop(pipelines);
                        drop(accelerator);
                        self.under_floor(provider, cause)?
                    }
                },
                Err(Unused::Lacks(engine, error)) => {
                    opened.lacking.get_or_insert(*engine);
                    error
                }
                Err(Unused::Fails(error)) => error,
            };
            let full = is_out_of_memory(&cause);
            let refusal = Refusal {
                provider,
                cause: cause.clone(),
                is_loss: true,
            };
            refuse(opened, refusal, remedy.as_deref());
            if full {
                return Err(OperatorError { cause, remedy });
            }
        }
        Ok(None)
    }

    /// Lets what is in place find what is on the floor's pictures: the first of these pipelines, or the host.
    fn judge(&self, opened: &Opened, pipelines: &mut Vec<Pipeline>) -> Result<Result<(), String>> {
        let Some(floor) = self.floor else { return Ok(Ok(())) };
        let mut lane = DetectLane::new(&opened.input, pipelines.pop(), 0);
        let settings = PerCamera::new(floor.settings(), BTreeMap::new());
        let judged = floor.judge(|picture| {
            let mut jobs = [job_of(picture)];
            if lane.pipeline.is_some() {
                if let Outcome::Failed(_, cause) = opened.answer_on_device(&settings, &mut lane, &mut jobs, 1) {
                    return Err(OperatorError::new(cause));
                }
            } else {
                opened.answer(&settings, &mut lane, &mut jobs);
            }
            let [job] = jobs;
            found_in(job.result, |class| opened.name_of(class))
        });
        pipelines.extend(lane.pipeline);
        judged
    }

    /// The host's own provider, where it is not what is to be agreed with.
    fn judge_host(&self, opened: &mut Opened) -> Result<()> {
        let is_reference = |provider| provider == Provider::Cpu && self.params.floor_reference.is_none();
        while self.floor.is_some() && !is_reference(opened.on_host) {
            let Err(cause) = self.judge(opened, &mut Vec::new())? else {
                break;
            };
            let provider = opened.on_host;
            if provider == Provider::Cpu {
                return Err(OperatorError::new(format!("{provider}: {cause}"))
                    .help("lower the floor, or take a model that is nearer to the reference"));
            }
            let OperatorError { cause, remedy } = self.under_floor(provider, cause)?;
            let refusal = Refusal {
                provider,
                cause,
                is_loss: true,
            };
            refuse(opened, refusal, remedy.as_deref());
            (opened.on_host, opened.host) = (self.again)(&[Provider::Cpu])?;
        }
        Ok(())
    }

    /// What becomes of a provider that is under the floor: left out where the graph leaves the choice to us.
    ///
    /// # Errors
    /// When the graph names it.
    fn under_floor(&self, provider: Provider, cause: String) -> Result<OperatorError> {
        let error = OperatorError::new(cause).help("lower the floor, or take another provider");
        if self.params.provider.named() == Some(provider) {
            return Err(error.about(provider));
        }
        Ok(error)
    }
}

/// Says once why a provider is not used, on however many devices.
fn refuse(opened: &mut Opened, refusal: Refusal, remedy: Option<&str>) {
    if !opened.refusals.contains(&refusal) {
        refusal.tell(&opened.path, remedy);
        opened.refusals.push(refusal);
    }
}

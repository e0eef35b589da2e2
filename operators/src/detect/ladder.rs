//! Goes down a model's ladder: the first provider that takes the model and is not under its floor computes it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flowrun_engine::device::is_out_of_memory;
use flowrun_engine::errors::{OperatorError, Result};
use flowrun_engine::infer::{Model, Outcome, Pipeline, Provider, Refusal, Rungs, absent};
use flowrun_engine::operator::PerCamera;

use super::accelerated::{Accelerator, Unused, Wanted};
use super::alone::{found_in, job_of};
use super::floor::Floor;
use super::host::Host;
use super::params::ProviderChoice;
use super::{DetectLane, Opened};

/// How a device is opened for a provider.
pub(super) type OpenDevice<'a> = &'a dyn Fn(Provider, &Wanted<'_>) -> Result<Accelerator, Unused>;

/// What opening a model needs to try its providers.
pub(super) struct Climb<'a> {
    pub wanted: Wanted<'a>,
    /// Opens a provider's device.
    pub open: OpenDevice<'a>,
    /// What the graph demands of each.
    pub floor: Option<&'a Floor>,
    /// Opens the model once more on the host, by one of these.
    pub again: &'a dyn Fn(&[Provider]) -> Result<Model>,
}

impl Climb<'_> {
    /// Puts the best accelerator in place that the ladder has, and says why better ones are not used. Where none is, the
    /// host's provider is held to the floor too.
    ///
    /// # Errors
    /// When a device is there and has too little memory; when a provider that the graph asks for by name is under the
    /// floor, or nothing that is left is good enough.
    pub fn climb(&self, opened: &mut Opened, ladder: &[Provider]) -> Result<()> {
        for provider in ladder.iter().copied().filter(|provider| provider.is_on_device()) {
            if let Some(refusal) = absent(provider) {
                opened.refusals.push(refusal);
                continue;
            }
            let taken = (self.open)(provider, &self.wanted).and_then(|accelerator| {
                let pipelines = accelerator.pipelines(self.wanted.model, self.wanted.lanes)?;
                Ok((accelerator, pipelines))
            });
            let OperatorError { cause, remedy } = match taken {
                Ok((accelerator, pipelines)) => match self.try_on(opened, accelerator, pipelines)? {
                    Ok(()) => break,
                    Err(cause) => self.under_floor(provider, cause)?,
                },
                Err(Unused::Lacks(engine, error)) => {
                    opened.lacking.get_or_insert(*engine);
                    error
                }
                // What stands in for a device would not keep up, and nobody asked for that.
                Err(Unused::Fails(error)) if is_out_of_memory(&error.cause) => return Err(error),
                Err(Unused::Fails(error)) => error,
            };
            tracing::warn!(%provider, cause, remedy, "a provider cannot be used; the next one is tried");
            opened.refusals.push(Refusal {
                provider,
                cause,
                is_loss: true,
            });
        }
        if opened.accelerator.is_none() {
            self.judge_host(opened)?;
        }
        let on_host = (opened.on_host, opened.input.batch.most());
        let accelerated = opened.accelerator.iter();
        let rungs = accelerated.map(|accelerator| (accelerator.provider(), accelerator.most()));
        let rungs: Vec<_> = rungs.chain([on_host]).collect();
        opened.rungs = Rungs::new(&rungs, self.wanted.params.breaker());
        Ok(())
    }

    /// Has an accelerator compute the model, unless it is under the floor.
    fn try_on(
        &self,
        opened: &mut Opened,
        accelerator: Accelerator,
        pipelines: Vec<Pipeline>,
    ) -> Result<Result<(), String>> {
        opened.accelerator = Some(accelerator);
        opened.pipelines = Mutex::new(pipelines);
        let judged = self.judge(opened)?;
        if judged.is_err() {
            // Pipelines go before what they were opened on.
            opened.pipelines = Mutex::default();
            opened.accelerator = None;
        }
        Ok(judged)
    }

    /// Lets what is in place find what is on the floor's pictures.
    fn judge(&self, opened: &Opened) -> Result<Result<(), String>> {
        let Some(floor) = self.floor else { return Ok(Ok(())) };
        let pipeline = opened.pipelines.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut lane = DetectLane::new(&opened.input, pipeline);
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
        opened
            .pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(lane.pipeline);
        judged
    }

    /// The host's own provider, where it is not what is to be agreed with.
    fn judge_host(&self, opened: &mut Opened) -> Result<()> {
        let is_reference = |provider| provider == Provider::Cpu && self.wanted.params.floor_reference.is_none();
        while self.floor.is_some() && !is_reference(opened.on_host) {
            let Err(cause) = self.judge(opened)? else { break };
            let provider = opened.on_host;
            if provider == Provider::Cpu {
                return Err(OperatorError::new(format!("{provider}: {cause}"))
                    .help("lower the floor, or take a model that is nearer to the reference"));
            }
            let OperatorError { cause, remedy } = self.under_floor(provider, cause)?;
            tracing::warn!(%provider, cause, remedy, "a provider cannot be used; the next one is tried");
            opened.refusals.push(Refusal {
                provider,
                cause,
                is_loss: true,
            });
            let model = (self.again)(&[Provider::Cpu])?;
            opened.on_host = model.provider();
            opened.host = Host::new(model);
        }
        Ok(())
    }

    /// What becomes of a provider that is under the floor: left out where the graph leaves the choice to us.
    ///
    /// # Errors
    /// When the graph names it.
    fn under_floor(&self, provider: Provider, cause: String) -> Result<OperatorError> {
        let named = match self.wanted.params.provider {
            ProviderChoice::Auto => None,
            ProviderChoice::Tensorrt => Some(Provider::TensorRt),
            ProviderChoice::Cuda => Some(Provider::Cuda),
            ProviderChoice::Openvino => Some(Provider::OpenVino),
            ProviderChoice::Twin => Some(Provider::Twin),
            ProviderChoice::Cpu => Some(Provider::Cpu),
        };
        let error = OperatorError::new(cause).help("lower the floor, or take another provider");
        if named == Some(provider) {
            return Err(OperatorError {
                cause: format!("{provider}: {}", error.cause),
                remedy: error.remedy,
            });
        }
        Ok(error)
    }
}

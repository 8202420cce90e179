//! [`aiodio_core::workload::fork_dma`] for TypeScript.

use aiodio_core::error::{Error, Result};
use aiodio_core::workload::fork_dma;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::pattern::TransferFault;
use crate::task::Work;
use crate::types::{Failure, key, positive, size};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ForkDmaOptions {
    /// A file full of stamps.
    pub path: String,
    /// A multiple of 1 MiB.
    pub bytes: f64,
    pub seed: BigInt,
    pub file_id: u32,
    pub generation: u32,
    /// Where in a page the memory starts.
    pub alignment: f64,
    /// Threads that read, 2 to `forkDmaWorkersMax()`.
    pub workers: f64,
}

impl TryFrom<ForkDmaOptions> for fork_dma::Options {
    type Error = Error;
    fn try_from(o: ForkDmaOptions) -> Result<Self> {
        Ok(Self {
            key: key(&o.seed, o.file_id, o.generation)?,
            path: o.path.into(),
            bytes: size("bytes", o.bytes)?,
            alignment: usize::try_from(size("alignment", o.alignment)?).unwrap_or(usize::MAX),
            workers: positive("workers", o.workers)?.get(),
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct ForkDmaOutcome {
    /// Why it could not go on.
    pub error: Option<Failure>,
    /// One for each worker that did not get through.
    pub troubles: Vec<ForkDmaTrouble>,
    pub reads: f64,
    pub forks: f64,
    pub forks_during_reads: f64,
}

#[napi(object, object_from_js = false)]
pub struct ForkDmaTrouble {
    /// 0-based.
    pub worker: f64,
    pub fault: TransferFault,
}

impl From<fork_dma::Outcome> for ForkDmaOutcome {
    fn from(outcome: fork_dma::Outcome) -> Self {
        let trouble = |fork_dma::Trouble { worker, fault }| ForkDmaTrouble { worker: worker as f64, fault: fault.into() };
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into_iter().map(trouble).collect(),
            reads: outcome.reads as f64,
            forks: outcome.forks as f64,
            forks_during_reads: outcome.forks_during_reads as f64,
        }
    }
}

/// Reads a file directly while another thread forks.
#[napi(ts_return_type = "Promise<ForkDmaOutcome>")]
pub fn fork_dma_run(o: ForkDmaOptions) -> AsyncTask<Work<ForkDmaOutcome>> {
    Work::start(move || {
        let outcome = match fork_dma::Options::try_from(o) {
            Ok(options) => fork_dma::run(&options),
            Err(error) => fork_dma::Outcome { error: Some(error), ..fork_dma::Outcome::default() },
        };
        outcome.into()
    })
}

/// The most workers that each have a page of what is read in one go.
#[napi]
pub fn fork_dma_workers_max() -> u32 {
    fork_dma::workers_max() as u32
}

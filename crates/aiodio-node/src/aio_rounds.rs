//! [`aiodio_core::workload::aio_rounds`] for TypeScript.

use aiodio_core::error::{Error, Result};
use aiodio_core::workload::aio_rounds;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::pattern::TransferFault;
use crate::task::Work;
use crate::types::{Failure, key, positive};

#[allow(clippy::struct_excessive_bools, reason = "as in the core")]
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct AioRoundsOptions {
    pub path: String,
    pub read: bool,
    /// Creates the file too.
    pub write: bool,
    pub truncate: bool,
    pub direct: bool,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    /// Length of a request.
    pub bytes: f64,
    /// Requests in a round.
    pub requests: f64,
    /// All requests of a round at once, at consecutive offsets; else one after the other at offset 0.
    pub together: bool,
    #[napi(ts_type = "('write' | 'read' | 'write-read')[]")]
    pub rounds: Vec<String>,
    pub seed: BigInt,
    pub file_id: u32,
    /// What the file holds now.
    pub generation: u32,
    /// This byte instead of stamps.
    pub ltp_byte: Option<u32>,
}

impl TryFrom<AioRoundsOptions> for aio_rounds::Options {
    type Error = Error;
    fn try_from(o: AioRoundsOptions) -> Result<Self> {
        Ok(Self {
            key: key(&o.seed, o.file_id, o.generation)?,
            path: o.path.into(),
            read: o.read,
            write: o.write,
            truncate: o.truncate,
            direct: o.direct,
            engine: o.engine.parse()?,
            bytes: positive("bytes", o.bytes)?,
            requests: positive("requests", o.requests)?,
            together: o.together,
            rounds: o.rounds.iter().map(|round| round.parse()).collect::<Result<_>>()?,
            ltp_byte: o.ltp_byte.map(|byte| byte as u8),
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct AioRoundsOutcome {
    /// Why the rounds that are missing did not begin.
    pub error: Option<Failure>,
    /// After one with a fault there is no other.
    pub rounds: Vec<AioRound>,
    /// What the file holds in the end.
    pub generation: u32,
}

#[napi(object, object_from_js = false)]
pub struct AioRound {
    pub fault: Option<TransferFault>,
    /// From submission to completion, without filling and comparing.
    pub elapsed_seconds: f64,
}

impl From<aio_rounds::Outcome> for AioRoundsOutcome {
    fn from(outcome: aio_rounds::Outcome) -> Self {
        let round = |round: aio_rounds::RoundOutcome| AioRound {
            fault: round.fault.map(Into::into),
            elapsed_seconds: round.elapsed.as_secs_f64(),
        };
        Self {
            error: outcome.error.map(Into::into),
            rounds: outcome.rounds.into_iter().map(round).collect(),
            generation: outcome.generation,
        }
    }
}

/// Rounds of asynchronous writes and reads on one file.
#[napi(ts_return_type = "Promise<AioRoundsOutcome>")]
pub fn aio_rounds_run(o: AioRoundsOptions) -> AsyncTask<Work<AioRoundsOutcome>> {
    Work::start(move || {
        let generation = o.generation;
        let outcome = match aio_rounds::Options::try_from(o) {
            Ok(options) => aio_rounds::run(&options),
            Err(error) => aio_rounds::Outcome { error: Some(error), rounds: Vec::new(), generation },
        };
        outcome.into()
    })
}

//! [`aiodio_core::workload::unwritten`] for TypeScript.

use aiodio_core::error::{Error, Result};
use aiodio_core::workload::unwritten;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::expectation::keep;
use crate::race_types::{RaceStats, RaceTroubles};
use crate::task::Work;
use crate::types::{Failure, key, positive, size};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct UnwrittenOptions {
    /// Made anew.
    pub path: String,
    pub bytes: f64,
    /// A multiple of `unitBytes`.
    pub block_bytes: f64,
    /// What direct offsets and lengths must be multiples of.
    pub unit_bytes: f64,
    pub depth: f64,
    pub rounds: u32,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    #[napi(ts_type = "'hole' | 'allocated' | 'punched' | 'zeroed' | 'extended'")]
    pub space: String,
    pub seed: BigInt,
}

impl TryFrom<UnwrittenOptions> for unwritten::Options {
    type Error = Error;
    fn try_from(o: UnwrittenOptions) -> Result<Self> {
        Ok(Self {
            path: o.path.into(),
            bytes: size("bytes", o.bytes)?,
            block_bytes: positive("blockBytes", o.block_bytes)?,
            unit_bytes: positive("unitBytes", o.unit_bytes)?,
            depth: positive("depth", o.depth)?,
            rounds: o.rounds,
            engine: o.engine.parse()?,
            space: o.space.parse()?,
            seed: key(&o.seed, 0, 0)?.seed,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct UnwrittenOutcome {
    /// Why it could not go on; with EOPNOTSUPP the filesystem has no such space.
    pub error: Option<Failure>,
    pub troubles: RaceTroubles,
    pub rounds: u32,
    pub writes: f64,
    /// Reads after a completion.
    pub reads: f64,
    /// Completions that were read back while others of the same extent were in flight.
    pub overlaps: f64,
    pub stats: RaceStats,
    /// What the file is now, for `verifyExpected`; absent when it was not made.
    pub expectation: Option<u32>,
}

impl From<unwritten::Outcome> for UnwrittenOutcome {
    fn from(outcome: unwritten::Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into(),
            rounds: outcome.rounds,
            writes: outcome.writes as f64,
            reads: outcome.reads as f64,
            overlaps: outcome.overlaps as f64,
            stats: outcome.stats.into(),
            expectation: outcome.expected.map(keep),
        }
    }
}

/// Writes asynchronously into space without data, and reads back at once.
#[napi(ts_return_type = "Promise<UnwrittenOutcome>")]
pub fn unwritten_run(o: UnwrittenOptions) -> AsyncTask<Work<UnwrittenOutcome>> {
    Work::start(move || match unwritten::Options::try_from(o) {
        Ok(options) => unwritten::run(&options).into(),
        Err(error) => unwritten::Outcome { error: Some(error), ..Default::default() }.into(),
    })
}

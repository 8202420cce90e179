//! [`aiodio_core::workload::invalidate`] for TypeScript.

use aiodio_core::error::{Error, Result};
use aiodio_core::workload::invalidate;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::expectation::keep;
use crate::race_types::{RaceStats, RaceTrouble, RaceTroubles};
use crate::task::Work;
use crate::types::{Failure, key, positive, size};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct InvalidateOptions {
    /// Made anew.
    pub path: String,
    /// A multiple of `unitBytes`.
    pub block_bytes: f64,
    /// What direct offsets and lengths must be multiples of.
    pub unit_bytes: f64,
    /// What memory must be aligned to.
    pub memory_bytes: f64,
    /// In flight together.
    pub writes: f64,
    pub rounds: u32,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    #[napi(ts_type = "'direct' | 'buffered' | 'mmap' | 'reader' | 'pinned' | 'same-range'")]
    pub collider: String,
    #[napi(ts_type = "'each' | 'batch' | 'end' | 'none'")]
    pub fsync: String,
    pub offset_in_page: f64,
    /// Nothing is permitted.
    pub strict: bool,
    pub seed: BigInt,
}

impl TryFrom<InvalidateOptions> for invalidate::Options {
    type Error = Error;
    fn try_from(o: InvalidateOptions) -> Result<Self> {
        Ok(Self {
            path: o.path.into(),
            block_bytes: positive("blockBytes", o.block_bytes)?,
            unit_bytes: positive("unitBytes", o.unit_bytes)?,
            memory_bytes: positive("memoryBytes", o.memory_bytes)?,
            strict: o.strict,
            writes: positive("writes", o.writes)?,
            rounds: o.rounds,
            engine: o.engine.parse()?,
            collider: o.collider.parse()?,
            fsync: o.fsync.parse()?,
            offset_in_page: usize::try_from(size("offsetInPage", o.offset_in_page)?).unwrap_or(usize::MAX),
            seed: key(&o.seed, 0, 0)?.seed,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct InvalidateOutcome {
    /// Why it could not go on.
    pub error: Option<Failure>,
    pub troubles: RaceTroubles,
    /// EIO of `fsync` after collisions that the kernel does not promise to sort out.
    pub permitted: f64,
    /// Rounds in which data were lost and `fsync` said so, likewise.
    pub announced: f64,
    /// One of those failures.
    pub example: Option<RaceTrouble>,
    pub rounds: u32,
    pub writes: f64,
    pub collisions: f64,
    /// Collisions while the direct write was under way.
    pub overlaps: f64,
    /// Those of them in a page of the direct write.
    pub shared_pages: f64,
    pub stats: RaceStats,
    /// What the file is now, for `verifyExpected`; absent when it was not made.
    pub expectation: Option<u32>,
}

impl From<invalidate::Outcome> for InvalidateOutcome {
    fn from(outcome: invalidate::Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into(),
            permitted: outcome.permitted as f64,
            announced: outcome.announced as f64,
            example: outcome.example.map(Into::into),
            rounds: outcome.rounds,
            writes: outcome.writes as f64,
            collisions: outcome.collisions as f64,
            overlaps: outcome.overlaps as f64,
            shared_pages: outcome.shared_pages as f64,
            stats: outcome.stats.into(),
            expectation: outcome.expected.map(keep),
        }
    }
}

/// Writes directly beside other uses of the same pages.
#[napi(ts_return_type = "Promise<InvalidateOutcome>")]
pub fn invalidate_run(o: InvalidateOptions) -> AsyncTask<Work<InvalidateOutcome>> {
    Work::start(move || match invalidate::Options::try_from(o) {
        Ok(options) => invalidate::run(&options).into(),
        Err(error) => invalidate::Outcome { error: Some(error), ..Default::default() }.into(),
    })
}

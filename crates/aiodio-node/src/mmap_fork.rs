//! [`aiodio_core::workload::mmap_fork`] for TypeScript.

use aiodio_core::error::{Error, Result};
use aiodio_core::workload::mmap_fork;
use napi::bindgen_prelude::{AsyncTask, BigInt};
use napi_derive::napi;

use crate::race_types::{RaceStats, RaceTroubles};
use crate::task::Work;
use crate::types::{Failure, key, positive, size};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct MmapForkOptions {
    /// Made anew.
    pub path: String,
    /// Made anew, with "file".
    pub mapped: String,
    /// A multiple of `blockBytes`.
    pub bytes: f64,
    pub block_bytes: f64,
    pub rounds: f64,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    #[napi(ts_type = "'shared' | 'private' | 'file' | 'huge' | 'thp'")]
    pub memory: String,
    #[napi(ts_type = "'fork' | 'thread'")]
    pub writer: String,
    /// A multiple of 8.
    pub offset_in_page: f64,
    pub logical_block_bytes: f64,
    pub seed: BigInt,
}

impl TryFrom<MmapForkOptions> for mmap_fork::Options {
    type Error = Error;
    fn try_from(o: MmapForkOptions) -> Result<Self> {
        Ok(Self {
            path: o.path.into(),
            mapped: o.mapped.into(),
            bytes: positive("bytes", o.bytes)?.get(),
            block_bytes: positive("blockBytes", o.block_bytes)?,
            rounds: size("rounds", o.rounds)?,
            engine: o.engine.parse()?,
            source: o.memory.parse()?,
            writer: o.writer.parse()?,
            offset_in_page: usize::try_from(size("offsetInPage", o.offset_in_page)?).unwrap_or(usize::MAX),
            resume_bytes: positive("logicalBlockBytes", o.logical_block_bytes)?,
            seed: key(&o.seed, 0, 0)?.seed,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct MmapForkOutcome {
    /// Why it could not go on.
    pub error: Option<Failure>,
    pub troubles: RaceTroubles,
    pub rounds: f64,
    /// Transfers during which the memory changed, or a child was made.
    pub overlaps: f64,
    /// Bytes that the other hand wrote meanwhile.
    pub bytes_changed: f64,
    pub stats: RaceStats,
}

impl From<mmap_fork::Outcome> for MmapForkOutcome {
    fn from(outcome: mmap_fork::Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into(),
            rounds: outcome.rounds as f64,
            overlaps: outcome.overlaps as f64,
            bytes_changed: outcome.bytes_changed as f64,
            stats: outcome.stats.into(),
        }
    }
}

/// Writes directly from memory that a child or a thread changes meanwhile, and reads back what has become of it.
#[napi(ts_return_type = "Promise<MmapForkOutcome>")]
pub fn mmap_fork_run(o: MmapForkOptions) -> AsyncTask<Work<MmapForkOutcome>> {
    Work::start(move || match mmap_fork::Options::try_from(o) {
        Ok(options) => mmap_fork::run(&options).into(),
        Err(error) => mmap_fork::Outcome { error: Some(error), ..Default::default() }.into(),
    })
}

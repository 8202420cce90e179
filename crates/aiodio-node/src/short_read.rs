//! The workload of `uring_short_read`.

use std::sync::Arc;

use aiodio_core as core;
use core::error::{Error, Result};
use core::workload::short_read::{self, Options, Outcome, Wrong};
use napi::bindgen_prelude::{AsyncTask, BigInt, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::Progress;
use crate::task::Work;
use crate::types::{self, BadRange, EngineStats, Failure};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ShortReadOptions {
    /// Filled by `fillFile` with these stamps.
    pub path: String,
    pub bytes: f64,
    pub seed: BigInt,
    pub file_id: u32,
    pub generation: u32,
    pub block_bytes: f64,
    pub depth: f64,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    /// "logical", "page", or a decimal byte offset inside a page.
    pub buffer_align: String,
    /// The step of "logical".
    pub logical_block_bytes: f64,
    pub passes: u32,
    pub resubmit: bool,
    pub disturb: bool,
}

impl TryFrom<ShortReadOptions> for Options {
    type Error = Error;
    fn try_from(o: ShortReadOptions) -> Result<Self> {
        let key = types::key(&o.seed, o.file_id, o.generation)?;
        Ok(Self {
            path: o.path.into(),
            bytes: types::size("bytes", o.bytes)?,
            key,
            block_bytes: types::positive("blockBytes", o.block_bytes)?,
            depth: types::positive("depth", o.depth)?,
            engine: o.engine.parse()?,
            align: types::align(&o.buffer_align, types::positive("logicalBlockBytes", o.logical_block_bytes)?)?,
            passes: o.passes,
            resubmit: o.resubmit,
            disturb: o.disturb,
            seed: key.seed,
        })
    }
}

/// A read that went wrong.
#[napi(object, object_from_js = false)]
pub struct ShortReadTrouble {
    /// "short": it ended before it had to; "touched": and memory behind its end has changed; "unfilled": it says that it was complete
    /// and left memory as it was; "long", "data", "refused".
    #[napi(ts_type = "'short' | 'touched' | 'unfilled' | 'long' | 'data' | 'refused'")]
    pub kind: String,
    pub offset: f64,
    pub asked: f64,
    /// Bytes that were there to be read.
    pub expected: f64,
    pub got: f64,
    /// For "touched" and "unfilled": offset in the buffer.
    pub first: Option<f64>,
    pub errno: Option<i32>,
    /// Like "EIO".
    pub code: Option<String>,
    pub ranges: Vec<BadRange>,
    pub ranges_total: f64,
}

impl From<short_read::Trouble> for ShortReadTrouble {
    fn from(trouble: short_read::Trouble) -> Self {
        let short_read::Trouble { offset, asked, expected, got, wrong } = trouble;
        let mut shown = Self {
            kind: String::new(),
            offset: offset as f64,
            asked: asked as f64,
            expected: expected as f64,
            got: got as f64,
            first: None,
            errno: None,
            code: None,
            ranges: Vec::new(),
            ranges_total: 0.0,
        };
        let kind = match wrong {
            Wrong::Short => "short",
            Wrong::Long => "long",
            Wrong::Touched { first } => {
                shown.first = Some(first as f64);
                "touched"
            }
            Wrong::Unfilled { first } => {
                shown.first = Some(first as f64);
                "unfilled"
            }
            Wrong::Data { ranges, total } => {
                shown.ranges = ranges.into_iter().map(Into::into).collect();
                shown.ranges_total = total as f64;
                "data"
            }
            Wrong::Refused(errno) => {
                (shown.errno, shown.code) = (Some(errno.0), Some(errno.name()));
                "refused"
            }
        };
        kind.clone_into(&mut shown.kind);
        shown
    }
}

#[napi(object, object_from_js = false)]
pub struct ShortReadOutcome {
    /// Absent when all reads were done.
    pub error: Option<Failure>,
    /// The first of them.
    pub troubles: Vec<ShortReadTrouble>,
    pub troubles_total: f64,
    pub reads: f64,
    /// Reads that ended at the end of the file, short and right.
    pub at_end: f64,
    pub dropped: f64,
    pub read_ahead: f64,
    pub reclaimed: f64,
    pub no_reclaim: bool,
    pub stats: EngineStats,
    pub elapsed_seconds: f64,
}

impl From<Outcome> for ShortReadOutcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into_iter().map(Into::into).collect(),
            troubles_total: outcome.troubles_total as f64,
            reads: outcome.reads as f64,
            at_end: outcome.at_end as f64,
            dropped: outcome.dropped as f64,
            read_ahead: outcome.read_ahead as f64,
            reclaimed: outcome.reclaimed as f64,
            no_reclaim: outcome.no_reclaim,
            stats: outcome.stats.into(),
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
        }
    }
}

/// Buffered reads, many in flight, while other threads disturb the page cache.
#[napi(ts_return_type = "Promise<ShortReadOutcome>")]
pub fn short_read_run(
    o: ShortReadOptions,
    #[napi(ts_arg_type = "(doneBytes: number) => void")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work<ShortReadOutcome>>> {
    let progress: Option<Arc<Progress>> =
        on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build().map(Arc::new)).transpose()?;
    Ok(Work::start(move || match Options::try_from(o) {
        Ok(options) => short_read::run(&options, |done| {
            if let Some(progress) = &progress {
                progress.call(done as f64, ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
        .into(),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() }.into(),
    }))
}

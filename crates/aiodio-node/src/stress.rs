//! The workload of `aio_signal_stress`.

use std::sync::Arc;

use aiodio_core as core;
use core::error::{Error, Result};
use core::workload::signal_stress::{self, Action, Options, Outcome, Wrong};
use napi::bindgen_prelude::{AsyncTask, BigInt, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::Progress;
use crate::expectation;
use crate::task::Work;
use crate::types::{self, BadRange, EngineStats, Failure};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "as in the core")]
pub struct StressOptions {
    pub directory: String,
    pub workers: f64,
    pub operations: f64,
    pub seed: BigInt,
    pub first_file: u32,
    pub files: f64,
    pub file_bytes: f64,
    pub block_bytes: f64,
    pub depth: f64,
    #[napi(ts_type = "Array<'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'>")]
    pub engines: Vec<String>,
    pub direct: bool,
    pub buffered: bool,
    /// "logical", "page", or a decimal byte offset inside a page.
    pub buffer_align: String,
    /// The step of "logical".
    pub logical_block_bytes: f64,
    /// What direct offsets and lengths are multiples of.
    pub unit_bytes: f64,
    pub truncate_beside: bool,
    pub signals: bool,
    pub commit_old_mistake: bool,
}

impl TryFrom<StressOptions> for Options {
    type Error = Error;
    fn try_from(o: StressOptions) -> Result<Self> {
        let seed = types::key(&o.seed, o.first_file, 0)?.seed;
        Ok(Self {
            directory: o.directory.into(),
            workers: types::positive("workers", o.workers)?,
            operations: types::size("operations", o.operations)?,
            seed,
            first_file: o.first_file,
            files: types::positive("files", o.files)?,
            file_bytes: types::size("fileBytes", o.file_bytes)?,
            block_bytes: types::positive("blockBytes", o.block_bytes)?,
            depth: types::positive("depth", o.depth)?,
            engines: o.engines.iter().map(|engine| engine.parse()).collect::<Result<_>>()?,
            direct: o.direct,
            buffered: o.buffered,
            align: types::align(&o.buffer_align, types::positive("logicalBlockBytes", o.logical_block_bytes)?)?,
            unit_bytes: types::positive("unitBytes", o.unit_bytes)?,
            truncate_beside: o.truncate_beside,
            signals: o.signals,
            commit_old_mistake: o.commit_old_mistake,
        })
    }
}

/// An operation that went wrong.
#[napi(object, object_from_js = false)]
pub struct StressTrouble {
    /// "refused": an errno; "data": a read returned what nobody wrote; "short", "long": it transferred `got` bytes; "size": fstat
    /// said `got`.
    #[napi(ts_type = "'refused' | 'data' | 'short' | 'long' | 'size'")]
    pub kind: String,
    /// Like "pread".
    pub call: String,
    /// Its name.
    pub file: String,
    pub offset: f64,
    pub bytes: f64,
    pub engine: String,
    pub direct: bool,
    pub errno: Option<i32>,
    /// Like "EIO".
    pub code: Option<String>,
    pub got: Option<f64>,
    pub least: Option<f64>,
    pub most: Option<f64>,
    pub ranges: Vec<BadRange>,
    pub ranges_total: f64,
}

impl From<signal_stress::Trouble> for StressTrouble {
    fn from(trouble: signal_stress::Trouble) -> Self {
        let signal_stress::Operation { call, file, offset, bytes, engine, direct } = trouble.operation;
        let mut shown = Self {
            kind: String::new(),
            call: call.to_owned(),
            file,
            offset: offset as f64,
            bytes: bytes as f64,
            engine: engine.to_owned(),
            direct,
            errno: None,
            code: None,
            got: None,
            least: None,
            most: None,
            ranges: Vec::new(),
            ranges_total: 0.0,
        };
        let kind = match trouble.wrong {
            Wrong::Refused(errno) => {
                (shown.errno, shown.code) = (Some(errno.0), Some(errno.name()));
                "refused"
            }
            Wrong::Data { ranges, total } => {
                shown.ranges = ranges.into_iter().map(Into::into).collect();
                shown.ranges_total = total as f64;
                "data"
            }
            Wrong::Short { got, least } => {
                (shown.got, shown.least) = (Some(got as f64), Some(least as f64));
                "short"
            }
            Wrong::Long { got, most } => {
                (shown.got, shown.most) = (Some(got as f64), Some(most as f64));
                "long"
            }
            Wrong::Size { found, least, most } => {
                (shown.got, shown.least, shown.most) = (Some(found as f64), Some(least as f64), Some(most as f64));
                "size"
            }
        };
        kind.clone_into(&mut shown.kind);
        shown
    }
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct StressFile {
    pub path: String,
    /// What it should be, for `verifyExpected`.
    pub expectation: u32,
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct StressCount {
    /// Like "punch".
    pub action: String,
    pub done: f64,
}

#[napi(object, object_from_js = false)]
pub struct StressOutcome {
    /// Absent when the plan was carried out.
    pub error: Option<Failure>,
    /// The first of them.
    pub troubles: Vec<StressTrouble>,
    pub troubles_total: f64,
    pub files: Vec<StressFile>,
    pub stats: EngineStats,
    /// Operations done, of each kind.
    pub counts: Vec<StressCount>,
    /// Reads and writes with `O_DIRECT`.
    pub direct: f64,
    /// Kinds of operation that this seed leaves out.
    pub left_out: Vec<String>,
    /// Kinds that the filesystem does not have.
    pub unsupported: Vec<String>,
    pub no_direct: bool,
    pub signals: f64,
    pub interrupted_calls: f64,
    pub mistakes: f64,
    /// Direct reads across the end of a file that failed with EIO, and succeeded when they ended there.
    pub collisions: f64,
    pub elapsed_seconds: f64,
}

impl From<Outcome> for StressOutcome {
    fn from(outcome: Outcome) -> Self {
        let names = |actions: Vec<Action>| actions.into_iter().map(|action| action.name().to_owned()).collect();
        let counts = Action::ALL.into_iter().zip(outcome.done);
        let files = outcome.files.into_iter().map(|file| StressFile {
            path: file.path.to_string_lossy().into_owned(),
            expectation: expectation::keep(file.expected),
        });
        Self {
            error: outcome.error.map(Into::into),
            troubles: outcome.troubles.into_iter().map(Into::into).collect(),
            troubles_total: outcome.troubles_total as f64,
            files: files.collect(),
            stats: outcome.stats.into(),
            counts: counts.map(|(action, done)| StressCount { action: action.name().to_owned(), done: done as f64 }).collect(),
            direct: outcome.direct as f64,
            left_out: names(outcome.left_out),
            unsupported: names(outcome.unsupported),
            no_direct: outcome.no_direct,
            signals: outcome.signals as f64,
            interrupted_calls: outcome.interrupted_calls as f64,
            mistakes: outcome.mistakes as f64,
            collisions: outcome.collisions as f64,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
        }
    }
}

/// Random operations of many threads on a few files, under a storm of signals.
#[napi(ts_return_type = "Promise<StressOutcome>")]
pub fn stress_run(
    o: StressOptions,
    #[napi(ts_arg_type = "(doneOperations: number) => void")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work<StressOutcome>>> {
    let progress: Option<Arc<Progress>> =
        on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build().map(Arc::new)).transpose()?;
    Ok(Work::start(move || match Options::try_from(o) {
        Ok(options) => signal_stress::run(&options, |done| {
            if let Some(progress) = &progress {
                progress.call(done as f64, ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
        .into(),
        Err(error) => Outcome { error: Some(error), ..Outcome::default() }.into(),
    }))
}

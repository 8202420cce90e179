//! The workload of fsx-linux.

use std::sync::Arc;

use aiodio_core as core;
use core::error::{Error, Result, Step};
use core::workload::fsx;
use napi::bindgen_prelude::{AsyncTask, BigInt, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::expectation::keep;
use crate::task::Work;
use crate::types::{self, BadRange, EngineStats, Failure};

#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct FsxOptions {
    /// Created if need be, and emptied.
    pub path: String,
    pub seed: BigInt,
    /// How many operations.
    pub operations: f64,
    /// The file never becomes longer.
    pub size_max: f64,
    /// The longest operation; absent: as long as the file may be.
    pub bytes_max: Option<f64>,
    pub read_align: f64,
    pub write_align: f64,
    pub truncate_align: f64,
    /// Names of operations to choose from.
    pub kinds: Vec<String>,
    #[napi(ts_type = "'libaio' | 'io_uring' | 'io_uring-fixed' | 'sync'")]
    pub engine: String,
    /// `O_DIRECT` for reads and writes.
    pub direct: bool,
    /// What direct transfers are aligned to.
    pub direct_align: f64,
    /// A log whose operations, and seed, are to be repeated.
    pub replay: Option<String>,
    /// Where to write the log of this run, in whatever way it ends.
    pub log: Option<String>,
    /// Return all operations as lines.
    pub list: bool,
    /// How many bad ranges to describe.
    pub ranges_max: u32,
}

impl TryFrom<&FsxOptions> for fsx::Options {
    type Error = Error;
    fn try_from(o: &FsxOptions) -> Result<Self> {
        let unknown = |message| Error::new(Step::Options, message);
        Ok(Self {
            path: o.path.clone().into(),
            seed: types::key(&o.seed, 0, 0)?.seed,
            operations: types::size("operations", o.operations)?,
            size_max: types::size("sizeMax", o.size_max)?,
            bytes_max: o.bytes_max.map_or(Ok(u64::MAX), |bytes| types::size("bytesMax", bytes))?,
            read_align: types::size("readAlign", o.read_align)?,
            write_align: types::size("writeAlign", o.write_align)?,
            truncate_align: types::size("truncateAlign", o.truncate_align)?,
            kinds: o.kinds.iter().map(|name| name.parse().map_err(unknown)).collect::<Result<_>>()?,
            engine: o.engine.parse()?,
            direct: o.direct,
            direct_align: types::positive("directAlign", o.direct_align)?,
            replay: o.replay.as_ref().map(|path| fsx::Log::read(path.as_ref())).transpose()?,
            ranges_max: o.ranges_max as usize,
        })
    }
}

#[napi(object, object_from_js = false)]
pub struct FsxMismatch {
    #[napi(ts_type = "'read' | 'mapping' | 'behind-end' | 'size'")]
    pub seen: String,
    /// For "size".
    pub bytes_expected: f64,
    /// For "size".
    pub bytes_found: f64,
    pub ranges: Vec<BadRange>,
    pub ranges_total: f64,
    /// The last operations that touched the first bad range, with their numbers.
    pub history: Vec<String>,
}

#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct FsxCount {
    pub kind: String,
    pub count: f64,
}

#[napi(object, object_from_js = false)]
pub struct FsxOutcome {
    /// The call that failed; see `last`.
    pub error: Option<Failure>,
    /// The difference found; see `last`.
    pub mismatch: Option<FsxMismatch>,
    /// Why the log could not be written.
    pub log_error: Option<Failure>,
    /// The last operation with its number, as in the log; absent when there was none.
    pub last: Option<String>,
    /// How often each kind was done.
    pub counts: Vec<FsxCount>,
    /// Choices that the file was too short for.
    pub too_short: f64,
    /// Choices that it was too long for.
    pub too_long: f64,
    /// What the filesystem does not have.
    pub unsupported: Vec<String>,
    /// The seed of the data: the log's for a replay.
    pub seed: BigInt,
    /// What the file should be now, for `verifyExpected`.
    pub expectation: u32,
    /// All operations, if they were asked for.
    pub operations: Vec<String>,
    pub stats: EngineStats,
    pub elapsed_seconds: f64,
}

fn numbered((number, operation): &(u64, fsx::Operation)) -> String {
    format!("{number}: {operation}")
}

impl FsxOutcome {
    fn new(outcome: fsx::Outcome, list: bool, log_error: Option<Error>) -> Self {
        let operations = &outcome.log.operations;
        let count = |kind: fsx::Kind| FsxCount {
            kind: kind.name().to_owned(),
            count: operations.iter().filter(|operation| operation.kind == kind).count() as f64,
        };
        Self {
            last: operations.last().map(|last| numbered(&(operations.len() as u64, *last))),
            counts: fsx::Kind::ALL.into_iter().map(count).filter(|count| count.count > 0.0).collect(),
            operations: if list { operations.iter().map(ToString::to_string).collect() } else { Vec::new() },
            error: outcome.error.map(Into::into),
            mismatch: outcome.mismatch.map(|mismatch| FsxMismatch {
                seen: mismatch.seen.name().to_owned(),
                bytes_expected: mismatch.bytes_expected as f64,
                bytes_found: mismatch.found.bytes_found as f64,
                ranges: mismatch.found.ranges.into_iter().map(Into::into).collect(),
                ranges_total: mismatch.found.ranges_total as f64,
                history: mismatch.history.iter().map(numbered).collect(),
            }),
            log_error: log_error.map(Into::into),
            too_short: outcome.too_short as f64,
            too_long: outcome.too_long as f64,
            unsupported: outcome.unsupported.iter().map(|kind| kind.name().to_owned()).collect(),
            seed: outcome.log.seed.into(),
            expectation: keep(outcome.origins),
            stats: outcome.stats.into(),
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
        }
    }
}

/// Random operations on one file, each compared with a model of it.
#[napi(ts_return_type = "Promise<FsxOutcome>")]
pub fn fsx(
    o: FsxOptions,
    #[napi(ts_arg_type = "(operations: number) => void")] on_progress: Option<Function<'_, f64, ()>>,
) -> napi::Result<AsyncTask<Work<FsxOutcome>>> {
    let progress: Option<Arc<crate::Progress>> =
        on_progress.map(|function| function.build_threadsafe_function().weak::<true>().build().map(Arc::new)).transpose()?;
    Ok(Work::start(move || {
        let options = match fsx::Options::try_from(&o) {
            Ok(options) => options,
            Err(error) => return FsxOutcome::new(fsx::Outcome::refused(error), false, None),
        };
        let outcome = fsx::run(&options, |operations| {
            if let Some(progress) = &progress {
                progress.call(operations as f64, ThreadsafeFunctionCallMode::NonBlocking);
            }
        });
        let log_error = o.log.as_ref().and_then(|path| outcome.log.write(path.as_ref()).err());
        FsxOutcome::new(outcome, o.list, log_error)
    }))
}

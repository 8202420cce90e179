//! A run whose logs are files, and what of it is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Kind, Log, Operation, Options, Outcome, run};
use crate::engine::Stats;
use crate::error::Error;
use crate::workload::shared::finding::Finding;
use crate::{expectation, json};

/// What to do, and with which files.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// What to do.
    pub run: Options,
    /// A log whose operations, and seed, are to be repeated.
    pub replay: Option<PathBuf>,
    /// Where to write the log of this run, in whatever way it ends.
    pub log: Option<PathBuf>,
    /// Tell all operations.
    pub list: bool,
}

/// How often something was done.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FsxCount {
    /// What.
    pub kind: Kind,
    /// How often.
    pub count: u64,
}

/// How it went.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The call that failed; see `last`.
    pub error: Option<Error>,
    /// The difference found; see `last`, and [`Outcome::finding`] for its kinds.
    pub finding: Option<Finding>,
    /// The last operations that touched the first bad range, with their numbers.
    pub history: Vec<String>,
    /// Why the log could not be written.
    pub log_error: Option<Error>,
    /// The last operation with its number, as in the log; none when there was none.
    pub last: Option<String>,
    /// How often each kind was done.
    pub counts: Vec<FsxCount>,
    /// Choices that the file was too short for.
    pub too_short: u64,
    /// Choices that it was too long for.
    pub too_long: u64,
    /// What the filesystem does not have.
    pub unsupported: Vec<Kind>,
    /// The seed of the data: the log's for a replay.
    #[serde(serialize_with = "json::write_seed")]
    #[cfg_attr(feature = "typescript", ts(type = "bigint"))]
    pub seed: u64,
    /// What the file should be now.
    #[serde(rename = "expectation", serialize_with = "expectation::keep")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub origins: super::Origins,
    /// All operations, if they were asked for.
    pub operations: Vec<String>,
    /// The queue's counts.
    pub stats: Stats,
    /// Duration of the operations.
    pub elapsed_seconds: f64,
}

fn numbered((number, operation): &(u64, Operation)) -> String {
    format!("{number}: {operation}")
}

/// Does it. `progress` is told the number of operations done.
pub fn run_and_report(request: Request, progress: impl FnMut(u64)) -> Report {
    let replay = match request.replay.as_deref().map(Log::read).transpose() {
        Ok(replay) => replay,
        Err(error) => return report(Outcome { error: Some(error), ..Outcome::nothing(0) }, &[], None),
    };
    let outcome = run(&Options { replay, ..request.run }, progress);
    let log_error = request.log.and_then(|path| outcome.log.write(&path).err());
    let operations = if request.list { outcome.log.operations.clone() } else { Vec::new() };
    report(outcome, &operations, log_error)
}

fn report(outcome: Outcome, operations: &[Operation], log_error: Option<Error>) -> Report {
    let done = &outcome.log.operations;
    let count = |kind: Kind| FsxCount { kind, count: done.iter().filter(|operation| operation.kind == kind).count() as u64 };
    Report {
        last: done.last().map(|last| numbered(&(done.len() as u64, *last))),
        counts: Kind::ALL.into_iter().map(count).filter(|count| count.count > 0).collect(),
        operations: operations.iter().map(ToString::to_string).collect(),
        error: outcome.error,
        finding: outcome.finding,
        history: outcome.history.iter().map(numbered).collect(),
        log_error,
        too_short: outcome.too_short,
        too_long: outcome.too_long,
        unsupported: outcome.unsupported,
        seed: outcome.log.seed,
        origins: outcome.origins,
        stats: outcome.stats,
        elapsed_seconds: outcome.elapsed.as_secs_f64(),
    }
}

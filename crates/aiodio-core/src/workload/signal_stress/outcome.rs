//! How it went.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Action;
use crate::engine::Stats;
use crate::error::Error;
use crate::oracle::Oracle;
use crate::workload::shared::finding::Findings;
use crate::{expectation, json};

/// A file as the operations have left it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct FileLeft {
    /// Where it is.
    pub path: PathBuf,
    /// What it should be.
    #[serde(rename = "expectation", serialize_with = "expectation::keep")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub expected: Oracle,
}

/// How it went.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why it could not go on. What was found before stands.
    pub error: Option<Error>,
    /// The operations that went wrong.
    pub findings: Findings,
    /// The files.
    pub files: Vec<FileLeft>,
    /// The engines' counts, of all workers.
    pub stats: Stats,
    /// Operations done, by [`Action`].
    #[serde(rename = "counts", serialize_with = "counts")]
    #[cfg_attr(feature = "typescript", ts(type = "Array<{ action: Action, done: number }>"))]
    pub done: [u64; Action::ALL.len()],
    /// Of these reads and writes, those with `O_DIRECT`.
    pub direct: u64,
    /// Kinds that this seed leaves out.
    pub left_out: Vec<Action>,
    /// Kinds that the filesystem does not have.
    pub unsupported: Vec<Action>,
    /// The filesystem has no direct I/O.
    pub no_direct: bool,
    /// Signals sent.
    pub signals: u64,
    /// System calls other than the engines' that a signal interrupted, all called again.
    pub interrupted_calls: u64,
    /// Times that the old mistake was committed.
    pub mistakes: u64,
    /// Direct reads across the end of a file that failed with EIO, and succeeded when they ended there.
    pub collisions: u64,
    /// From the first operation to the last completion.
    #[serde(rename = "elapsedSeconds", serialize_with = "json::seconds")]
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub elapsed: Duration,
}

fn counts<S: Serializer>(done: &[u64; Action::ALL.len()], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Count {
        action: Action,
        done: u64,
    }
    serializer.collect_seq(Action::ALL.into_iter().zip(done).map(|(action, done)| Count { action, done: *done }))
}

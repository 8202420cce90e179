//! What went wrong, and how it went.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Action;
use crate::engine::{Kind, Stats};
use crate::error::{Errno, Error};
use crate::oracle::Oracle;
use crate::verify::BadRange;
use crate::{expectation, json};

/// What an operation that went wrong was.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "StressOperation"))]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Like `pread` or `ftruncate`.
    pub call: &'static str,
    /// The file's name.
    pub file: String,
    /// Byte offset in it.
    pub offset: u64,
    /// Bytes; of a truncate the new size.
    pub bytes: u64,
    /// The kernel's interface.
    pub engine: Kind,
    /// With `O_DIRECT`.
    pub direct: bool,
}

/// What went wrong.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// The kernel completed it with an error.
    Refused(Errno),
    /// A read returned data that nobody can have written there.
    Data {
        /// The first bad ranges.
        ranges: Vec<BadRange>,
        /// How many there are.
        total: u64,
    },
    /// A transfer that went no further, although neither the end of the file nor an error was there.
    Short {
        /// Bytes transferred.
        got: u64,
        /// Bytes that should have been, at least.
        least: u64,
    },
    /// A read returned more than there can have been.
    Long {
        /// Bytes transferred.
        got: u64,
        /// Bytes that there were, at most.
        most: u64,
    },
    /// `fstat(2)`, while nobody else used the file.
    Size {
        /// In bytes.
        found: u64,
        /// What would be right.
        least: u64,
        /// What would be right.
        most: u64,
    },
}

/// One operation that went wrong.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(as = "StressTrouble", rename = "StressTrouble"))]
#[serde(into = "StressTrouble")]
pub struct Trouble {
    /// Which.
    pub operation: Operation,
    /// How.
    pub wrong: Wrong,
}

/// [`Trouble`] as JSON has it.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase")]
struct StressTrouble {
    /// "refused": an errno; "data": a read returned what nobody wrote; "short", "long": it transferred `got` bytes; "size": fstat
    /// said `got`.
    #[cfg_attr(feature = "typescript", ts(type = "\"refused\" | \"data\" | \"short\" | \"long\" | \"size\""))]
    kind: &'static str,
    #[serde(flatten)]
    operation: Operation,
    errno: Option<Errno>,
    got: Option<u64>,
    least: Option<u64>,
    most: Option<u64>,
    ranges: Vec<BadRange>,
    ranges_total: u64,
}

impl From<Trouble> for StressTrouble {
    fn from(Trouble { operation, wrong }: Trouble) -> Self {
        let (errno, got, least, most, ranges, ranges_total) = (None, None, None, None, Vec::new(), 0);
        let shown = Self { kind: "refused", operation, errno, got, least, most, ranges, ranges_total };
        match wrong {
            Wrong::Refused(errno) => Self { errno: Some(errno), ..shown },
            Wrong::Data { ranges, total } => Self { kind: "data", ranges, ranges_total: total, ..shown },
            Wrong::Short { got, least } => Self { kind: "short", got: Some(got), least: Some(least), ..shown },
            Wrong::Long { got, most } => Self { kind: "long", got: Some(got), most: Some(most), ..shown },
            Wrong::Size { found, least, most } => {
                Self { kind: "size", got: Some(found), least: Some(least), most: Some(most), ..shown }
            }
        }
    }
}

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
    /// The first operations that went wrong.
    pub troubles: Vec<Trouble>,
    /// How many there were.
    pub troubles_total: u64,
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

//! Reads a stamped file back and says what is wrong with it.
//!
//! Two verification levels are here. `cache` is what LTP does: a buffered read, which may be answered by the page cache.
//! `disk` makes the data durable, drops it from the page cache and reads it with `O_DIRECT`. The two have their own verdicts: cache
//! bad and disk good is another bug than the reverse.
//!
//! Parts of long holes are left out where only zeros are right; [`Outcome::bytes_skipped`] says how much.

mod check;
mod explain;
mod holes;
mod level;
mod verifier;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::check::check_memory;
pub use self::explain::{BadRange, Kind, TornWith};
pub use self::level::{Level, verify, verify_expected};
use crate::error::Error;
use crate::stamp::Key;

/// What the file should be.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "VerifyOptions", optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Where its stamps begin; what lies before is not looked at.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(as = "Option<u64>"))]
    pub offset: u64,
    /// Its size: where its stamps end.
    pub bytes: u64,
    /// Its stamps.
    pub key: Key,
    /// Where to look.
    pub level: Level,
    /// How many bad ranges to describe; the others are counted.
    pub ranges_max: usize,
}

/// What the file is.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "VerifyOutcome", optional_fields))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Why the file could not be verified, or not to its end.
    pub error: Option<Error>,
    /// The largest size that is right.
    pub bytes_expected: u64,
    /// The file's size.
    pub bytes_found: u64,
    /// Sectors expected and looked at (or missing).
    pub sectors: u64,
    /// Those that are wrong.
    pub sectors_bad: u64,
    /// The first bad ranges.
    pub ranges: Vec<BadRange>,
    /// How many bad ranges there are.
    pub ranges_total: u64,
    /// For [`Level::Disk`]: false when the filesystem has no direct I/O or no disk; nothing was looked at then.
    pub direct: bool,
    /// How much of long holes was not read, in bytes; it counts among `sectors`. Where the page cache has something, and at both ends
    /// of a hole, everything is read, and inside one piece of 64 KiB in 64.
    pub bytes_skipped: u64,
}

impl Outcome {
    /// Whether every expected byte was read and is right, and no byte is too many.
    pub fn is_good(&self) -> bool {
        self.error.is_none() && self.ranges_total == 0
    }
}

//! The faults, in one table, and the rules that ask for them: what a rule means, how it is written, read and printed.

mod active;
mod table;
mod text;

use std::ops::Range;

use serde::Serialize;

pub(crate) use self::active::{Active, Concerned, Request, names};
pub use self::table::{Parameter, Row, TABLE};

/// What a request does, as far as rules tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FaultOperation"))]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A read, of the page cache or of a program with `O_DIRECT`.
    Read,
    /// A write, likewise.
    Write,
    /// `fsync(2)`, `fdatasync(2)`, and what follows a write with `O_SYNC`.
    Fsync,
    /// `fallocate(2)`.
    Allocate,
    /// Unmounting and mounting again: each file is a request for its whole length.
    Remount,
}

impl Operation {
    const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Fsync, Self::Allocate, Self::Remount];

    /// The spelling in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Fsync => "fsync",
            Self::Allocate => "allocate",
            Self::Remount => "remount",
        }
    }
}

/// Which requests, by the `O_DIRECT` bit of the open file that they belong to. What the kernel reads ahead or writes back is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Io {
    /// With `O_DIRECT`.
    Direct,
    /// Without.
    Cached,
}

impl Io {
    /// The spelling in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Cached => "cached",
        }
    }
}

/// What goes wrong. [`TABLE`] says what each one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table documents them, once")]
pub enum Fault {
    DropWrite,
    DelayVisibility,
    MisdirectWrite,
    SwapBlocks,
    Tear,
    FlipBit,
    MutateInFlight,
    StaleRead,
    ZerosUntil,
    StaleDisk,
    OtherFile,
    ShortRead,
    ShortWrite,
    EioOnce,
    EioFsync,
    Eintr,
    Enospc,
    WrongSize,
    DataBeforeSize,
    SizeBeforeData,
    CorruptAfterRemount,
    CorruptDirectReads,
    CorruptCachedReads,
}

impl Fault {
    /// Its row in the table.
    ///
    /// # Panics
    /// When it has none, which a test excludes.
    pub fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.fault == self).expect("every fault has a row")
    }

    /// Whether reads of the kernel's page cache must not be answered from what it holds from a write: then the fault would not be seen.
    /// Faults of what is stored are none of these: good in the page cache and bad on the disk is how they look on a real disk.
    pub(crate) fn shows_in_reads(self) -> bool {
        matches!(
            self,
            Self::DelayVisibility
                | Self::ZerosUntil
                | Self::StaleRead
                | Self::FlipBit
                | Self::StaleDisk
                | Self::CorruptCachedReads
                | Self::CorruptDirectReads
                | Self::DataBeforeSize
                | Self::SizeBeforeData
                | Self::WrongSize
        )
    }
}

/// Asks for one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Which files: a pattern with `*` and `?` for the name, or for the whole path (from the root, with a `/` in front) if it has a `/`.
    pub file: String,
    /// In which operation.
    pub operation: Operation,
    /// In which kind of I/O; `None` is any.
    pub io: Option<Io>,
    /// Which bytes of the file: a request that overlaps them is concerned, and only where it does.
    pub range: Range<u64>,
    /// In how many of 1000 requests.
    pub probability: u16,
    /// How often in all; `None` is always.
    pub count: Option<u64>,
    /// With another seed, other requests and places are chosen. The same seed and requests give the same faults; with `count`, which
    /// of several parallel requests are the first is the kernel's choice.
    pub seed: u64,
    /// The values of the row's parameters, in its order.
    pub parameters: Vec<i64>,
}

/// Why a text is no rule; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Fault rule '{rule}': {reason}")]
pub struct BadRule {
    rule: String,
    reason: String,
}

impl Rule {
    /// The rule without any settings: the fault happens in all files.
    pub fn new(fault: Fault) -> Self {
        let row = fault.row();
        Self {
            fault,
            file: "*".to_owned(),
            operation: row.operations[0],
            io: row.io,
            range: 0..u64::MAX,
            probability: 1000,
            count: row.count,
            seed: 0,
            parameters: row.parameters.iter().map(|parameter| parameter.default).collect(),
        }
    }

    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> i64 {
        let index = self.fault.row().parameters.iter().position(|parameter| parameter.name == name);
        index.and_then(|index| self.parameters.get(index)).copied().unwrap_or_default()
    }
}

//! Every fault, in one table.

use serde::Serialize;

use super::Operation::{self, Allocate, Fsync, Read, Remount, Write};
use super::{Fault, Io};

/// A number that a fault can be given.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FaultParameter"))]
pub struct Parameter {
    /// As in `name=value`.
    pub name: &'static str,
    /// Where the rule does not say.
    pub default: i64,
    /// The values allowed.
    #[serde(skip)]
    pub range: std::ops::RangeInclusive<i64>,
    /// With its unit.
    pub meaning: &'static str,
}

/// One fault's row.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FaultRow"))]
pub struct Row {
    /// The fault.
    #[serde(skip)]
    pub fault: Fault,
    /// Its spelling in rules.
    pub name: &'static str,
    /// What it does, where the rule's range and the request overlap.
    pub meaning: &'static str,
    /// The operations that it can be asked for; the first is the default.
    pub operations: &'static [Operation],
    /// The kind of I/O that it is about by its nature.
    #[serde(skip)]
    pub io: Option<Io>,
    /// How often it happens where the rule does not say; `None` is always.
    #[serde(skip)]
    pub count: Option<u64>,
    /// What it can be given.
    pub parameters: &'static [Parameter],
}

const MS_MAX: i64 = 3_600_000;
const MS: Parameter = Parameter { name: "ms", default: 200, range: 0..=MS_MAX, meaning: "milliseconds" };
const BITS: Parameter = Parameter { name: "bits", default: 1, range: 1..=4096, meaning: "bits flipped in each request" };
const BLOCK: Parameter = Parameter { name: "block", default: 4096, range: 1..=1 << 30, meaning: "bytes of a block" };
/// 0 stands for half of what was asked for, in whole sectors where that is one or more.
const BYTES: Parameter =
    Parameter { name: "bytes", default: 0, range: 0..=1 << 30, meaning: "bytes transferred; 0: half, in whole sectors" };

const fn row(fault: Fault, name: &'static str, operations: &'static [Operation], meaning: &'static str) -> Row {
    Row { fault, name, meaning, operations, io: None, count: None, parameters: &[] }
}

/// Every fault. Those that change what is stored or read fire only where that makes a difference.
pub const TABLE: &[Row] = &[
    row(Fault::DropWrite, "drop-write", &[Write], "the data are not stored, but reported as written"),
    Row {
        parameters: &[MS],
        ..row(
            Fault::DelayVisibility,
            "delay-visibility",
            &[Write],
            "reads get what was there before until so long after completion",
        )
    },
    Row {
        parameters: &[Parameter {
            name: "by",
            // Backwards, since what is ahead may be written later and cover it.
            default: -4096,
            range: -(1 << 40)..=1 << 40,
            meaning: "bytes added to the offset; where that were before the file's start, subtracted",
        }],
        ..row(Fault::MisdirectWrite, "misdirect-write", &[Write], "the data are stored at another offset of the file")
    },
    Row {
        count: Some(1),
        parameters: &[BLOCK],
        ..row(
            Fault::SwapBlocks,
            "swap-blocks",
            &[Write],
            "the block that is written and its neighbour change places before either is read the next time",
        )
    },
    Row {
        parameters: &[
            BLOCK,
            Parameter {
                name: "at",
                default: -1,
                range: -1..=1 << 30,
                meaning: "bytes of the block that are stored; -1: random, inside a sector",
            },
        ],
        ..row(Fault::Tear, "tear", &[Write], "of the first block, only a part is stored, cut inside a 512-byte sector")
    },
    Row {
        parameters: &[BITS],
        ..row(Fault::FlipBit, "flip-bit", &[Write, Read], "bits are flipped: in what is stored, or in one read's data")
    },
    Row {
        parameters: &[Parameter { name: "bytes", default: 64, range: 1..=1 << 30, meaning: "bytes changed" }],
        ..row(
            Fault::MutateInFlight,
            "mutate-in-flight",
            &[Write],
            "bytes in the second half differ from those submitted, as when the buffer changes after a part was taken",
        )
    },
    Row {
        count: Some(1),
        ..row(Fault::StaleRead, "stale-read", &[Read], "a read gets what was there before the last write, since the rule was set")
    },
    Row {
        parameters: &[MS],
        ..row(
            Fault::ZerosUntil,
            "zeros-until",
            &[Write],
            "reads get zeros until so long after completion, as when an unwritten extent is converted too late",
        )
    },
    row(
        Fault::StaleDisk,
        "stale-disk",
        &[Write, Read],
        "whole sectors become stale content of the disk: those written, or those of holes read",
    ),
    row(
        Fault::OtherFile,
        "other-file",
        &[Write],
        "whole sectors become those of a file with another number in the same run, at the same offset",
    ),
    Row {
        io: Some(Io::Direct),
        count: Some(1),
        parameters: &[BYTES],
        ..row(
            Fault::ShortRead,
            "short-read",
            &[Read],
            "fewer bytes are read than there are, by files opened from then on; the page cache has no short reads",
        )
    },
    Row {
        count: Some(1),
        parameters: &[BYTES],
        ..row(
            Fault::ShortWrite,
            "short-write",
            &[Write],
            "fewer bytes are written than submitted, and reported, by files opened from then on; where the filesystem was mounted without \
             such a rule, asynchronous direct writes get EIO instead",
        )
    },
    Row {
        count: Some(1),
        ..row(Fault::EioOnce, "eio-once", &[Write, Read], "EIO; nothing is transferred; of cached reads, also the next one there")
    },
    row(Fault::EioFsync, "eio-fsync", &[Fsync], "EIO, though all is stored"),
    Row {
        count: Some(1),
        ..row(
            Fault::Eintr,
            "eintr",
            &[Write, Read, Fsync],
            "EINTR; nothing is transferred; of cached reads, also the next one there",
        )
    },
    row(Fault::Enospc, "enospc", &[Write, Allocate], "ENOSPC; nothing is transferred"),
    Row {
        parameters: &[Parameter {
            name: "by",
            default: -512,
            range: -(1 << 40)..=1 << 40,
            meaning: "bytes added to the size; it does not become less than before",
        }],
        ..row(Fault::WrongSize, "wrong-size-after-append", &[Write], "a write that makes the file longer leaves a wrong size")
    },
    Row {
        parameters: &[MS],
        ..row(
            Fault::DataBeforeSize,
            "data-before-size",
            &[Write],
            "a write that makes the file longer is stored, but the old size is seen until so long after completion",
        )
    },
    Row {
        parameters: &[MS],
        ..row(
            Fault::SizeBeforeData,
            "size-before-data",
            &[Write],
            "a write that makes the file longer changes the size at once; the data are stored and completion comes so much later",
        )
    },
    Row {
        parameters: &[BITS],
        ..row(Fault::CorruptAfterRemount, "corrupt-after-remount", &[Remount], "mounting again flips bits in what is stored")
    },
    Row {
        io: Some(Io::Direct),
        parameters: &[BITS],
        ..row(Fault::CorruptDirectReads, "corrupt-direct-reads", &[Read], "bits are flipped in what direct reads get")
    },
    Row {
        io: Some(Io::Cached),
        parameters: &[BITS],
        ..row(Fault::CorruptCachedReads, "corrupt-cached-reads", &[Read], "bits are flipped in what the page cache reads")
    },
];

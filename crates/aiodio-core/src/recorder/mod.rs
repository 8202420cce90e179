//! The flight recorder: every operation, from its submission to its completion, in a file that outlives the process.
//!
//! The file is mapped shared, so what has been recorded is there when the process is killed in mid-flight, and children made by
//! `fork(2)` record into the same ring. It is a ring: the last operations are kept, with all that are in flight, and how many were lost
//! is known. Threads and processes need no lock: each takes a slot by atomic operations. Other processes write to the mapping, so
//! nothing in it is ever referred to but as an atomic.
//!
//! strace does not see what goes through a ring in memory; seed 001's reporter lost two and a half days to that. [`Recorder::trace`]
//! prints each operation in strace's way when it completes.

mod layout;
mod query;
mod report;
mod trace;
mod writer;

use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::sync::RwLock;

pub use self::query::{Record, SharedMemory, latest, read};
pub use self::report::{Answer, Query, answer};
pub use self::trace::trace_line;
pub use self::writer::{CAPACITY, Recorder};

/// What an operation is; the number is what the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A read into memory.
    Read = 1,
    /// A write from memory.
    Write = 2,
    /// `fsync(2)`.
    Fsync = 3,
    /// `fdatasync(2)`.
    Fdatasync = 4,
    /// `ftruncate(2)`; the length is the new size.
    Truncate = 5,
    /// `fallocate(2)` without flags or with `FALLOC_FL_KEEP_SIZE`.
    Allocate = 6,
    /// `FALLOC_FL_PUNCH_HOLE`.
    Punch = 7,
    /// `FALLOC_FL_ZERO_RANGE`.
    ZeroRange = 8,
    /// `FALLOC_FL_COLLAPSE_RANGE`.
    Collapse = 9,
    /// `FALLOC_FL_INSERT_RANGE`.
    Insert = 10,
    /// `FICLONERANGE`, `copy_file_range(2)`.
    Clone = 11,
    /// A load through a mapping of the file.
    MmapRead = 12,
    /// A store through a mapping of the file, with its `msync(2)` if any.
    MmapWrite = 13,
    /// `POSIX_FADV_DONTNEED`.
    DropCache = 14,
    /// `io_cancel(2)`, `IORING_OP_ASYNC_CANCEL`.
    Cancel = 15,
    /// The test itself writes to memory that it also uses as a buffer; no system call.
    Fill = 16,
    /// `open(2)`.
    Open = 17,
    /// `unlink(2)`.
    Unlink = 18,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Read,
        Self::Write,
        Self::Fsync,
        Self::Fdatasync,
        Self::Truncate,
        Self::Allocate,
        Self::Punch,
        Self::ZeroRange,
        Self::Collapse,
        Self::Insert,
        Self::Clone,
        Self::MmapRead,
        Self::MmapWrite,
        Self::DropCache,
        Self::Cancel,
        Self::Fill,
        Self::Open,
        Self::Unlink,
    ];

    /// As strace would call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "pread",
            Self::Write => "pwrite",
            Self::Fsync => "fsync",
            Self::Fdatasync => "fdatasync",
            Self::Truncate => "ftruncate",
            Self::Allocate => "fallocate",
            Self::Punch => "punch_hole",
            Self::ZeroRange => "zero_range",
            Self::Collapse => "collapse_range",
            Self::Insert => "insert_range",
            Self::Clone => "clone_range",
            Self::MmapRead => "mmap_read",
            Self::MmapWrite => "mmap_write",
            Self::DropCache => "fadvise_dontneed",
            Self::Cancel => "cancel",
            Self::Fill => "fill",
            Self::Open => "open",
            Self::Unlink => "unlink",
        }
    }

    /// Whether it changes the file's content or size.
    pub fn changes_the_file(self) -> bool {
        !matches!(
            self,
            Self::Read | Self::Fsync | Self::Fdatasync | Self::MmapRead | Self::DropCache | Self::Cancel | Self::Fill | Self::Open
        )
    }

    /// Whether the kernel reads or writes the operation's memory until it completes.
    pub fn uses_memory(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }

    /// Whether memory is written to by it.
    fn writes_memory(self) -> bool {
        matches!(self, Self::Read | Self::Fill)
    }

    /// Whether it is about a range of bytes, or the whole file.
    fn has_range(self) -> bool {
        !matches!(self, Self::Fsync | Self::Fdatasync | Self::Truncate | Self::Open | Self::Unlink)
    }
}

/// Through which interface; the number is what the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Interface {
    /// A plain system call, or a load or store.
    Sync = 0,
    /// `io_submit(2)`.
    Libaio = 1,
    /// `io_uring(7)`.
    IoUring = 2,
}

impl Interface {
    /// The spelling in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Libaio => "libaio",
            Self::IoUring => "io_uring",
        }
    }
}

/// The file is open with `O_DIRECT`.
pub const DIRECT: u16 = 1;
/// Another part of an operation that the kernel cut short, or another try.
pub const RESUMED: u16 = 2;
/// The verification's own, after all that is verified: not what did something to the file.
pub const VERIFYING: u16 = 4;

/// What is known when an operation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// What it is.
    pub kind: Kind,
    /// Through which interface.
    pub interface: Interface,
    /// [`DIRECT`], [`RESUMED`], [`VERIFYING`].
    pub flags: u16,
    /// From [`Recorder::file`].
    pub file: u32,
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes; of [`Kind::Truncate`] the new size.
    pub bytes: u64,
    /// Where in memory.
    pub address: u64,
    /// The stamps' generation, of a write.
    pub generation: u32,
}

impl Begin {
    /// A plain system call without memory.
    pub fn call(kind: Kind, file: u32, offset: u64, bytes: u64) -> Self {
        Self { kind, interface: Interface::Sync, flags: 0, file, offset, bytes, address: 0, generation: 0 }
    }
}

/// A recorded operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number, from 1.
    pub id: u64,
    /// What was known when it began.
    pub begin: Begin,
    /// `gettid(2)` of the thread that submitted it.
    pub thread: u32,
    /// `CLOCK_MONOTONIC_RAW` in nanoseconds.
    pub submitted_ns: u64,
    /// The same; none while it is in flight.
    pub completed_ns: Option<u64>,
    /// Bytes transferred or 0, or a negated errno; meaningless while in flight.
    pub result: i64,
}

/// An operation that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an operation that is not ended stays in flight in the record"]
pub struct OperationId(u64);

/// The name and flags that operations on an open file are recorded with.
pub fn describe(recorder: &Recorder, file: BorrowedFd<'_>) -> (u32, u16) {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    let name = path.file_name().map_or_else(|| "?".to_owned(), |name| name.to_string_lossy().into_owned());
    // SAFETY: asks about an open file.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    (recorder.file(&name), if flags >= 0 && flags & libc::O_DIRECT != 0 { DIRECT } else { 0 })
}

static CURRENT: RwLock<Option<Recorder>> = RwLock::new(None);

/// Where operations are recorded from now on; none: nowhere. One for the process, as a process runs one testcase at a time.
pub fn set_current(recorder: Option<Recorder>) {
    *CURRENT.write().unwrap_or_else(std::sync::PoisonError::into_inner) = recorder;
}

/// Where operations are recorded.
pub fn current() -> Option<Recorder> {
    CURRENT.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

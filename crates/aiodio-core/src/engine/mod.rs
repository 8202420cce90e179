//! Submission and completion.
//!
//! Two levels. An [`Engine`] is one of the kernel's interfaces and nothing more: it hands over requests, maybe only some of them,
//! and reports what the kernel reported. The [`Queue`] on top is the only place that knows what else than success can happen —
//! partial submission, EAGAIN, EINTR, short transfers, completions that did not fit their ring — and that owns the buffers in
//! flight. Two of the project's five seeds were test tools that got exactly this wrong: fsstress freed a buffer after an
//! interrupted `io_getevents` (seed 000), fio compared a buffer that a short read had not filled (seed 001).

mod io_uring;
pub(crate) mod libaio;
pub mod probe;
mod queue;
mod resume;
mod stats;
mod sync;

#[cfg(test)]
pub(crate) mod drop_tests;

use std::num::NonZeroUsize;
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

pub use self::io_uring::IoUringEngine;
pub use self::libaio::LibaioEngine;
pub use self::queue::{Completion, DEPTH_MAX, Operation, Queue};
pub use self::stats::Stats;
pub use self::sync::SyncEngine;
use crate::buffer::Registration;
use crate::error::{Errno, Result};
use crate::recorder::Interface;

/// Which of the kernel's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "Engine"))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `io_submit(2)` and its relatives, as raw system calls.
    Libaio,
    /// `io_uring(7)` with plain buffers.
    #[serde(rename = "io_uring")]
    IoUring,
    /// `io_uring(7)` with buffers that are registered ("fixed") with the ring: the kernel then pins their pages once instead of for
    /// each operation.
    #[serde(rename = "io_uring-fixed")]
    IoUringFixed,
    /// `pread(2)` and `pwrite(2)`: an operation is complete when it is submitted.
    Sync,
}

/// The spelling in reports.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl Kind {
    /// Sets the interface up for `depth` operations in flight.
    pub fn open(self, depth: NonZeroUsize) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Libaio => Box::new(LibaioEngine::new(depth)?),
            Self::IoUring => Box::new(IoUringEngine::new(depth, false)?),
            Self::IoUringFixed => Box::new(IoUringEngine::new(depth, true)?),
            Self::Sync => Box::new(SyncEngine::default()),
        })
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads the file into memory, as `pread(2)` does.
    Read,
    /// Writes memory to the file, as `pwrite(2)` does.
    Write,
}

/// One transfer as the kernel is asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Comes back in the [`Event`].
    pub slot: u32,
    /// What.
    pub op: Op,
    /// Index among the queue's files.
    pub file: u32,
    /// That file's descriptor.
    pub fd: RawFd,
    /// Byte offset in the file.
    pub offset: u64,
    /// Where in memory.
    pub start: *mut u8,
    /// How much, in bytes.
    pub bytes: usize,
    /// Which [`Registration`] the memory belongs to.
    pub registration: u16,
}

/// What the kernel says about one request.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The request's.
    pub slot: u64,
    /// Bytes transferred, or a negated errno.
    pub result: i64,
}

/// One of the kernel's interfaces, bare.
///
/// # Safety
/// Memory safety rests on what an engine says: the [`Queue`] gives a buffer back to safe code as soon as its event is reaped. So an
/// implementation must
/// - report an [`Event`] with a request's slot only when the kernel will not touch that request's memory any more,
/// - report none for requests it did not take over, and never let the kernel see these,
/// - touch no memory but that of requests in flight, and that only between [`Self::submit`] and the event,
/// - when it is dropped, either wait for what is in flight or leave it to the kernel, which holds on to the pages.
pub unsafe trait Engine {
    /// Its name in the record.
    fn interface(&self) -> Interface {
        Interface::Sync
    }

    /// How many requests may be with the kernel at a time.
    fn capacity(&self) -> usize;

    /// Told once, before the first request: the files and memory that requests will name.
    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        let _ = (files, memory);
        Ok(())
    }

    /// Takes over as many requests as it can, from the front, and says how many: at least one, or an errno that concerns the
    /// first. Taken over means that an [`Event`] will come; the kernel may see the request only at the next [`Self::flush`] or
    /// [`Self::reap`].
    ///
    /// # Safety
    /// The memory of each request taken over must stay valid, and otherwise untouched, until its event has been reaped.
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno>;

    /// Shows the kernel what has been taken over, without waiting.
    fn flush(&mut self) -> std::result::Result<(), Errno> {
        Ok(())
    }

    /// Sleeps in the kernel until there are `min` events, and appends all there are. May append fewer when a signal comes; an error
    /// means that nothing was appended.
    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno>;

    /// How often completions did not fit into the completion ring and had to be fetched from the kernel's overflow list.
    fn overflows(&self) -> u64 {
        0
    }

    /// Requests and completions that the kernel says it has dropped: their events will never come.
    fn lost(&self) -> u64 {
        0
    }
}

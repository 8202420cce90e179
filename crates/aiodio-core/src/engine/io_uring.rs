//! `io_uring(7)`, with plain and with registered buffers.

use std::num::NonZeroUsize;
use std::os::fd::RawFd;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Engine, Event, Op, Request, probe};
use crate::buffer::{Registration, page_bytes};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::Interface;

/// `IORING_MAX_ENTRIES` of `io_uring/io_uring.h`.
const ENTRIES_MAX: usize = 1 << 15;

/// A ring.
pub struct IoUringEngine {
    ring: IoUring,
    capacity: usize,
    fixed: bool,
    files_registered: bool,
    overflows: u64,
    lost: u64,
    transfer_bytes_max: u32,
}

impl std::fmt::Debug for IoUringEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IoUringEngine({:?}, capacity {}, fixed {})", self.ring.params(), self.capacity, self.fixed)
    }
}

impl IoUringEngine {
    /// A ring for `depth` operations.
    pub fn new(depth: NonZeroUsize, fixed: bool) -> Result<Self> {
        let entries = depth.get().min(ENTRIES_MAX) as u32;
        Self::with_rings(entries, None, depth, fixed)
    }

    /// A ring of `entries` submissions and `completions` (by default twice as many) that takes on `capacity` operations, even if
    /// that is more than the completion ring holds.
    pub fn with_rings(entries: u32, completions: Option<u32>, capacity: NonZeroUsize, fixed: bool) -> Result<Self> {
        let ring = build(entries, completions).map_err(|error| setup_error(Errno::from(&error), probe::io_uring_disabled()))?;
        // Before Linux 5.5 a completion that did not fit was lost.
        let capacity = if ring.params().is_feature_nodrop() {
            capacity.get()
        } else {
            capacity.get().min(ring.params().cq_entries() as usize)
        };
        Ok(Self {
            ring,
            capacity,
            fixed,
            files_registered: false,
            overflows: 0,
            lost: 0,
            // `MAX_RW_COUNT` of `include/linux/fs.h`: longer transfers come back short, and the length has 32 bits here.
            transfer_bytes_max: (i32::MAX as usize / page_bytes() * page_bytes()) as u32,
        })
    }

    /// The kernel's own counts: entries whose index it found invalid (`sq_dropped`), and completions for which it had neither room in
    /// the ring nor memory for its overflow list (`cq_overflow`; a wait that follows ends in EBADR, Linux 5.19). Both are 32 bits and
    /// stay 0 while all is well.
    fn count_lost(&mut self) {
        let dropped = self.ring.submission().dropped();
        let overflowed = self.ring.completion().overflow();
        self.lost = u64::from(dropped) + u64::from(overflowed);
    }

    fn entry(&self, request: &Request) -> squeue::Entry {
        let bytes = u32::try_from(request.bytes).unwrap_or(u32::MAX).min(self.transfer_bytes_max);
        let (start, offset) = (request.start, request.offset);
        macro_rules! entry {
            ($file:expr) => {
                match (request.op, self.fixed) {
                    (Op::Read, false) => opcode::Read::new($file, start, bytes).offset(offset).build(),
                    (Op::Write, false) => opcode::Write::new($file, start, bytes).offset(offset).build(),
                    (Op::Read, true) => opcode::ReadFixed::new($file, start, bytes, request.registration).offset(offset).build(),
                    (Op::Write, true) => opcode::WriteFixed::new($file, start, bytes, request.registration).offset(offset).build(),
                }
            };
        }
        let entry = if self.files_registered { entry!(types::Fixed(request.file)) } else { entry!(types::Fd(request.fd)) };
        entry.user_data(u64::from(request.slot))
    }
}

/// Asks for what makes completions cheap, and settles for less on older kernels: completions run when the submitter waits, not in
/// interrupts of it (`DEFER_TASKRUN`: Linux 6.1; `COOP_TASKRUN`: 5.19), a flag says that some wait to be run (`TASKRUN_FLAG`: 5.19),
/// and one bad entry does not stop the others (`SUBMIT_ALL`: 5.18).
fn build(entries: u32, completions: Option<u32>) -> std::io::Result<IoUring> {
    let builder = || {
        let mut builder = IoUring::builder();
        if let Some(completions) = completions {
            builder.setup_cqsize(completions);
        }
        builder
    };
    let refused =
        |result: &std::io::Result<IoUring>| result.as_ref().err().and_then(std::io::Error::raw_os_error) == Some(libc::EINVAL);
    let mut ring = builder().setup_submit_all().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().build(entries);
    if refused(&ring) {
        ring = builder().setup_submit_all().setup_coop_taskrun().setup_taskrun_flag().build(entries);
    }
    if refused(&ring) {
        ring = builder().build(entries);
    }
    ring
}

// SAFETY: events are the kernel's, of entries that it was given; the kernel holds on to the pages of a ring that is gone.
unsafe impl Engine for IoUringEngine {
    fn interface(&self) -> Interface {
        Interface::IoUring
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        // Saves looking up the file for each operation. A refusal (RLIMIT_NOFILE) costs only that.
        self.files_registered = self.ring.submitter().register_files(files).is_ok();
        if !self.fixed {
            return Ok(());
        }
        let memory: Vec<libc::iovec> =
            memory.iter().map(|memory| libc::iovec { iov_base: memory.start.cast(), iov_len: memory.bytes }).collect();
        // SAFETY: the memory is mapped; the kernel holds its pages until the ring is gone, mapped or not.
        unsafe { self.ring.submitter().register_buffers(&memory) }.map_err(|error| {
            let errno = Errno::from(&error);
            let message = match errno.0 {
                libc::ENOMEM => "The buffers cannot be registered, they are more than RLIMIT_MEMLOCK: raise it (ulimit -l), \
                                 use fewer or smaller blocks, or use the engine io_uring"
                    .to_owned(),
                _ => "The buffers cannot be registered with the ring: use the engine io_uring".to_owned(),
            };
            Error::new(Step::Setup, message).errno(errno)
        })
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        if self.ring.submission().is_full() {
            self.flush()?;
        }
        let mut taken = 0;
        for request in requests {
            let entry = self.entry(request);
            // SAFETY: the caller vouches for the memory.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                break;
            }
            taken += 1;
        }
        if taken == 0 { Err(Errno(libc::EAGAIN)) } else { Ok(taken) }
    }

    fn flush(&mut self) -> std::result::Result<(), Errno> {
        while !self.ring.submission().is_empty() {
            self.ring.submit().map_err(|error| Errno::from(&error))?;
        }
        self.count_lost();
        Ok(())
    }

    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        let (pending, overflowed, deferred) = {
            let submission = self.ring.submission();
            (!submission.is_empty(), submission.cq_overflow(), submission.taskrun())
        };
        self.overflows += u64::from(overflowed);
        let mut entered = Ok(0);
        // Who does not wait must have the deferred completions run all the same, or would never see one.
        if pending || overflowed || deferred && min == 0 || self.ring.completion().len() < min {
            // One system call submits, runs the deferred completions, fetches overflowed ones and sleeps.
            let want = min.min(self.ring.params().cq_entries() as usize);
            entered = self.ring.submit_and_wait(want);
        }
        self.count_lost();
        let before = events.len();
        events.extend(self.ring.completion().map(|entry| Event { slot: entry.user_data(), result: i64::from(entry.result()) }));
        match entered {
            Err(error) if events.len() == before => Err(Errno::from(&error)),
            _ => Ok(()),
        }
    }

    fn overflows(&self) -> u64 {
        self.overflows
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

/// Why there is no ring, and what to do about it. `disabled` is [`probe::io_uring_disabled`].
fn setup_error(errno: Errno, disabled: Option<u64>) -> Error {
    let message = match errno.0 {
        libc::ENOSYS => "This kernel has no io_uring: use the engine libaio".to_owned(),
        libc::EPERM | libc::EACCES => match disabled {
            Some(level) if level > 0 => format!(
                "io_uring is disabled here (kernel.io_uring_disabled is {level}): run sysctl -w kernel.io_uring_disabled=0, or use \
                 the engine libaio"
            ),
            _ => {
                "io_uring is forbidden here, by a container's seccomp filter or a security module: use the engine libaio".to_owned()
            }
        },
        libc::ENOMEM => {
            "The ring is more memory than RLIMIT_MEMLOCK allows: raise it (ulimit -l) or use fewer control blocks".to_owned()
        }
        _ => "The ring could not be made".to_owned(),
    };
    Error::new(Step::Setup, message).errno(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_ring_names_what_forbids_it() {
        let words = |errno, disabled| setup_error(Errno(errno), disabled).message;
        for level in [1, 2] {
            let text = words(libc::EPERM, Some(level));
            assert!(text.contains(&format!("kernel.io_uring_disabled is {level}")), "{text}");
        }
        for disabled in [None, Some(0)] {
            let text = words(libc::EPERM, disabled);
            assert!(text.contains("seccomp") && !text.contains("sysctl"), "{text}");
        }
    }
}

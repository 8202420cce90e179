//! The old mistake of seed 000, committed on purpose: a buffer is used again when the wait for its write was interrupted.
//!
//! fsstress returned the memory to the allocator; here it stays mapped and belongs to the test all along, so nothing but the data on
//! the disk comes to harm.

use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;

use crate::buffer::Buffer;
use crate::engine::{Engine, Event, Op, Request};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::{Begin, Interface, Kind};
use crate::stamp::Key;
use crate::sys::File;

/// One write to be treated badly.
pub(super) struct Write<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) generation: u32,
    /// What the next user of the memory puts there.
    pub(super) next: Key,
}

/// How the bad treatment ended.
pub(super) struct Written {
    pub(super) buffer: Buffer,
    /// The kernel's.
    pub(super) result: i64,
    /// Whether the buffer was filled anew under the kernel's hands.
    pub(super) mistaken: bool,
}

/// Writes the buffer. In case of an error, or a panic, its memory is given up.
pub(super) fn write(engine: &mut dyn Engine, write: &Write<'_>, buffer: Buffer) -> Result<Written> {
    let buffer = ManuallyDrop::new(buffer);
    let start = buffer.as_ptr();
    let request = Request {
        slot: 0,
        op: Op::Write,
        file: 0,
        fd: write.file.as_raw_fd(),
        offset: write.offset,
        start,
        bytes: write.bytes,
        registration: 0,
    };
    let calls = write.file.calls();
    let begin = |kind| {
        let interface = if kind == Kind::Write { Interface::Libaio } else { Interface::Sync };
        let generation = if kind == Kind::Write { write.generation } else { write.next.generation };
        let begin = calls.begin(kind, write.offset, write.bytes as u64);
        calls.start(&Begin { interface, address: start as u64, generation, ..begin })
    };
    let recorded = begin(Kind::Write);
    let mut other = vec![0; write.bytes];
    write.next.fill(write.offset, &mut other);
    // SAFETY: the memory is given back only when the event has been reaped.
    let submitted = unsafe { engine.submit(&[request]) }.and_then(|_| engine.flush());
    if let Err(errno) = submitted {
        return Err(Error::new(Step::Submit, "The kernel refused the write").errno(errno));
    }
    let mut events: Vec<Event> = Vec::new();
    let mut mistaken = false;
    loop {
        match engine.reap(1, &mut events) {
            Ok(()) | Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(Error::new(Step::Reap, "Waiting for the write failed").errno(errno)),
        }
        if let Some(event) = events.first() {
            calls.end(recorded, event.result);
            return Ok(Written { buffer: ManuallyDrop::into_inner(buffer), result: event.result, mistaken });
        }
        // Interrupted, and the write goes on. This is the mistake.
        let recorded = begin(Kind::Fill);
        for (at, byte) in other.iter().enumerate() {
            // SAFETY: inside the buffer, which no reference of Rust's is looking at; the kernel's view is the point of it.
            unsafe { start.wrapping_add(at).write_volatile(*byte) };
        }
        calls.end(recorded, 0);
        mistaken = true;
    }
}

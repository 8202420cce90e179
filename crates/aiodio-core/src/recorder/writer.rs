//! Writing: each operation takes a slot by atomic operations.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};
use std::sync::{Arc, Once, RwLock};

use super::layout::{CLAIMED, FILES_MAX, MAGIC, Mapping, NAME_BYTES, Slot, name_of, read_slot, what};
use super::query::{Record, read_mapping};
use super::trace::trace_line;
use super::{Begin, Operation, OperationId};
use crate::error::{Errno, Error, Result, Step};
use crate::sys;

/// For a process of its own: enough for the last seconds of a fast device.
pub const CAPACITY: u32 = 1 << 16;

/// Slots that are tried for an operation: a ring with so many neighbours in flight is full of them.
const TRIES: u64 = 64;

/// Writes the record. Cheap to clone; clones and forked children write to the same one.
#[derive(Clone)]
pub struct Recorder {
    map: Arc<Mapping>,
    /// Guards the table of names.
    names: Arc<RwLock<()>>,
    trace: Arc<Trace>,
}

struct Trace {
    on: AtomicBool,
    fd: AtomicI32,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({} operations)", self.map.header().begun.load(Ordering::Relaxed))
    }
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours; these clocks exist on every Linux since 2.6.28.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// `gettid(2)`, asked once by each thread: the kernel would be asked for each operation.
fn thread_id() -> u32 {
    thread_local! {
        static ID: Cell<u32> = const { Cell::new(0) };
    }
    /// The one thread that a forked child has is another than the one that it is a copy of.
    extern "C" fn forget() {
        ID.set(0);
    }
    static FORGOTTEN_BY_CHILDREN: Once = Once::new();
    let known = ID.get();
    if known > 0 {
        return known;
    }
    FORGOTTEN_BY_CHILDREN.call_once(|| {
        // SAFETY: the function touches a variable of its thread and nothing else.
        unsafe { libc::pthread_atfork(None, None, Some(forget)) };
    });
    // SAFETY: no arguments.
    let id = unsafe { libc::gettid() } as u32;
    ID.set(id);
    id
}

/// Makes the file so long, with room for all of it: a store to a mapping that finds none is SIGBUS. One without a name is in memory,
/// of which no more is taken than is used.
fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    if file.metadata()?.nlink() == 0 {
        return file.set_len(bytes);
    }
    // SAFETY: an open file.
    match sys::uninterrupted(|| unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, bytes as i64) }) {
        Ok(_) => Ok(()),
        Err(Errno(libc::EOPNOTSUPP)) => {
            let zeros = vec![0; 1 << 16];
            let at = (0..bytes).step_by(zeros.len());
            at.map(|at| (at, (bytes - at).min(zeros.len() as u64) as usize))
                .try_for_each(|(at, part)| file.write_all_at(&zeros[..part], at))
        }
        Err(errno) => Err(std::io::Error::from_raw_os_error(errno.0)),
    }
}

impl Recorder {
    /// Makes a new record of up to `capacity` operations in `file`, whatever it held, or in memory that only this process and its
    /// children see.
    pub fn create(file: Option<&File>, capacity: u32) -> Result<Self> {
        let capacity = capacity.clamp(1, 1 << 24);
        let failed = |errno| Error::new(Step::Setup, "The flight recorder's file cannot be made").errno(errno);
        if let Some(file) = file {
            let bytes = Mapping::bytes(capacity.into()) as u64;
            file.set_len(0).and_then(|()| allocate(file, bytes)).map_err(|error| failed(Errno::from(&error)))?;
        }
        let map = Mapping::new(file.map(AsFd::as_fd), capacity.into(), libc::PROT_READ | libc::PROT_WRITE).map_err(failed)?;
        let header = map.header();
        header.capacity.store(capacity, Ordering::Relaxed);
        header.record_bytes.store(size_of::<Slot>() as u32, Ordering::Relaxed);
        header.started_ns.store(nanoseconds(libc::CLOCK_MONOTONIC_RAW), Ordering::Relaxed);
        header.started_monotonic_ns.store(nanoseconds(libc::CLOCK_MONOTONIC), Ordering::Relaxed);
        // A reader takes the file for a record from now on.
        header.magic.store(MAGIC, Ordering::Release);
        let trace = Trace { on: AtomicBool::new(false), fd: AtomicI32::new(libc::STDERR_FILENO) };
        Ok(Self { map: Arc::new(map), names: Arc::default(), trace: Arc::new(trace) })
    }

    /// Prints each operation to `fd` when it completes, as strace would; none ends that.
    pub fn trace(&self, fd: Option<RawFd>) {
        self.trace.fd.store(fd.unwrap_or(libc::STDERR_FILENO), Ordering::Relaxed);
        self.trace.on.store(fd.is_some(), Ordering::Relaxed);
    }

    /// The number of the file with that name, to be used in [`Begin`]. Names are cut to 60 bytes from their end; beyond 255 files
    /// the rest share the last number.
    pub fn file(&self, name: &str) -> u32 {
        let _guard = self.names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut name = name;
        while name.len() > NAME_BYTES {
            let mut cut = name.len() - NAME_BYTES;
            while !name.is_char_boundary(cut) {
                cut += 1;
            }
            name = &name[cut..];
        }
        let header = self.map.header();
        let count = (header.files.load(Ordering::Acquire) as usize).min(FILES_MAX);
        if let Some(index) = header.names[..count].iter().position(|known| name_of(known) == name) {
            return index as u32;
        }
        if count == FILES_MAX {
            return FILES_MAX as u32 - 1;
        }
        let name = if count == FILES_MAX - 1 { "(more files)" } else { name };
        for (place, byte) in header.names[count].iter().zip(name.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        header.files.store(count as u32 + 1, Ordering::Release);
        count as u32
    }

    /// A number and its slot, which is nobody else's: an operation in flight keeps its own.
    fn claim(&self) -> Option<(u64, &Slot)> {
        let header = self.map.header();
        for _ in 0..TRIES.min(self.map.capacity) {
            let id = header.begun.fetch_add(1, Ordering::Relaxed) + 1;
            let slot = self.map.slot(id);
            let before = slot.id.load(Ordering::Acquire);
            let free = before == 0 || before != CLAIMED && slot.completed_ns.load(Ordering::Relaxed) > 0;
            if free && slot.id.compare_exchange(before, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                // Who reads one of the new fields finds the old number gone. (A release store would not keep back what follows it.)
                fence(Ordering::Release);
                return Some((id, slot));
            }
            header.passed_over.fetch_add(1, Ordering::Relaxed);
        }
        // The last number is this operation's, which is lost.
        header.passed_over.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// An operation is about to be submitted.
    pub fn begin(&self, begin: &Begin) -> OperationId {
        let Some((id, slot)) = self.claim() else { return OperationId(0) };
        slot.completed_ns.store(0, Ordering::Relaxed);
        slot.result.store(0, Ordering::Relaxed);
        slot.offset.store(begin.offset, Ordering::Relaxed);
        slot.bytes.store(begin.bytes, Ordering::Relaxed);
        slot.address.store(begin.address, Ordering::Relaxed);
        slot.generation.store(begin.generation, Ordering::Relaxed);
        slot.thread.store(thread_id(), Ordering::Relaxed);
        slot.what.store(what(begin), Ordering::Relaxed);
        slot.submitted_ns.store(nanoseconds(libc::CLOCK_MONOTONIC_RAW), Ordering::Relaxed);
        slot.id.store(id, Ordering::Release);
        OperationId(id)
    }

    /// Its completion has been reaped: bytes transferred, or a negated errno.
    pub fn end(&self, operation: OperationId, result: i64) {
        if operation.0 == 0 {
            // Not recorded: the ring was full of operations in flight.
            return;
        }
        let slot = self.map.slot(operation.0);
        // Ended before.
        if slot.id.load(Ordering::Acquire) != operation.0 {
            return;
        }
        slot.result.store(i32::try_from(result).unwrap_or(i32::MAX), Ordering::Relaxed);
        slot.completed_ns.store(nanoseconds(libc::CLOCK_MONOTONIC_RAW), Ordering::Release);
        if self.trace.on.load(Ordering::Relaxed)
            && let Some(operation) = read_slot(slot)
        {
            let line = format!("{}\n", self.line(&operation));
            let fd = self.trace.fd.load(Ordering::Relaxed);
            // SAFETY: one write of our own memory, so that lines of several threads do not mix. Nobody can do anything about a
            // reader that is gone.
            unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
        }
    }

    /// Records `call` around its execution; what it returns becomes the result.
    pub fn span<T>(&self, begin: &Begin, call: impl FnOnce() -> std::result::Result<T, Errno>) -> std::result::Result<T, Errno> {
        let operation = self.begin(begin);
        let result = call();
        self.end(operation, result.as_ref().map_or_else(|errno| -i64::from(errno.0), |_| 0));
        result
    }

    /// What is recorded now; other threads may go on recording.
    pub fn read(&self) -> Record {
        read_mapping(&self.map)
    }

    fn line(&self, operation: &Operation) -> String {
        let header = self.map.header();
        let count = header.files.load(Ordering::Acquire);
        let index = operation.begin.file;
        let name = if index < count { name_of(&header.names[index as usize]) } else { "?".to_owned() };
        trace_line(operation, &name, header.started_ns.load(Ordering::Relaxed))
    }
}

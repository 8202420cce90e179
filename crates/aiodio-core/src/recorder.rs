//! The flight recorder: every operation, from its submission to its completion, in a file that outlives the process.
//!
//! The file is mapped shared, so what has been recorded is there when the process is killed in mid-flight, and children made by
//! `fork(2)` record into the same ring. It is a ring: the last operations are kept, with all that are in flight, and how many were lost
//! is known. Threads and processes need no lock: each takes a slot by atomic operations. Other processes write to the mapping, so
//! nothing in it is ever referred to but as an atomic.
//!
//! strace does not see what goes through a ring in memory; seed 001's reporter lost two and a half days to that. [`Recorder::trace`]
//! prints each operation in strace's way when it completes.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, RwLock};

use crate::error::{Errno, Error, Result, Step};

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

/// One file's worth of recorded operations.
#[derive(Clone, Debug)]
pub struct Record {
    /// The files' names, by their numbers.
    pub files: Vec<String>,
    /// The oldest first. Slots that a dying writer left half-filled are missing.
    pub operations: Vec<Operation>,
    /// How many others there were: older ones, and those that met a ring full of operations in flight.
    pub lost: u64,
    /// `CLOCK_MONOTONIC_RAW` when the record began, in nanoseconds.
    pub started_ns: u64,
    /// `CLOCK_MONOTONIC` at that moment, which the kernel log's time stamps follow.
    pub started_monotonic_ns: u64,
}

const MAGIC: u64 = u64::from_ne_bytes(*b"AIOFLR2\n");
const FILES_MAX: usize = 255;
const NAME_BYTES: usize = 60;
/// A multiple of every page size in use.
const HEADER_BYTES: usize = 64 << 10;
/// For a process of its own: enough for the last seconds of a fast device.
pub const CAPACITY: u32 = 1 << 16;

type Name = [AtomicU8; NAME_BYTES];

#[repr(C)]
struct Header {
    magic: AtomicU64,
    capacity: AtomicU32,
    record_bytes: AtomicU32,
    started_ns: AtomicU64,
    started_monotonic_ns: AtomicU64,
    /// Numbers given out.
    begun: AtomicU64,
    /// Those of them that no operation has got, because an operation in flight had the number's slot.
    passed_over: AtomicU64,
    files: AtomicU32,
    reserved: AtomicU32,
    /// The first `files` of them are not written any more.
    names: [Name; FILES_MAX],
}

/// Slots that are tried for an operation: a ring with so many neighbours in flight is full of them.
const TRIES: u64 = 64;
/// The `id` of a slot that is being filled in; where its writer died, for good.
const CLAIMED: u64 = u64::MAX;

#[repr(C)]
struct Slot {
    /// The operation's number; 0 before the first, [`CLAIMED`] while it is being filled in.
    id: AtomicU64,
    submitted_ns: AtomicU64,
    /// 0 while in flight.
    completed_ns: AtomicU64,
    result: AtomicI64,
    offset: AtomicU64,
    bytes: AtomicU64,
    address: AtomicU64,
    file: AtomicU32,
    generation: AtomicU32,
    thread: AtomicU32,
    /// Kind, interface, flags: 8, 8, 16 bits.
    what: AtomicU32,
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES && size_of::<Slot>() == 72);

struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    /// Of slots; checked against `bytes`, whatever the header says later.
    capacity: u64,
}

// SAFETY: everything behind the pointer is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

impl Mapping {
    fn bytes(capacity: u64) -> usize {
        HEADER_BYTES + capacity as usize * size_of::<Slot>()
    }

    fn new(file: RawFd, capacity: u64, protection: i32) -> std::result::Result<Self, Errno> {
        let bytes = Self::bytes(capacity);
        let (fd, flags) = if file < 0 { (-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS) } else { (file, libc::MAP_SHARED) };
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        NonNull::new(start.cast()).map(|start| Self { start, bytes, capacity }).ok_or(Errno(libc::ENOMEM))
    }

    fn header(&self) -> &Header {
        // SAFETY: page-aligned, at least HEADER_BYTES long, any bytes are valid, and all of it is atomic.
        unsafe { self.start.cast().as_ref() }
    }

    fn slot(&self, number: u64) -> &Slot {
        let at = HEADER_BYTES + (number % self.capacity) as usize * size_of::<Slot>();
        // SAFETY: inside the mapping, which was made for `capacity` slots.
        let slot = unsafe { self.start.add(at) };
        // SAFETY: 8-byte aligned; any bytes are valid, and all of it is atomic.
        unsafe { slot.cast().as_ref() }
    }
}

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

impl Recorder {
    /// Makes a new record of up to `capacity` operations in `file`, whatever it held, or in memory that only this process and its
    /// children see.
    pub fn create(file: Option<&File>, capacity: u32) -> Result<Self> {
        let capacity = capacity.clamp(1, 1 << 24);
        let failed = |errno| Error::new(Step::Setup, "The flight recorder's file cannot be made").errno(errno);
        if let Some(file) = file {
            let bytes = Mapping::bytes(capacity.into()) as u64;
            file.set_len(0).and_then(|()| file.set_len(bytes)).map_err(|error| failed(Errno::from(&error)))?;
        }
        let fd = file.map_or(-1, AsRawFd::as_raw_fd);
        let map = Mapping::new(fd, capacity.into(), libc::PROT_READ | libc::PROT_WRITE).map_err(failed)?;
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
        slot.file.store(begin.file, Ordering::Relaxed);
        slot.generation.store(begin.generation, Ordering::Relaxed);
        // SAFETY: no arguments.
        slot.thread.store(unsafe { libc::gettid() } as u32, Ordering::Relaxed);
        let what = u32::from(begin.kind as u8) | u32::from(begin.interface as u8) << 8 | u32::from(begin.flags) << 16;
        slot.what.store(what, Ordering::Relaxed);
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
        slot.result.store(result, Ordering::Relaxed);
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

    fn line(&self, operation: &Operation) -> String {
        let header = self.map.header();
        let count = header.files.load(Ordering::Acquire);
        let index = operation.begin.file;
        let name = if index < count { name_of(&header.names[index as usize]) } else { "?".to_owned() };
        trace_line(operation, &name, header.started_ns.load(Ordering::Relaxed))
    }
}

/// One operation in strace's way: `0.001234 io_uring#3 pwrite(dst, 0x1000, 4096) = 4096 <0.000123>`.
pub fn trace_line(operation: &Operation, file: &str, started_ns: u64) -> String {
    let Operation { id, begin, submitted_ns, completed_ns, result, .. } = operation;
    let seconds = |ns: u64| format!("{}.{:06}", ns / 1_000_000_000, ns / 1_000 % 1_000_000);
    let arguments = match begin.kind {
        Kind::Truncate => format!("{file}, {}", begin.bytes),
        kind if kind.has_range() => format!("{file}, {:#x}, {}", begin.offset, begin.bytes),
        _ => file.to_owned(),
    };
    let end = match completed_ns {
        None => "? <in flight>".to_owned(),
        Some(completed) => {
            let result = match i32::try_from(result.wrapping_neg()) {
                Ok(errno) if errno > 0 => format!("-1 {}", Errno(errno).name()),
                _ => result.to_string(),
            };
            format!("{result} <{}>", seconds(completed.saturating_sub(*submitted_ns)))
        }
    };
    format!(
        "{} {}#{id} {}({arguments}) = {end}",
        seconds(submitted_ns.saturating_sub(started_ns)),
        begin.interface.name(),
        begin.kind.name()
    )
}

fn name_of(name: &Name) -> String {
    let bytes = name.iter().map(|byte| byte.load(Ordering::Relaxed)).take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).unwrap_or_else(|_| "?".to_owned())
}

fn read_slot(slot: &Slot) -> Option<Operation> {
    let id = slot.id.load(Ordering::Acquire);
    let what = slot.what.load(Ordering::Relaxed);
    let kind = *Kind::ALL.get(usize::from((what & 0xff) as u8).checked_sub(1)?)?;
    let interface = match (what >> 8) & 0xff {
        0 => Interface::Sync,
        1 => Interface::Libaio,
        2 => Interface::IoUring,
        _ => return None,
    };
    let completed = slot.completed_ns.load(Ordering::Acquire);
    let begin = Begin {
        kind,
        interface,
        flags: (what >> 16) as u16,
        file: slot.file.load(Ordering::Relaxed),
        offset: slot.offset.load(Ordering::Relaxed),
        bytes: slot.bytes.load(Ordering::Relaxed),
        address: slot.address.load(Ordering::Relaxed),
        generation: slot.generation.load(Ordering::Relaxed),
    };
    let operation = Operation {
        id,
        begin,
        thread: slot.thread.load(Ordering::Relaxed),
        submitted_ns: slot.submitted_ns.load(Ordering::Relaxed),
        completed_ns: (completed > 0).then_some(completed),
        result: slot.result.load(Ordering::Relaxed),
    };
    // After all the fields, not among them.
    fence(Ordering::Acquire);
    // Filled in anew meanwhile, or never finished.
    (id > 0 && id != CLAIMED && slot.id.load(Ordering::Relaxed) == id).then_some(operation)
}

impl Recorder {
    /// What is recorded now; other threads may go on recording.
    pub fn read(&self) -> Record {
        read_mapping(&self.map)
    }
}

/// Reads the record that a process, which may be dead or still writing, has in `file`.
///
/// An error of step "options": it is no record, or of another architecture or version.
pub fn read(file: &File) -> Result<Record> {
    let not = |why: &str| Error::new(Step::Options, format!("This is no flight record: {why}"));
    let bytes = file.metadata().map_err(|error| not(&error.to_string()))?.len();
    let bytes = usize::try_from(bytes).unwrap_or(0);
    if bytes < HEADER_BYTES {
        return Err(not("it is too short"));
    }
    let capacity = ((bytes - HEADER_BYTES) / size_of::<Slot>()) as u64;
    let map = Mapping::new(file.as_raw_fd(), capacity, libc::PROT_READ).map_err(|errno| not("it can't be mapped").errno(errno))?;
    let header = map.header();
    let record_bytes = header.record_bytes.load(Ordering::Relaxed) as usize;
    if header.magic.load(Ordering::Acquire) != MAGIC || record_bytes != size_of::<Slot>() {
        return Err(not("it was made by another version, on another architecture, or by another program"));
    }
    let said = u64::from(header.capacity.load(Ordering::Relaxed));
    if said != capacity || bytes != Mapping::bytes(capacity) || capacity == 0 {
        return Err(not("its length is not what it says"));
    }
    Ok(read_mapping(&map))
}

fn read_mapping(map: &Mapping) -> Record {
    let header = map.header();
    // Each operation's number is counted before it is passed over.
    let passed_over = header.passed_over.load(Ordering::Acquire);
    let begun = header.begun.load(Ordering::Acquire);
    let files = (header.files.load(Ordering::Acquire) as usize).min(FILES_MAX);
    let mut operations: Vec<Operation> = (0..map.capacity).filter_map(|number| read_slot(map.slot(number))).collect();
    operations.sort_by_key(|operation| (operation.submitted_ns, operation.id));
    Record {
        files: header.names[..files].iter().map(name_of).collect(),
        lost: begun.saturating_sub(passed_over).saturating_sub(operations.len() as u64),
        operations,
        started_ns: header.started_ns.load(Ordering::Relaxed),
        started_monotonic_ns: header.started_monotonic_ns.load(Ordering::Relaxed),
    }
}

/// Two operations on one piece of memory at once, of which one writes to it: the test's own error, never the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemory {
    /// In flight, with its memory the kernel's.
    pub in_flight: Operation,
    /// What used the same memory meanwhile.
    pub other: Operation,
}

impl Record {
    /// Operations on `file` that touch a byte of `range`, the oldest first; the verification's own are left out.
    pub fn touching(&self, file: u32, range: &std::ops::Range<u64>) -> Vec<Operation> {
        let touches = |operation: &&Operation| {
            let Begin { kind, offset, bytes, flags, .. } = operation.begin;
            operation.begin.file == file
                && flags & VERIFYING == 0
                && match kind {
                    Kind::Truncate => bytes < range.end,
                    Kind::Collapse | Kind::Insert => offset < range.end,
                    _ if kind.has_range() => offset < range.end && range.start < offset.saturating_add(bytes),
                    _ => false,
                }
        };
        self.operations.iter().filter(touches).copied().collect()
    }

    /// Operations that were in flight at the same time as `operation`, itself left out.
    pub fn beside(&self, operation: &Operation) -> Vec<Operation> {
        let others = self.operations.iter().filter(|other| other.id != operation.id && overlap(operation, other));
        others.copied().collect()
    }

    /// Memory that was used for two things at once. Empty for a test without errors of its own.
    pub fn shared_memory(&self) -> Vec<SharedMemory> {
        let mut found = Vec::new();
        let mut in_flight: Vec<&Operation> = Vec::new();
        for operation in self.operations.iter().filter(|op| op.begin.kind.uses_memory() || op.begin.kind == Kind::Fill) {
            in_flight.retain(|other| other.completed_ns.is_none_or(|at| at > operation.submitted_ns));
            let uses = |op: &Operation| op.begin.address..op.begin.address.saturating_add(op.begin.bytes);
            for other in &in_flight {
                let (a, b) = (uses(other), uses(operation));
                let written = other.begin.kind.writes_memory() || operation.begin.kind.writes_memory();
                if written && a.start < b.end && b.start < a.end {
                    found.push(SharedMemory { in_flight: **other, other: *operation });
                }
            }
            if operation.begin.kind.uses_memory() {
                in_flight.push(operation);
            }
        }
        found
    }
}

/// The last `max` of `operations`, half of them, if there are so many, changes of the file: what made bytes bad is not
/// displaced by what was only read there, or dropped from the page cache, afterwards.
pub fn latest(operations: &[Operation], max: usize) -> Vec<Operation> {
    let newest = |wanted: &dyn Fn(&Operation) -> bool, most: usize| -> Vec<Operation> {
        operations.iter().rev().filter(|operation| wanted(operation)).take(most).copied().collect()
    };
    let mut kept = newest(&|operation| operation.begin.kind.changes_the_file(), max.div_ceil(2));
    let changes: HashSet<u64> = kept.iter().map(|operation| operation.id).collect();
    kept.extend(newest(&|operation| !changes.contains(&operation.id), max - changes.len()));
    kept.sort_by_key(|operation| (operation.submitted_ns, operation.id));
    kept
}

fn overlap(a: &Operation, b: &Operation) -> bool {
    let ends_after = |x: &Operation, y: &Operation| x.completed_ns.is_none_or(|end| end > y.submitted_ns);
    ends_after(a, b) && ends_after(b, a)
}

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

//! Dropping a queue with operations in flight must wait for the kernel.
//!
//! The detector is memory in quarantine: what a pool would unmap is filled with a poison instead, and stays mapped; if the kernel
//! writes to it later, the poison is damaged. (Unmapping would show nothing: direct I/O holds on to the pages themselves.) Each
//! check is also run against a queue whose drop does not wait, and has to fire there.

use std::cell::RefCell;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Engine, Event, Kind, Op, Operation, Queue, Request, SyncEngine};
use crate::buffer::{Align, Pool};
use crate::error::Errno;

const POISON: u8 = 0xdf;

thread_local! {
    static QUARANTINE: RefCell<Option<Arc<Quarantine>>> = const { RefCell::new(None) };
}

/// Keeps the memory of the arenas made by this thread while it is current.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    taken: Mutex<Vec<(usize, usize)>>,
}

pub(crate) fn current_quarantine() -> Option<Arc<Quarantine>> {
    QUARANTINE.with_borrow(Clone::clone)
}

impl Quarantine {
    fn enter() -> Arc<Self> {
        let quarantine = Arc::new(Self::default());
        QUARANTINE.set(Some(Arc::clone(&quarantine)));
        quarantine
    }

    /// Called instead of unmapping. Poisons the end first: the kernel reads the blocks in order, so the last come last.
    pub(crate) fn take(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: an arena that no buffer refers to.
        let memory = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), bytes) };
        for chunk in memory.chunks_mut(1 << 16).rev() {
            chunk.fill(POISON);
        }
        self.taken.lock().expect("lock").push((start.as_ptr().expose_provenance(), bytes));
    }

    fn arenas(&self) -> usize {
        self.taken.lock().expect("lock").len()
    }

    /// Bytes that somebody wrote after they were given up.
    fn late_bytes(&self) -> usize {
        let taken = self.taken.lock().expect("lock");
        let damaged = |(start, bytes): &(usize, usize)| {
            let start = std::ptr::with_exposed_provenance::<u8>(*start);
            // SAFETY: mapped for good; volatile because the kernel may be the one who writes.
            (0..*bytes).step_by(64).filter(|at| unsafe { start.wrapping_add(*at).read_volatile() } != POISON).count()
        };
        taken.iter().map(damaged).sum()
    }
}

fn directories() -> Vec<PathBuf> {
    std::env::var_os("AIODIO_TEST_DIRS").map_or_else(|| vec![std::env::temp_dir()], |dirs| std::env::split_paths(&dirs).collect())
}

const BLOCKS: usize = 48;
const BLOCK_BYTES: NonZeroUsize = NonZeroUsize::new(1 << 20).expect("not 0");
const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// A file on a disk, opened for direct reads; none where the filesystem does not do them asynchronously.
fn direct_file(directory: &std::path::Path) -> Option<(tempfile::NamedTempFile, File)> {
    if crate::storage::is_in_memory(directory).expect("directory") {
        eprintln!("skipped in {}: no direct I/O to a disk there", directory.display());
        return None;
    }
    let named = tempfile::NamedTempFile::new_in(directory).expect("file");
    let key = crate::stamp::Key { seed: 1, file: 1, generation: 1 };
    crate::workload::fill::fill(named.path(), (BLOCKS * BLOCK_BYTES.get()) as u64, key).expect("fill");
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(named.path()).expect("direct");
    Some((named, file))
}

fn queue_with_reads_in_flight(engine: Box<dyn Engine>, file: OwnedFd) -> Queue {
    let pool = Pool::new(BLOCKS, BLOCK_BYTES, Align::Offset(0)).expect("pool");
    let depth = NonZeroUsize::new(BLOCKS).expect("not 0");
    let mut queue = Queue::new(engine, depth, vec![file], &pool.registrations).expect("queue");
    for (index, buffer) in pool.buffers.into_iter().enumerate() {
        let offset = (index * BLOCK_BYTES.get()) as u64;
        queue.push(Operation { op: Op::Read, file: 0, offset, bytes: BLOCK_BYTES.get(), buffer, generation: 0, user_data: () });
    }
    queue.submit().expect("submit");
    queue
}

#[derive(Clone, Copy)]
enum End {
    Drop,
    Panic,
    BrokenDrop,
}

/// Bytes written to memory that the queue had given up.
fn late_bytes(kind: Kind, file: &File, end: End) -> usize {
    let quarantine = Quarantine::enter();
    let engine = kind.open(NonZeroUsize::new(BLOCKS).expect("not 0")).expect("engine");
    let mut queue = queue_with_reads_in_flight(engine, file.try_clone().expect("clone").into());
    match end {
        End::Drop => drop(queue),
        End::BrokenDrop => {
            queue.drop_is_broken = true;
            drop(queue);
        }
        End::Panic => {
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _queue = queue;
                std::panic::resume_unwind(Box::new("planted"));
            }));
            assert!(unwound.is_err());
        }
    }
    assert_eq!(quarantine.arenas(), 1, "the memory was given up");
    // Longer than any of the reads takes.
    std::thread::sleep(Duration::from_millis(400));
    QUARANTINE.set(None);
    quarantine.late_bytes()
}

fn nothing_is_written_after_the_drop(kind: Kind) {
    for directory in directories() {
        let Some((_named, file)) = direct_file(&directory) else { continue };
        for end in [End::Drop, End::Panic] {
            assert_eq!(late_bytes(kind, &file, end), 0, "{}", directory.display());
        }
        // Not each time: on a busy machine the poison may come after the data.
        let fires = (0..100).any(|_| late_bytes(kind, &file, End::BrokenDrop) > 0);
        assert!(fires, "a drop that does not wait went unnoticed in {}", directory.display());
    }
}

#[test]
fn dropping_libaio_in_flight_waits() {
    nothing_is_written_after_the_drop(Kind::Libaio);
}

#[test]
fn dropping_io_uring_in_flight_waits() {
    nothing_is_written_after_the_drop(Kind::IoUring);
}

#[test]
fn dropping_io_uring_fixed_in_flight_waits() {
    nothing_is_written_after_the_drop(Kind::IoUringFixed);
}

/// A pipe: the end to read from, and the end to write to.
fn pipe() -> [OwnedFd; 2] {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: fresh descriptors that nobody else owns.
    ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A queue with a read in flight that waits for eight bytes.
fn queue_that_reads(pipe: OwnedFd) -> Queue {
    let engine = Kind::IoUring.open(ONE).expect("engine");
    let mut buffers = Pool::new(1, NonZeroUsize::new(4096).expect("not 0"), Align::Offset(0)).expect("pool");
    let mut queue = Queue::new(engine, ONE, vec![pipe], &[]).expect("queue");
    queue.push(Operation {
        op: Op::Read,
        file: 0,
        offset: u64::MAX,
        bytes: 8,
        buffer: buffers.buffers.remove(0),
        generation: 0,
        user_data: (),
    });
    queue.submit().expect("submit");
    queue
}

fn write_eight_bytes(pipe: &OwnedFd) {
    // SAFETY: eight bytes of a constant.
    assert_eq!(unsafe { libc::write(pipe.as_raw_fd(), b"too late".as_ptr().cast(), 8) }, 8);
}

/// Whether the drop of a queue ends only when the read in flight has: what it waits for is written after `delay`, or as soon as the
/// drop is over.
fn drop_waits_for_a_pipe(delay: Duration, broken: bool) -> bool {
    let [read, write] = pipe();
    let mut queue = queue_that_reads(read);
    queue.drop_is_broken = broken;
    let (dropped, told) = std::sync::mpsc::channel::<()>();
    let written = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let written = Arc::clone(&written);
        move || {
            let _ = told.recv_timeout(delay);
            written.store(true, Ordering::SeqCst);
            write_eight_bytes(&write);
        }
    });
    drop(queue);
    let waited = written.load(Ordering::SeqCst);
    let _ = dropped.send(());
    writer.join().expect("writer");
    waited
}

#[test]
fn dropping_waits_as_long_as_the_other_end_of_a_pipe_lets_it() {
    assert!(drop_waits_for_a_pipe(Duration::from_millis(300), false));
    // So long that a broken drop is over before, whatever else the machine does.
    assert!(!drop_waits_for_a_pipe(Duration::from_secs(600), true), "the broken drop must be seen");
}

#[test]
fn what_is_over_is_seen_without_waiting_for_it() {
    let [read, write] = pipe();
    let mut queue = queue_that_reads(read);
    let mut done = Vec::new();
    queue.poll(&mut done).expect("poll");
    assert_eq!((done.len(), queue.in_flight()), (0, 1));
    write_eight_bytes(&write);
    queue.poll(&mut done).expect("poll");
    assert_eq!((done.len(), queue.in_flight()), (1, 0));
    assert_eq!(&done[0].buffer[..8], b"too late");
}

#[test]
fn what_the_kernel_has_still_is_counted_and_what_waits_to_be_submitted_again_is_not() {
    let [read, write] = pipe();
    let mut queue = queue_that_reads(read);
    assert_eq!(queue.still_with_kernel().expect("reap"), 1);
    write_eight_bytes(&write);
    assert_eq!((queue.still_with_kernel().expect("reap"), queue.in_flight()), (0, 0));
    let mut done = Vec::new();
    queue.poll(&mut done).expect("poll");
    assert_eq!((done.len(), queue.in_flight()), (1, 0));

    let mut queue = queue_with_reads_in_flight(Box::new(Halver::default()), null());
    let pushed = queue.in_flight();
    assert_eq!((queue.still_with_kernel().expect("reap"), queue.in_flight()), (0, pushed));
    queue.wait(pushed, &mut done).expect("wait");
    assert_eq!((done.len(), queue.in_flight()), (1 + pushed, 0));
}

/// Does half of each request, at once.
#[derive(Default)]
struct Halver(Vec<Event>);

// SAFETY: it tells the kernel nothing.
unsafe impl Engine for Halver {
    fn capacity(&self) -> usize {
        usize::MAX
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        self.0.extend(requests.iter().map(|each| Event { slot: each.slot.into(), result: each.bytes.div_ceil(2) as i64 }));
        Ok(requests.len())
    }
    fn reap(&mut self, _min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        events.append(&mut self.0);
        Ok(())
    }
}

/// Takes everything and never says more than an error.
struct Mute;

// SAFETY: it tells the kernel nothing.
unsafe impl Engine for Mute {
    fn capacity(&self) -> usize {
        usize::MAX
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        Ok(requests.len())
    }
    fn reap(&mut self, _min: usize, _events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        Err(Errno(libc::EBADF))
    }
}

/// Says that an operation is complete which does not exist.
struct Liar(u64);

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Liar {
    fn capacity(&self) -> usize {
        usize::MAX
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        Ok(requests.len())
    }
    fn reap(&mut self, _min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        events.push(Event { slot: self.0, result: 0 });
        Ok(())
    }
}

fn null() -> OwnedFd {
    File::open("/dev/null").expect("/dev/null").into()
}

#[test]
fn memory_is_leaked_and_counted_when_the_kernel_cannot_be_asked() {
    let engines: [Box<dyn Engine>; 2] = [Box::new(Mute), Box::new(Liar(1 << 40))];
    for engine in engines {
        let quarantine = Quarantine::enter();
        let mut queue = queue_with_reads_in_flight(engine, null());
        queue.wait(1, &mut Vec::new()).expect_err("the engine is broken");
        let stats = queue.finish();
        QUARANTINE.set(None);
        assert_eq!(stats.leaked_buffers, BLOCKS as u64);
        assert_eq!(quarantine.arenas(), 0, "the memory must not be given up");
    }
}

#[test]
fn operations_that_the_kernel_never_got_are_dropped_without_waiting() {
    let quarantine = Quarantine::enter();
    let pool = Pool::new(1, BLOCK_BYTES, Align::Offset(0)).expect("pool");
    let mut queue = Queue::new(Box::new(Mute), ONE, vec![null()], &[]).expect("queue");
    for buffer in pool.buffers {
        queue.push(Operation { op: Op::Read, file: 0, offset: 0, bytes: 1, buffer, generation: 0, user_data: () });
    }
    drop(queue);
    QUARANTINE.set(None);
    assert_eq!(quarantine.arenas(), 1);
}

#[test]
fn a_short_read_at_the_end_of_a_file_is_reported_as_that() {
    let file = tempfile::tempfile().expect("file");
    file.set_len(1000).expect("size");
    let mut pool = Pool::new(1, BLOCK_BYTES, Align::Offset(0)).expect("pool");
    let mut queue = Queue::new(Box::new(SyncEngine::default()), ONE, vec![file.into()], &[]).expect("queue");
    queue.push(Operation {
        op: Op::Read,
        file: 0,
        offset: 0,
        bytes: 4096,
        buffer: pool.buffers.remove(0),
        generation: 0,
        user_data: (),
    });
    let mut done = Vec::new();
    queue.wait(1, &mut done).expect("wait");
    assert_eq!(done.remove(0).result, Ok(1000));
    assert_eq!(queue.finish().short_reads, 1);
}

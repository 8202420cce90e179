//! A storm of signals at the thread that submits and reaps, handled without `SA_RESTART`, as in seed 000: nothing is lost.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiodio_core::buffer::{Align, Pool};
use aiodio_core::engine::{Kind, Op, Operation, Queue};
use aiodio_core::storage::{Strategy, storage};
use aiodio_core::workload::copy::{self, Fsync};
use aiodio_core::workload::fill::fill;
use common::{ENGINES, KEY, assert_good, options, size, workplaces};

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// The count is the process's: one storm at a time.
static ONE_STORM: Mutex<()> = Mutex::new(());

/// Signals that make a storm; how long they take is the machine's affair.
const SIGNALS: u64 = 1000;
/// Operations after which a storm that interrupted nothing proves that nothing can be interrupted.
const OPERATIONS_MAX: u64 = 1_000_000;

extern "C" fn count(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Signals the thread that made it, every 100 microseconds or so, until it is dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn start() -> Self {
        // SAFETY: all zeros is a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing but count.
        assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
        let process = std::process::id() as libc::pid_t;
        // SAFETY: takes no arguments.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as libc::pid_t;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // SAFETY: the thread outlives this one, which it joins.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_signal_storm_loses_nothing() {
    let _one = ONE_STORM.lock().unwrap_or_else(PoisonError::into_inner);
    for place in workplaces() {
        for engine in ENGINES {
            // Small blocks and little depth, and no fsync in between, so that most of the time is spent asleep, waiting.
            let options =
                copy::Options { block_bytes: size(4096), depth: size(2), fsync: Fsync::End, ..options(place.path(), engine) };
            fill(&options.source, options.bytes, KEY).unwrap();
            // Direct pread and pwrite cannot be interrupted; btrfs and tmpfs do most of the work inside io_submit(2).
            let sleeps = engine != Kind::Sync && storage(place.path()).unwrap().strategy == Strategy::Uevent;
            let (mut interrupted, mut operations) = (0, 0);
            let handled = HANDLED.load(Ordering::Relaxed);
            let signals = || HANDLED.load(Ordering::Relaxed) - handled;
            let storm = Storm::start();
            while operations < 8000 || signals() < SIGNALS || sleeps && interrupted == 0 {
                assert!(operations < OPERATIONS_MAX, "{engine:?}: {} signals, and {interrupted} waits interrupted", signals());
                let outcome = copy::copy(&options, |_| {});
                assert!(outcome.error.is_none(), "{:?}", outcome.error);
                assert_eq!(outcome.stats.submitted, outcome.stats.completed);
                interrupted += outcome.stats.retried_eintr;
                operations += outcome.stats.completed;
                assert_good(&options.destination, options.bytes);
                std::fs::remove_file(&options.destination).unwrap();
            }
            drop(storm);
            eprintln!("{engine:?}: {operations} operations, {} signals, {interrupted} EINTR", signals());
        }
    }
}

#[test]
fn a_wait_that_is_interrupted_again_and_again_still_ends_with_the_data() {
    let _one = ONE_STORM.lock().unwrap_or_else(PoisonError::into_inner);
    for engine in [Kind::Libaio, Kind::IoUring, Kind::IoUringFixed] {
        let (read, mut write) = std::io::pipe().unwrap();
        let mut pool = Pool::new(1, size(4096), Align::Offset(0)).unwrap();
        let one = size(1);
        let mut queue = Queue::new(engine.open(one).unwrap(), one, vec![read.into()], &pool.registrations).unwrap();
        queue.push(Operation {
            op: Op::Read,
            file: 0,
            offset: 0,
            bytes: 9,
            buffer: pool.buffers.remove(0),
            generation: 0,
            user_data: (),
        });
        let writer = std::thread::spawn(move || {
            for half in [b"half".as_slice(), b" done"] {
                // Fewer than the queue tries again without progress.
                let enough = HANDLED.load(Ordering::Relaxed) + 500;
                while HANDLED.load(Ordering::Relaxed) < enough {
                    std::thread::yield_now();
                }
                write.write_all(half).unwrap();
            }
        });
        let storm = Storm::start();
        let mut done = Vec::new();
        // For libaio the kernel sleeps in io_submit(2) here and completes the read with EINTR.
        queue.wait(1, &mut done).unwrap();
        drop(storm);
        writer.join().unwrap();
        let completion = done.remove(0);
        assert_eq!(completion.result, Ok(9), "{engine:?}");
        assert_eq!(&completion.buffer[..9], b"half done");
        let stats = queue.finish();
        assert!(stats.retried_eintr > 10, "{engine:?}: {stats:?}");
        assert_eq!(stats.short_reads, 1);
    }
}

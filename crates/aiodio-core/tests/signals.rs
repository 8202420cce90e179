//! A storm of signals at the thread that submits and reaps, handled without `SA_RESTART`, as in seed 000: nothing is lost.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aiodio_core::copy::{self, Fsync};
use aiodio_core::engine::Kind;
use aiodio_core::fill::fill;
use common::{ENGINES, KEY, assert_good, options, size, workplaces};

static HANDLED: AtomicU64 = AtomicU64::new(0);

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
    for place in workplaces() {
        for engine in ENGINES {
            let options = copy::Options {
                bytes: 32 << 20,
                block_bytes: size(16 << 10),
                depth: size(8),
                fsync: Fsync::Batch,
                ..options(place.path(), engine)
            };
            fill(&options.source, options.bytes, KEY).unwrap();
            let (mut interrupted, mut operations, handled, start) = (0, 0, HANDLED.load(Ordering::Relaxed), Instant::now());
            let storm = Storm::start();
            while operations < 8000 || start.elapsed() < Duration::from_secs(1) {
                let outcome = copy::copy(&options, |_| {});
                assert!(outcome.error.is_none(), "{:?}", outcome.error);
                assert_eq!(outcome.stats.submitted, outcome.stats.completed);
                interrupted += outcome.stats.retried_eintr;
                operations += outcome.stats.completed;
                assert_good(&options.destination, options.bytes);
                std::fs::remove_file(&options.destination).unwrap();
            }
            let elapsed = start.elapsed();
            drop(storm);
            let signals = HANDLED.load(Ordering::Relaxed) - handled;
            eprintln!("{engine:?}: {operations} operations, {signals} signals in {elapsed:?}, {interrupted} EINTR");
            assert!(signals as f64 / elapsed.as_secs_f64() > 1000.0, "not much of a storm");
            // Direct pread and pwrite cannot be interrupted.
            assert!(interrupted > 0 || engine == Kind::Sync, "{engine:?}: no wait was interrupted");
        }
    }
}

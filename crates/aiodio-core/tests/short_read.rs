//! Buffered reads under a disturbed page cache are complete and right, and each planted fault has a name of its own.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::buffer::{Align, Registration};
use aiodio_core::engine::{Engine, Event, Kind, Request};
use aiodio_core::error::{Errno, Result};
use aiodio_core::verify::Kind as Bad;
use aiodio_core::workload::fill::fill;
use aiodio_core::workload::short_read::{Options, Outcome, run, run_with};
use common::{ENGINES, KEY, size, workplaces};

const BLOCK: usize = 64 << 10;
/// The last read ends inside its block, and inside a sector.
const BYTES: u64 = (8 << 20) + 612;
const READS: u64 = 2 * BYTES.div_ceil(BLOCK as u64);

fn options(directory: &Path, engine: Kind) -> Options {
    let path = directory.join("file");
    fill(&path, BYTES, KEY).unwrap();
    Options {
        path,
        bytes: BYTES,
        key: KEY,
        block_bytes: size(BLOCK),
        depth: size(16),
        engine,
        align: Align::Offset(0),
        passes: 2,
        resubmit: false,
        disturb: true,
        seed: 5,
    }
}

#[test]
fn all_reads_are_complete_and_right() {
    for place in workplaces() {
        for engine in ENGINES {
            for resubmit in [false, true] {
                let outcome = run(&Options { resubmit, ..options(place.path(), engine) }, |_| {});
                assert!(outcome.error.is_none(), "{:?}", outcome.error);
                assert_eq!(outcome.findings.total, 0, "{engine:?}: {:#?}", outcome.findings.first);
                // More than asked for only until all disturbers have had a turn, which a busy machine may take its time for.
                assert!(outcome.reads >= READS && outcome.reads.is_multiple_of(READS / 2), "{outcome:?}");
                assert!(outcome.at_end > 0, "the end of the file is read, short and rightly so");
                assert!(outcome.dropped > 0 && outcome.read_ahead > 0);
                assert!(outcome.reclaimed > 0 || outcome.no_reclaim);
            }
        }
    }
}

#[test]
fn it_goes_on_until_everything_has_been_disturbed() {
    for place in workplaces() {
        for engine in ENGINES {
            let outcome = run(&Options { passes: 0, ..options(place.path(), engine) }, |_| {});
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert!(outcome.reads > 0 && outcome.dropped > 0 && outcome.read_ahead > 0, "{outcome:?}");
            let none = run(&Options { passes: 0, disturb: false, ..options(place.path(), engine) }, |_| {});
            assert_eq!(none.reads, 0, "without disturbers there is nothing to wait for");
        }
    }
}

/// What happens to every 32nd read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is asked for half of its bytes.
    Short,
    /// The same, and something is written behind them.
    ShortAndTouched,
    /// It is said to be complete and was not done.
    Unfilled,
    /// It fails.
    Eio,
    /// A signal interrupts it: to be tried again, and no fault at all.
    Interrupted,
}

struct Broken {
    inner: Box<dyn Engine>,
    fault: Fault,
    requests: u64,
    ready: Vec<Event>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Broken {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        let mut request = requests[0];
        self.requests += 1;
        if self.requests.is_multiple_of(32) {
            let answer = |result| Event { slot: u64::from(request.slot), result };
            let ready = match self.fault {
                Fault::Unfilled => Some(answer(request.bytes as i64)),
                Fault::Eio => Some(answer(-i64::from(libc::EIO))),
                Fault::Interrupted => Some(answer(-i64::from(libc::EINTR))),
                Fault::Short | Fault::ShortAndTouched => None,
            };
            if let Some(event) = ready {
                self.ready.push(event);
                return Ok(1);
            }
            request.bytes /= 2;
            if self.fault == Fault::ShortAndTouched {
                // SAFETY: inside the memory that the caller vouches for, behind what is read.
                unsafe { *request.start.wrapping_add(request.bytes + 100) = 1 };
            }
        }
        // SAFETY: a part of what the caller vouches for.
        unsafe { self.inner.submit(&[request]) }
    }
    fn flush(&mut self) -> std::result::Result<(), Errno> {
        self.inner.flush()
    }
    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        events.append(&mut self.ready);
        self.inner.reap(min.saturating_sub(events.len()), events)
    }
}

fn broken(fault: Fault, resubmit: bool) -> Outcome {
    let place = tempfile::tempdir().unwrap();
    let options = Options { resubmit, ..options(place.path(), Kind::IoUring) };
    let inner = options.engine.open(options.depth).unwrap();
    let outcome = run_with(Box::new(Broken { inner, fault, requests: 0, ready: Vec::new() }), &options, |_| {});
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.reads, READS);
    outcome
}

#[test]
fn each_planted_fault_has_its_own_name_each_time() {
    for _ in 0..3 {
        for fault in [Fault::Short, Fault::ShortAndTouched, Fault::Unfilled, Fault::Eio] {
            let outcome = broken(fault, false);
            assert_eq!(outcome.findings.total, READS / 32, "{fault:?}");
            for found in &outcome.findings.first {
                let named = match (found.kind, fault) {
                    ("short", Fault::Short) => found.got == Some(BLOCK as u64 / 2),
                    ("touched", Fault::ShortAndTouched) => found.detail == format!("first at byte {}", BLOCK / 2 + 100),
                    ("unfilled", Fault::Unfilled) => found.detail == "from byte 0 on" && found.got == Some(found.bytes),
                    ("refused", Fault::Eio) => found.errno == Some(Errno(libc::EIO)),
                    _ => false,
                };
                assert!(named, "{fault:?}: {found:?}");
            }
        }
    }
}

#[test]
fn what_a_careful_program_would_not_notice_is_no_fault() {
    let resumed = broken(Fault::Short, true);
    assert_eq!(resumed.findings.total, 0, "{:#?}", resumed.findings.first);
    assert!(resumed.stats.short_reads > 0);
    let interrupted = broken(Fault::Interrupted, false);
    assert_eq!(interrupted.findings.total, 0, "{:#?}", interrupted.findings.first);
    assert!(interrupted.stats.retried_eintr > 0);
}

#[test]
fn other_data_than_the_files_are_corruption_and_not_a_short_read() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path(), Kind::IoUring);
    let file = std::fs::OpenOptions::new().write(true).open(&options.path).unwrap();
    file.write_all_at(&[1], (1 << 20) + 100).unwrap();
    file.sync_all().unwrap();
    for _ in 0..3 {
        let outcome = run(&options, |_| {});
        assert!(outcome.findings.total > 0);
        for found in &outcome.findings.first {
            assert_eq!((found.kind, found.ranges_total), ("wrong-data", 1), "{found:?}");
            assert_eq!((found.ranges[0].kind, found.ranges[0].offset), (Bad::Mutated, 1 << 20));
        }
    }
}

#[test]
fn a_file_that_ends_too_early_is_a_short_read() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path(), Kind::IoUring);
    std::fs::OpenOptions::new().write(true).open(&options.path).unwrap().set_len(BYTES - 100).unwrap();
    let outcome = run(&options, |_| {});
    assert!(outcome.findings.first.iter().all(|found| found.kind == "short"), "{:#?}", outcome.findings);
    assert!(outcome.findings.total > 0);
}

//! The stress finds nothing on a good kernel, and names each fault that is planted beneath it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use aiodio_core::buffer::{Align, Registration};
use aiodio_core::engine::{Engine, Event, Kind, Op, Request};
use aiodio_core::error::{Errno, Result, Step};
use aiodio_core::recorder::{self, Interface, Recorder};
use aiodio_core::storage::{Strategy, storage};
use aiodio_core::verify::{self, Kind as Bad, Level, verify_expected};
use aiodio_core::workload::signal_stress::{Action, Options, Outcome, run, run_with};
use common::{ENGINES, Panicking, size, workplaces};

fn options(directory: &Path, seed: u64) -> Options {
    let unit = storage(directory).unwrap().dio_offset_align;
    Options {
        directory: directory.to_owned(),
        workers: size(4),
        operations: 300,
        seed,
        first_file: 1,
        files: size(3),
        file_bytes: 1 << 20,
        block_bytes: size(64 << 10),
        depth: size(8),
        engines: ENGINES.to_vec(),
        direct: true,
        buffered: true,
        align: Align::Offset(0),
        dio_offset_align: size(unit),
        truncate_beside: false,
        signals: true,
        commit_old_mistake: false,
    }
}

/// What the levels say of the files.
fn verified(outcome: &Outcome) -> Vec<verify::Outcome> {
    let levels = [Level::Cache, Level::Disk];
    outcome.files.iter().flat_map(|file| levels.map(|level| verify_expected(&file.path, &file.expected, level, 8))).collect()
}

/// One for the process: tests that need a record of their own take turns.
static RECORD: Mutex<()> = Mutex::new(());

#[test]
fn a_good_kernel_passes_with_every_seed_and_interrupted_waits_lose_nothing() {
    for place in workplaces() {
        let (mut interrupted, mut signals) = (0, 0);
        let mut done = [0; Action::ALL.len()];
        let sleeps = storage(place.path()).unwrap().strategy == Strategy::Uevent;
        for seed in 0..60 {
            // Every kind is in one of the first six; further ones only where no signal has met a wait, on a busy machine.
            if seed >= 6 && signals > 0 && (interrupted > 0 || !sleeps) {
                break;
            }
            let outcome = run(&options(place.path(), seed), |_| {});
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(outcome.findings.total, 0, "seed {seed}: {:#?}", outcome.findings.first);
            for found in verified(&outcome) {
                assert!(found.is_good(), "seed {seed} on {:?}: {found:#?}", place.path());
            }
            assert_eq!(outcome.stats.submitted, outcome.stats.completed);
            assert!(outcome.files.iter().all(|file| file.expected.in_flight() == 0));
            signals += outcome.signals;
            interrupted += outcome.stats.retried_eintr;
            for (sum, count) in done.iter_mut().zip(outcome.done) {
                *sum += count;
            }
            eprintln!("{seed}: {:?}, {} signals, {:?}", outcome.elapsed, outcome.signals, outcome.stats);
        }
        assert!(done.iter().all(|count| *count > 0), "every kind is in some seed: {done:?}");
        assert!(signals > 0 && (interrupted > 0 || !sleeps), "no wait was interrupted");
    }
}

#[test]
fn the_old_mistake_is_in_the_record_as_the_tests_own_and_without_it_there_is_none() {
    let _guard = RECORD.lock().unwrap();
    for place in workplaces().into_iter().filter(|place| storage(place.path()).unwrap().strategy == Strategy::Uevent) {
        let run_recorded = |commit_old_mistake| {
            let recorder = Recorder::create(None, recorder::CAPACITY).unwrap();
            recorder::set_current(Some(recorder.clone()));
            let options = Options {
                engines: vec![Kind::Libaio],
                buffered: false,
                operations: 400,
                commit_old_mistake,
                ..options(place.path(), 3)
            };
            let outcome = run(&options, |_| {});
            recorder::set_current(None);
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            let mut shared = recorder.read().shared_memory();
            shared.retain(|pair| pair.other.begin.kind == recorder::Kind::Fill);
            assert_eq!(outcome.mistakes > 0, !shared.is_empty(), "{} mistakes", outcome.mistakes);
            assert!(shared.iter().all(|pair| pair.in_flight.begin.kind == recorder::Kind::Write));
            outcome.mistakes
        };
        assert_eq!(run_recorded(false), 0);
        // It takes a signal during a wait, which a busy machine may not bring about each time.
        assert!((0..60).any(|_| run_recorded(true) > 0), "the mistake was never committed");
    }
}

/// What a broken kernel does to one request in so many.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A write that is reported as done.
    LostWrite,
    /// A write goes elsewhere.
    Misdirected,
    /// A read fails.
    Eio,
    /// A read stops half-way, however often it is resumed.
    ShortRead,
    /// A read says that it was complete when it was not.
    StaleBuffer,
    /// One bit of what is read.
    FlippedBit,
}

struct Broken {
    inner: Box<dyn Engine>,
    fault: Fault,
    requests: u64,
    ready: Vec<Event>,
    flips: Vec<(u64, *mut u8)>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Broken {
    fn interface(&self) -> Interface {
        self.inner.interface()
    }
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        let mut request = requests[0];
        self.requests += 1;
        let hit = self.requests.is_multiple_of(20);
        let answer = |result| Event { slot: u64::from(request.slot), result };
        match self.fault {
            Fault::LostWrite if hit && request.op == Op::Write => self.ready.push(answer(request.bytes as i64)),
            Fault::Eio if hit && request.op == Op::Read => self.ready.push(answer(-i64::from(libc::EIO))),
            // Everything behind 256 KiB.
            Fault::ShortRead if request.op == Op::Read && request.offset >= 256 << 10 => self.ready.push(answer(0)),
            Fault::StaleBuffer if hit && request.op == Op::Read => self.ready.push(answer(request.bytes as i64)),
            _ => {
                if hit && request.op == Op::Write && matches!(self.fault, Fault::Misdirected) {
                    request.offset += 64 << 10;
                }
                if hit && request.op == Op::Read && matches!(self.fault, Fault::FlippedBit) {
                    self.flips.push((u64::from(request.slot), request.start));
                }
                // SAFETY: what the caller vouches for.
                return unsafe { self.inner.submit(&[request]) };
            }
        }
        Ok(1)
    }
    fn flush(&mut self) -> std::result::Result<(), Errno> {
        self.inner.flush()
    }
    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        events.append(&mut self.ready);
        let before = events.len();
        self.inner.reap(min.saturating_sub(before), events)?;
        for event in &events[before..] {
            if let Some(at) = self.flips.iter().position(|(slot, _)| *slot == event.slot) {
                let (_, start) = self.flips.swap_remove(at);
                // SAFETY: the request is over, and its buffer not yet given back.
                unsafe { *start ^= u8::from(event.result > 0) };
            }
        }
        Ok(())
    }
}

fn broken(directory: &Path, fault: Fault, seed: u64) -> Outcome {
    let open = move |kind: Kind, depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
        Ok(Box::new(Broken { inner: kind.open(depth)?, fault, requests: 0, ready: Vec::new(), flips: Vec::new() }))
    };
    run_with(&open, &Options { signals: false, ..options(directory, seed) }, |_| {})
}

fn kinds(outcome: &Outcome) -> Vec<Bad> {
    let online = outcome.findings.first.iter().map(|found| found.ranges.iter().map(|range| range.kind).collect::<Vec<_>>());
    let later = verified(outcome).into_iter().map(|found| found.ranges.into_iter().map(|range| range.kind).collect());
    online.chain(later).flatten().collect()
}

#[test]
fn each_planted_fault_is_found_and_named() {
    let place = tempfile::tempdir().unwrap();
    // The verdict is the same in repeated runs, whatever the order in which the threads come.
    for seed in 0..3 {
        let lost = broken(place.path(), Fault::LostWrite, seed);
        assert!(kinds(&lost).iter().any(|kind| matches!(kind, Bad::Stale | Bad::Zeros | Bad::Missing)), "{lost:#?}");

        let misdirected = kinds(&broken(place.path(), Fault::Misdirected, seed));
        assert!(misdirected.contains(&Bad::Misplaced), "{misdirected:?}");

        let eio = broken(place.path(), Fault::Eio, seed);
        assert!(eio.findings.total > 0);
        for found in &eio.findings.first {
            assert_eq!((found.kind, found.errno), ("refused", Some(Errno(libc::EIO))), "{found:?}");
            assert!(found.detail.starts_with("pread("), "{found:?}");
        }

        let short = broken(place.path(), Fault::ShortRead, seed);
        assert!(short.findings.total > 0);
        for found in &short.findings.first {
            assert!(found.kind == "short" && found.got < found.least, "never corruption: {found:?}");
        }

        let stale = kinds(&broken(place.path(), Fault::StaleBuffer, seed));
        assert!(stale.contains(&Bad::Garbage), "{stale:?}");

        let flipped = kinds(&broken(place.path(), Fault::FlippedBit, seed));
        assert!(flipped.iter().any(|kind| matches!(kind, Bad::Mutated | Bad::Garbage | Bad::Torn)), "{flipped:?}");
    }
}

/// Mounts a tmpfs of 512 KiB that this thread and those it makes see, and nobody else; false where that is not permitted.
fn mount_small_tmpfs(place: &Path) -> bool {
    let place = std::ffi::CString::new(place.to_str().unwrap()).unwrap();
    // SAFETY: concerns this thread's view of the mounts.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let (root, kind, none) = (c"/".as_ptr(), c"tmpfs".as_ptr(), std::ptr::null());
    // SAFETY: strings that end in NUL.
    assert_eq!(unsafe { libc::mount(kind, root, none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mount(kind, place.as_ptr(), kind, 0, c"size=512k".as_ptr().cast()) }, 0);
    true
}

/// Whether a directory is on XFS, by `f_type` of statfs(2).
fn is_xfs(directory: &Path) -> bool {
    let path = std::ffi::CString::new(directory.to_str().unwrap()).unwrap();
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a NUL-terminated path and room for the answer.
    assert_eq!(unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) }, 0);
    // SAFETY: filled in by the call.
    unsafe { found.assume_init() }.f_type == 0x5846_5342
}

#[test]
fn eio_of_a_read_across_the_end_is_forgiven_on_xfs_and_nowhere_else() {
    for place in workplaces() {
        let outcomes: Vec<_> = (0..12).map(|seed| broken(place.path(), Fault::Eio, seed)).collect();
        let forgiven: u64 = outcomes.iter().map(|outcome| outcome.collisions).sum();
        assert_eq!(forgiven > 0, is_xfs(place.path()), "{forgiven} forgiven in {:?}", place.path());
        assert!(outcomes.iter().any(|outcome| outcome.findings.total > 0));
    }
}

#[test]
fn a_full_filesystem_is_an_error_and_no_finding_whatever_met_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().to_owned();
    let runs = move || {
        if !mount_small_tmpfs(&path) {
            eprintln!("skipped: mounting is not permitted");
            return None;
        }
        let one = |seed| {
            let options = Options {
                workers: size(1),
                engines: vec![Kind::Sync],
                direct: false,
                signals: false,
                operations: 2000,
                dio_offset_align: size(4096),
                ..options(&path, seed)
            };
            run(&options, |_| {})
        };
        Some((0..64).map(one).collect::<Vec<_>>())
    };
    let Some(outcomes) = std::thread::spawn(runs).join().unwrap() else { return };
    let mut by_mapping = 0;
    for outcome in outcomes {
        assert_eq!(outcome.findings.total, 0, "{:#?}", outcome.findings.first);
        let error = outcome.error.expect("three files of 1 MiB do not fit");
        assert!(matches!(error.errno, Some(Errno(libc::ENOSPC | libc::EFAULT))), "{error:?}");
        by_mapping += u32::from(error.errno == Some(Errno(libc::EFAULT)));
    }
    assert!(by_mapping > 0, "no mapping was the first to meet the end of the space");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let good = options(place.path(), 1);
    for bad in [
        Options { engines: Vec::new(), ..good.clone() },
        Options { direct: false, buffered: false, ..good.clone() },
        Options { block_bytes: size(good.dio_offset_align.get() + 1), ..good.clone() },
        Options { file_bytes: 4096, ..good },
    ] {
        assert_eq!(run(&bad, |_| {}).error.unwrap().step, Step::Options);
    }
}

#[test]
fn a_worker_that_panics_is_an_error_and_nobody_waits_for_its_turn() {
    for place in workplaces() {
        let left = Arc::new(AtomicI64::new(20));
        let open = |kind: Kind, depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
            Ok(Box::new(Panicking { inner: kind.open(depth)?, left: Arc::clone(&left) }))
        };
        let outcome = run_with(&open, &Options { signals: false, files: size(1), ..options(place.path(), 3) }, |_| {});
        let error = outcome.error.unwrap().message;
        assert_eq!(error, "A worker panicked, which is a mistake of the test's own: planted");
        assert_eq!(outcome.findings.total, 0, "{:?}", outcome.findings);
    }
}

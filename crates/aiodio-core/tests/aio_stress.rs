//! Many transfers on several files: no false alarm for any stage, layout or number of threads, and each fault is found by the check
//! that is there for it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aiodio_core::buffer::Registration;
use aiodio_core::engine::{Engine, Event, Kind, Op, Request};
use aiodio_core::error::{Errno, Result, Step};
use aiodio_core::verify::{Kind as Bad, Level, verify_expected};
use aiodio_core::workload::aio_stress::{Options, Outcome, Stage, run, run_with};
use common::{ENGINES, Panicking, size, workplaces};
use proptest::prelude::*;

fn options(place: &Path, files: usize) -> Options {
    Options {
        files: (0..files).map(|number| place.join(format!("file{number}.bin"))).collect(),
        seed: 0x5eed,
        stages: Stage::ALL.to_vec(),
        threads: size(1),
        contexts: size(1),
        context_offset: 64 << 10,
        file_bytes: 1 << 20,
        record_bytes: size(16 << 10),
        depth: size(8),
        turn: size(4),
        rounds: 10,
        batch: size(8),
        layout_bytes: 512 << 10,
        memory_bytes: 16 << 20,
        direct: true,
        fsync: true,
        engine: Kind::Libaio,
        ranges_max: 8,
    }
}

fn assert_sound(outcome: &Outcome, options: &Options) {
    assert!(outcome.error.is_none() && outcome.finding.is_none(), "{outcome:?}");
    for (path, oracle) in options.files.iter().zip(&outcome.oracles) {
        assert_eq!(oracle.in_flight(), 0);
        for level in [Level::Cache, Level::Disk] {
            let found = verify_expected(path, oracle, level, 4);
            assert!(found.is_good(), "{level:?} {found:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_written_and_read_is_right(
        seed: u64, stages in prop::collection::vec(prop::sample::select(Stage::ALL.to_vec()), 1..5), files in 1_usize..4,
        threads in 1_usize..5, contexts in 1_usize..4, record in 1_usize..9, depth in 1_usize..20, turn in 1_usize..10,
        rounds in 1_u64..8, batch in 1_usize..20, direct: bool, engine in prop::sample::select(ENGINES.to_vec()),
    ) {
        for place in workplaces() {
            let options = Options {
                seed, stages: stages.clone(), threads: size(threads), contexts: size(contexts), depth: size(depth), turn: size(turn),
                rounds, batch: size(batch), direct, engine, record_bytes: size(if direct { record * 4096 } else { record * 3001 }),
                ..options(place.path(), files)
            };
            let outcome = run(&options, |_| {});
            assert_sound(&outcome, &options);
            prop_assert_eq!(outcome.stages.len(), stages.len());
            let parts = files * contexts;
            for report in &outcome.stages {
                prop_assert_eq!(report.threads.len(), threads.min(parts));
                let of_stage: Vec<_> = report.threads.iter().flat_map(|thread| &thread.parts).collect();
                prop_assert_eq!(of_stage.len(), parts);
                for part in of_stage {
                    prop_assert_eq!(part.done, part.total.min(rounds * turn as u64));
                    prop_assert_eq!(part.bytes, part.done * options.record_bytes.get() as u64);
                    prop_assert!(part.total > 0, "{:?}", report);
                }
            }
        }
    }
}

#[test]
fn only_what_no_stage_has_written_is_laid_out_and_within_the_limit() {
    for place in workplaces() {
        let options = options(place.path(), 2);
        let laid_out = |stages: &[Stage], rounds: u64| {
            let options = Options { stages: stages.to_vec(), rounds, ..options.clone() };
            let outcome = run(&options, |_| {});
            assert_sound(&outcome, &options);
            outcome.stages.iter().map(|report| report.laid_out).collect::<Vec<_>>()
        };
        assert_eq!(laid_out(&[Stage::Write, Stage::Read, Stage::RandomRead], 10), [0, 0, 0]);
        assert_eq!(laid_out(&[Stage::RandomWrite], 10), [0]);
        // The files' share of the limit; of a sequential read no more than it will read.
        assert_eq!(laid_out(&[Stage::RandomRead, Stage::Read], 10), [256 << 10, 256 << 10]);
        assert_eq!(laid_out(&[Stage::Read], 2), [2 * 4 * (16 << 10)]);
    }
}

#[test]
fn the_depth_is_what_memory_and_events_allow() {
    for place in workplaces() {
        let options = Options { memory_bytes: 6 * (16 << 10), ..options(place.path(), 2) };
        let outcome = run(&options, |_| {});
        assert_sound(&outcome, &options);
        assert_eq!(outcome.depth, 3);
        assert!(outcome.stats.in_flight_max <= 6);
        let options = Options { depth: size(4000), memory_bytes: 1 << 30, ..options };
        assert_eq!(run(&options, |_| {}).depth, 256);
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    for place in workplaces() {
        let few = Options { contexts: size(20), ..options(place.path(), 1) };
        assert!(run(&few, |_| {}).error.unwrap().message.contains("file size 1048576 too small for 20 contexts"));
        let long = Options { record_bytes: size(2 << 20), ..options(place.path(), 1) };
        assert_eq!(run(&long, |_| {}).error.unwrap().step, Step::Options);
    }
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Says that it is done.
    Nothing,
    /// Does it so many bytes further on.
    Elsewhere(u64),
    Fail(i32),
    /// Does all of it and says that it was less.
    Short,
    /// Of a read: flips a bit of what it returns.
    Flip,
}

/// Lies about the write or read of a number.
struct Liar<'test> {
    inner: Box<dyn Engine>,
    seen: &'test AtomicU64,
    at: u64,
    write: bool,
    lie: Lie,
    flip: Option<(u64, *mut u8)>,
    events: Vec<Event>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Liar<'_> {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
    fn register(&mut self, files: &[RawFd], memory: &[Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        let mut request = requests[0];
        if (request.op == Op::Write) != self.write || self.seen.fetch_add(1, Ordering::Relaxed) + 1 != self.at {
            // SAFETY: as the caller vouches for.
            return unsafe { self.inner.submit(&[request]) };
        }
        let result = match self.lie {
            Lie::Nothing => request.bytes as i64,
            Lie::Short => 0,
            Lie::Fail(errno) => -i64::from(errno),
            Lie::Elsewhere(by) => {
                request.offset += by;
                // SAFETY: as above, at another offset.
                return unsafe { self.inner.submit(&[request]) };
            }
            Lie::Flip => {
                self.flip = Some((u64::from(request.slot), request.start));
                // SAFETY: as above.
                return unsafe { self.inner.submit(&[request]) };
            }
        };
        self.events.push(Event { slot: u64::from(request.slot), result });
        Ok(1)
    }
    fn flush(&mut self) -> std::result::Result<(), Errno> {
        self.inner.flush()
    }
    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        let own = self.events.len();
        events.append(&mut self.events);
        self.inner.reap(min.saturating_sub(own), events)?;
        if let Some((slot, start)) = self.flip
            && events.iter().any(|event| event.slot == slot)
        {
            self.flip = None;
            // SAFETY: the request is complete, and its buffer is the queue's until it is given back.
            unsafe { *start.wrapping_add(700) ^= 4 };
        }
        Ok(())
    }
}

/// Lies about write or read number `at` of a run of the stages.
fn lied_to(options: &Options, stages: &[Stage], write: bool, at: u64, lie: Lie) -> Outcome {
    let options = Options { stages: stages.to_vec(), ..options.clone() };
    let seen: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
    let open = |depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
        let inner = options.engine.open(depth)?;
        Ok(Box::new(Liar { inner, seen, at, write, lie, flip: None, events: Vec::new() }))
    };
    run_with(&open, &options, |_| {})
}

#[test]
fn a_lost_write_is_seen_by_a_read_and_by_the_verification() {
    for place in workplaces() {
        for threads in [1, 2] {
            let options = Options { threads: size(threads), ..options(place.path(), 2) };
            let outcome = lied_to(&options, &[Stage::Write, Stage::Read], true, 7, Lie::Nothing);
            let range = &outcome.finding.unwrap().ranges[0];
            assert_eq!((outcome.failed_stage, range.kind, range.bytes), (Some(Stage::Read), Bad::Zeros, 16 << 10));

            // The last write of all, one at a time: nothing overwrites it, and nothing was in flight beside it.
            let options = Options { depth: size(1), ..options };
            let outcome = lied_to(&options, &[Stage::Write, Stage::RandomWrite], true, 160, Lie::Nothing);
            assert!(outcome.error.is_none() && outcome.finding.is_none());
            let bad = |level| {
                let findings =
                    options.files.iter().zip(&outcome.oracles).map(|(path, oracle)| verify_expected(path, oracle, level, 4));
                findings.filter(|found| !found.is_good()).count()
            };
            assert_eq!((bad(Level::Cache), bad(Level::Disk)), (1, 1));
        }
    }
}

#[test]
fn a_misdirected_write_is_named() {
    for place in workplaces() {
        let options = options(place.path(), 1);
        let by = 4 * (16 << 10);
        // The last one of the stage, so that nothing writes over it.
        let outcome = lied_to(&options, &[Stage::Write], true, 40, Lie::Elsewhere(by));
        let found = verify_expected(&options.files[0], &outcome.oracles[0], Level::Disk, 8);
        let kinds: Vec<Bad> = found.ranges.iter().map(|range| range.kind).collect();
        assert!(kinds.contains(&Bad::Zeros) && kinds.contains(&Bad::BeyondEnd), "{found:?}");
    }
}

#[test]
fn completions_with_errors_and_too_few_bytes_end_the_run() {
    for place in workplaces() {
        let options = options(place.path(), 2);
        for write in [true, false] {
            let stages = [if write { Stage::RandomWrite } else { Stage::RandomRead }, Stage::Read];
            let outcome = lied_to(&options, &stages, write, 5, Lie::Fail(libc::EIO));
            let error = outcome.error.unwrap();
            assert_eq!((error.step, error.errno), (if write { Step::Write } else { Step::Read }, Some(Errno(libc::EIO))));
            assert_eq!((outcome.failed_stage, outcome.stages.len()), (Some(stages[0]), 1));
            let error = lied_to(&options, &stages, write, 5, Lie::Short).error.unwrap();
            assert_eq!((error.step, error.got), (if write { Step::ShortWrite } else { Step::ShortRead }, Some(0)));
        }
    }
}

#[test]
fn a_thread_that_fails_at_once_leaves_no_other_waiting() {
    let place = tempfile::tempdir().unwrap();
    let options = Options { record_bytes: size(4096), depth: size(1), turn: size(1), rounds: 1, ..options(place.path(), 16) };
    let options = Options { threads: size(16), engine: Kind::Sync, direct: false, fsync: false, ..options };
    // The others may not have begun the stage yet when the first write fails.
    for _ in 0..50 {
        let outcome = lied_to(&options, &Stage::ALL, true, 1, Lie::Fail(libc::EIO));
        assert_eq!((outcome.failed_stage, outcome.error.unwrap().errno), (Some(Stage::Write), Some(Errno(libc::EIO))));
    }
}

#[test]
fn a_read_that_returns_a_wrong_bit_is_seen() {
    for place in workplaces() {
        for stage in [Stage::Read, Stage::RandomRead] {
            let finding = lied_to(&options(place.path(), 1), &[stage], false, 5, Lie::Flip).finding.unwrap();
            let range = &finding.ranges[0];
            assert_eq!((range.kind, range.differing_bits, range.first_difference), (Bad::Mutated, 1, Some(finding.offset + 700)));
        }
    }
}

#[test]
fn a_read_that_left_the_memory_as_it_was_is_seen_although_the_right_data_were_there() {
    for place in workplaces() {
        // One record, and so one buffer for its write and its read.
        let record = 16 << 10;
        let options = Options { file_bytes: record, depth: size(1), ..options(place.path(), 1) };
        let outcome = lied_to(&options, &[Stage::Write, Stage::Read], false, 1, Lie::Nothing);
        let finding = outcome.finding.unwrap();
        assert_eq!((outcome.failed_stage, finding.offset), (Some(Stage::Read), 0));
        assert_eq!(finding.detail, format!("{} sectors read are not what was written", record / 512));
    }
}

#[test]
fn a_thread_that_panics_is_an_error_and_nobody_waits_for_it() {
    for place in workplaces() {
        let left = Arc::new(AtomicI64::new(5));
        let open = |depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
            Ok(Box::new(Panicking { inner: Kind::Libaio.open(depth)?, left: Arc::clone(&left) }))
        };
        let outcome = run_with(&open, &Options { threads: size(3), ..options(place.path(), 3) }, |_| {});
        let error = outcome.error.unwrap().message;
        assert_eq!(error, "A thread panicked, which is a mistake of the test's own: planted");
        assert!(outcome.finding.is_none(), "{:?}", outcome.finding);
    }
}

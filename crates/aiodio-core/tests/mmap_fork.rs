//! Direct writes from changing memory, on real files; and each thing that can be wrong with them, planted.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::num::NonZeroUsize;
use std::path::Path;

use aiodio_core::engine::{Engine, Kind, Op};
use aiodio_core::error::{Errno, Result, Step};
use aiodio_core::workload::mmap_fork::{self, KINDS, Options, Outcome, Source};
use aiodio_core::workload::shared::overlap::EXTRA_ROUNDS;
use aiodio_core::workload::shared::scribble::Writer;
use common::{ENGINES, Over, Tampering, size, workplaces};

const BLOCK: usize = 64 << 10;

fn options(place: &Path, engine: Kind, source: Source, writer: Writer) -> Options {
    Options {
        path: place.join("file"),
        mapped: place.join("mapped"),
        bytes: 4 * BLOCK,
        block_bytes: size(BLOCK),
        rounds: 4,
        engine,
        source,
        writer,
        offset_in_page: 0,
        seed: 11,
    }
}

fn assert_clean(outcome: &Outcome) {
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(outcome.findings.total, 0, "{:#?}", outcome.findings.first);
    // More than asked for only until something has met, which no test may demand of a device that is fast.
    let all = 4 + u64::from(EXTRA_ROUNDS);
    assert!([4, all].contains(&outcome.rounds) || outcome.overlaps > 0 && outcome.rounds > 4, "{outcome:?}");
    assert_eq!(outcome.stats.submitted, outcome.stats.completed);
}

#[test]
fn what_is_read_back_is_what_was_in_the_memory() {
    for place in workplaces() {
        for engine in ENGINES {
            for (source, writer) in [
                (Source::Shared, Writer::Fork),
                (Source::Shared, Writer::Thread),
                (Source::Private, Writer::Thread),
                (Source::File, Writer::Fork),
                (Source::TransparentHuge, Writer::Thread),
            ] {
                let outcome = mmap_fork::run(&options(place.path(), engine, source, writer));
                if (source, engine) == (Source::File, Kind::IoUringFixed) {
                    // The kernel does not pin a file's pages for long where the filesystem wants to know of each change.
                    assert!(outcome.error.is_none_or(|error| error.step == Step::Setup));
                    continue;
                }
                assert_clean(&outcome);
                assert!(outcome.overlaps <= outcome.rounds);
            }
        }
    }
}

#[test]
fn private_memory_survives_a_fork_during_the_transfer() {
    for place in workplaces() {
        for engine in [Kind::Libaio, Kind::IoUring] {
            let plain = options(place.path(), engine, Source::Private, Writer::Fork);
            // Long enough to be under way still when the fork is done.
            assert_clean(&mmap_fork::run(&Options { offset_in_page: 512, bytes: 16 * BLOCK, ..plain }));
        }
        let sync = mmap_fork::run(&options(place.path(), Kind::Sync, Source::Private, Writer::Fork));
        assert_eq!(sync.error.map(|error| error.step), Some(Step::Options));
    }
}

/// Runs with a lie in every engine.
fn tampered(source: Source, writer: Writer, tamper: impl Fn(Over<'_>) + Clone + 'static) -> Vec<Outcome> {
    let run = |place: tempfile::TempDir| {
        let options = options(place.path(), Kind::Libaio, source, writer);
        let open = |depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
            Ok(Box::new(Tampering::new(options.engine.open(depth)?, tamper.clone())))
        };
        mmap_fork::run_with(&options, &open)
    };
    workplaces().into_iter().map(run).collect()
}

fn assert_found(outcomes: &[Outcome], kind: &str) {
    assert!(KINDS.contains(&kind));
    for outcome in outcomes {
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert!(outcome.findings.first.iter().any(|finding| finding.kind == kind), "{:#?}", outcome.findings);
    }
}

#[test]
fn errors_and_short_transfers_are_told_apart() {
    for (write, result, kind) in [
        (true, -i64::from(libc::EIO), "write-error"),
        (true, 0, "short-write"),
        (false, -i64::from(libc::EIO), "read-error"),
        (false, 0, "short-read"),
    ] {
        let lie = move |over: Over<'_>| {
            if (over.request.op == Op::Write) == write && over.request.offset == BLOCK as u64 {
                *over.result = result;
            }
        };
        let outcomes = tampered(Source::Shared, Writer::Fork, lie);
        assert_found(&outcomes, kind);
        for outcome in outcomes {
            let finding = &outcome.findings.first[0];
            assert_eq!(
                (finding.round, finding.offset, finding.errno.map(|errno| errno.0)),
                (Some(1), BLOCK as u64, (result < 0).then_some(libc::EIO))
            );
        }
    }
}

#[test]
fn a_full_filesystem_is_an_error_and_no_finding() {
    for outcome in tampered(Source::Shared, Writer::Fork, |over| {
        if over.request.op == Op::Write {
            *over.result = -i64::from(libc::EDQUOT);
        }
    }) {
        assert_eq!(outcome.error.and_then(|error| error.errno), Some(Errno(libc::EDQUOT)));
        assert_eq!(outcome.findings.total, 0, "{:#?}", outcome.findings.first);
    }
}

#[test]
fn a_value_that_nobody_wrote_is_found_and_so_is_a_copy_that_differs() {
    let outcomes = tampered(Source::Shared, Writer::Fork, |mut over| {
        if over.request.op == Op::Read && over.request.offset == 0 {
            over.memory()[4096] ^= 1;
        }
    });
    assert_found(&outcomes, "foreign-value");
    assert_found(&outcomes, "copies-differ");
    assert_eq!(outcomes[0].findings.first[0].offset, 4096);
}

/// The writes of all rounds but the first go nowhere: the file keeps the first one's data.
#[test]
fn data_from_before_the_write_are_found() {
    for place in workplaces() {
        let options = options(place.path(), Kind::Sync, Source::Shared, Writer::Fork);
        let open = |depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
            let lost = LostWrites { inner: Kind::Sync.open(depth)?, writes: 0, done: Vec::new() };
            Ok(Box::new(lost))
        };
        assert_found(&[mmap_fork::run_with(&options, &open)], "foreign-value");
    }
}

/// Waits until the writer has gone over this memory a few times more, so that what was there before is too old.
fn wait_for_passes(request: &aiodio_core::engine::Request) {
    // Of the first word, the lowest byte of the pass that it was written in.
    let pass = || {
        // SAFETY: inside the request's memory; volatile, since the child writes there.
        unsafe { request.start.wrapping_add(4).read_volatile() }
    };
    let first = pass();
    while pass().wrapping_sub(first) < 3 {
        std::thread::yield_now();
    }
}

struct LostWrites {
    inner: Box<dyn Engine>,
    writes: u64,
    done: Vec<aiodio_core::engine::Event>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for LostWrites {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
    unsafe fn submit(
        &mut self,
        requests: &[aiodio_core::engine::Request],
    ) -> std::result::Result<usize, aiodio_core::error::Errno> {
        for request in requests {
            self.writes += u64::from(request.op == Op::Write);
            if request.op == Op::Write && self.writes > 4 {
                wait_for_passes(request);
                self.done.push(aiodio_core::engine::Event { slot: request.slot.into(), result: request.bytes as i64 });
            } else {
                // SAFETY: the caller's promise.
                unsafe { self.inner.submit(&[*request]) }?;
            }
        }
        Ok(requests.len())
    }
    fn reap(
        &mut self,
        min: usize,
        events: &mut Vec<aiodio_core::engine::Event>,
    ) -> std::result::Result<(), aiodio_core::error::Errno> {
        events.append(&mut self.done);
        self.inner.reap(min, events)
    }
}

#[test]
fn what_a_fork_loses_is_found() {
    let read = |mut over: Over<'_>| {
        if over.request.op == Op::Read {
            over.memory()[..512].fill(0x5a);
        }
    };
    let outcomes = tampered(Source::Private, Writer::Fork, read);
    assert_found(&outcomes, "lost-at-fork");
    assert_eq!(outcomes[0].findings.first[0].detail, "the memory is as it was before the read");
}

/// The child's memory is written to the file behind the engine's back, as if its pages had been taken.
#[test]
fn a_childs_data_in_the_file_is_found() {
    for place in workplaces() {
        let options = options(place.path(), Kind::Libaio, Source::Private, Writer::Fork);
        let path = options.path.clone();
        let open = |depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
            let path = path.clone();
            let tamper = move |over: Over<'_>| {
                if over.request.op == Op::Write && over.request.offset == BLOCK as u64 {
                    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                    std::os::unix::fs::FileExt::write_all_at(&file, &[0xc4; 4096], over.request.offset).unwrap();
                }
            };
            Ok(Box::new(Tampering::new(options.engine.open(depth)?, tamper)))
        };
        let outcome = mmap_fork::run_with(&options, &open);
        assert_found(std::slice::from_ref(&outcome), "child-data");
        let finding = &outcome.findings.first[0];
        assert_eq!((finding.offset, finding.detail.as_str()), (BLOCK as u64, "the child's bytes"));
    }
}

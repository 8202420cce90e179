//! Direct writes beside other uses of their pages, on real files; and each thing that can be wrong with them, planted.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::buffer::page_bytes;
use aiodio_core::engine::Kind;
use aiodio_core::error::Errno;
use aiodio_core::stamp::Key;
use aiodio_core::verify::{Level, verify_expected};
use aiodio_core::workload::copy::Fsync;
use aiodio_core::workload::invalidate::{self, Collider, KINDS, Options, Outcome};
use common::{ENGINES, Over, Tampering, size, workplaces};

const COLLIDERS: [Collider; 6] =
    [Collider::Direct, Collider::Buffered, Collider::Mmap, Collider::Reader, Collider::Pinned, Collider::SameRange];

fn options(place: &Path, engine: Kind, collider: Collider) -> Options {
    Options {
        path: place.join("file"),
        block_bytes: size(2 * page_bytes()),
        dio_offset_align: size(page_bytes()),
        dio_mem_align: size(page_bytes()),
        writes: size(4),
        rounds: 5,
        engine,
        collider,
        fsync: Fsync::Batch,
        offset_in_page: 0,
        strict: false,
        seed: 5,
    }
}

#[test]
fn whole_pages_never_collide_and_the_file_is_as_the_outcome_says() {
    for place in workplaces() {
        for engine in ENGINES {
            for collider in COLLIDERS {
                let options = options(place.path(), engine, collider);
                let outcome = invalidate::run(&options);
                assert!(outcome.error.is_none(), "{:?}", outcome.error);
                assert_eq!(outcome.findings.total, 0, "{collider:?}: {:#?}", outcome.findings.first);
                // More than asked for only until something has met, which no test may demand of a device that is fast.
                assert!(outcome.rounds >= 6 && outcome.writes == 4 * u64::from(outcome.rounds), "{outcome:?}");
                assert!(outcome.overlaps <= outcome.collisions && outcome.collisions > 0);
                // The same range is the same page; others have pages of their own.
                let shares = matches!(collider, Collider::SameRange | Collider::Reader | Collider::Pinned);
                assert!(shares || outcome.shared_pages == 0);
                for level in [Level::Cache, Level::Disk] {
                    let verified = verify_expected(&options.path, outcome.expected.as_ref().unwrap(), level, 4);
                    assert!(verified.is_good(), "{collider:?}: {verified:#?}");
                }
            }
        }
    }
}

#[test]
fn it_goes_on_until_something_has_met() {
    for place in workplaces() {
        let options = Options { rounds: 0, ..options(place.path(), Kind::Sync, Collider::SameRange) };
        let outcome = invalidate::run(&options);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert!(outcome.overlaps > 0, "{outcome:?}");
        assert_eq!(outcome.findings.total, 0, "{:#?}", outcome.findings.first);
    }
}

/// Runs with a lie in the engine.
fn tampered(options: &Options, tamper: impl FnMut(Over<'_>) + 'static) -> Outcome {
    let engine = options.engine.open(options.writes).unwrap();
    let outcome = invalidate::run_with(Box::new(Tampering::new(engine, tamper)), options);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome
}

fn assert_found(outcome: &Outcome, kind: &str) {
    assert!(KINDS.contains(&kind));
    assert!(outcome.findings.first.iter().any(|finding| finding.kind == kind), "{:#?}", outcome.findings);
}

#[test]
fn what_the_kernel_answers_is_found() {
    for place in workplaces() {
        let options = options(place.path(), Kind::Libaio, Collider::Buffered);
        let fails = tampered(&options, |over| *over.result = -i64::from(libc::EIO));
        assert_found(&fails, "write-error");
        assert_found(&tampered(&options, |over| *over.result = 0), "short-write");
    }
}

#[test]
fn a_full_filesystem_is_an_error_and_no_finding() {
    for place in workplaces() {
        let options = options(place.path(), Kind::Libaio, Collider::Buffered);
        let engine = options.engine.open(options.writes).unwrap();
        let full = Tampering::new(engine, |over| *over.result = -i64::from(libc::ENOSPC));
        let outcome = invalidate::run_with(Box::new(full), &options);
        assert_eq!(outcome.error.and_then(|error| error.errno), Some(Errno(libc::ENOSPC)));
        assert_eq!(outcome.findings.total, 0, "{:#?}", outcome.findings.first);
    }
}

/// Something else gets into a file behind the engine's back, once, in the second round.
fn overwritten(place: &Path, collider: Collider, strict: bool, at: u64) -> Outcome {
    let options = Options { strict, ..options(place, Kind::Libaio, collider) };
    let path = options.path.clone();
    tampered(&options, move |over| {
        if over.number == 7 {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[7; 512], at).unwrap();
        }
    })
}

#[test]
fn data_lost_without_a_word_are_found_wherever_they_were() {
    let page = page_bytes() as u64;
    for place in workplaces() {
        for collider in [Collider::Direct, Collider::Reader] {
            let outcome = overwritten(place.path(), collider, false, page);
            assert_found(&outcome, "direct-lost");
            let finding = outcome.findings.first.iter().find(|finding| finding.kind == "direct-lost").unwrap();
            assert_eq!((finding.round, finding.offset, finding.bytes), (Some(2), page, 512));
            assert!(finding.detail.ends_with("and fsync did not tell"), "{}", finding.detail);
            assert_eq!(outcome.announced, 0);
        }
        let outcome = overwritten(place.path(), Collider::Reader, true, 0);
        assert_found(&outcome, "buffered-lost");
    }
}

#[test]
fn writes_that_leave_the_data_from_before_the_first_round_are_found() {
    for place in workplaces() {
        for collider in [Collider::Reader, Collider::Pinned] {
            let options = Options { rounds: 1, ..options(place.path(), Kind::Libaio, collider) };
            let (path, key) = (options.path.clone(), Key { seed: options.seed, file: 1, generation: 0 });
            let outcome = tampered(&options, move |over| {
                let mut old = vec![0; over.request.bytes];
                key.fill(over.request.offset, &mut old);
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&old, over.request.offset).unwrap();
            });
            assert_found(&outcome, "direct-lost");
            let verified = verify_expected(&options.path, outcome.expected.as_ref().unwrap(), Level::Cache, 4);
            assert_eq!(verified.ranges_total, 4, "{collider:?}: {verified:#?}");
        }
    }
}

#[test]
fn a_reader_that_sees_what_was_never_there_is_found() {
    for place in workplaces() {
        let options = Options { rounds: 60, ..options(place.path(), Kind::Libaio, Collider::Reader) };
        let path = options.path.clone();
        let outcome = tampered(&options, move |_| {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            for at in 0..64 {
                file.write_all_at(&[7; 512], at * 512).unwrap();
            }
        });
        assert_found(&outcome, "reader-saw");
    }
}

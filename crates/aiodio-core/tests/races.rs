//! Reading back at once, and the further races, on real files; and each thing that can be wrong, planted.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::buffer::page_bytes;
use aiodio_core::engine::{Engine, Kind, Op};
use aiodio_core::error::Result;
use aiodio_core::verify::{Level, verify_expected};
use aiodio_core::workload::races::{self, TABLE};
use aiodio_core::workload::shared::finding::Findings;
use aiodio_core::workload::unwritten::{self, KINDS, Space};
use common::{Over, Tampering, size, workplaces};

fn unwritten_options(place: &Path, space: Space) -> unwritten::Options {
    unwritten::Options {
        path: place.join("file"),
        bytes: 64 * page_bytes() as u64,
        block_bytes: size(page_bytes()),
        depth: size(4),
        rounds: 3,
        engine: Kind::Libaio,
        space,
        seed: 3,
    }
}

#[test]
fn completed_writes_are_there_at_once_in_every_space() {
    for place in workplaces() {
        for space in [Space::Hole, Space::Allocated, Space::Punched, Space::Zeroed, Space::Extended] {
            let options = unwritten_options(place.path(), space);
            let outcome = unwritten::run(&options);
            if outcome.error.as_ref().and_then(|error| error.errno).is_some_and(|errno| errno.0 == libc::EOPNOTSUPP) {
                continue;
            }
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(outcome.findings.total, 0, "{space:?}: {:#?}", outcome.findings.first);
            assert_eq!((outcome.rounds, outcome.writes, outcome.reads), (3, 12, 36));
            for level in [Level::Cache, Level::Disk] {
                let verified = verify_expected(&options.path, outcome.expected.as_ref().unwrap(), level, 4);
                assert!(verified.is_good(), "{space:?}: {verified:#?}");
            }
        }
    }
}

fn assert_found(findings: &Findings, kind: &str) {
    assert!(findings.first.iter().any(|finding| finding.kind == kind), "{findings:#?}");
}

/// Changes the file behind the engine's back when the first write has completed.
fn after_the_first(space: Space, kind: &str, change: impl Fn(&std::fs::File, u64) + Clone + 'static) {
    assert!(KINDS.contains(&kind));
    for place in workplaces() {
        let options = unwritten_options(place.path(), space);
        let (path, change) = (options.path.clone(), change.clone());
        let engine = Tampering::new(options.engine.open(options.depth).unwrap(), move |over: Over<'_>| {
            if over.number == 0 {
                change(&std::fs::OpenOptions::new().write(true).open(&path).unwrap(), over.request.offset);
            }
        });
        let outcome = unwritten::run_with(Box::new(engine), &options);
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_found(&outcome.findings, kind);
    }
}

#[test]
fn zeros_other_data_changed_neighbours_and_lost_sizes_are_told_apart() {
    after_the_first(Space::Hole, "not-converted", |file, at| file.write_all_at(&[0; 512], at).unwrap());
    after_the_first(Space::Hole, "wrong-data", |file, at| file.write_all_at(&[9; 512], at).unwrap());
    after_the_first(Space::Hole, "short-read", |file, at| file.set_len(at).unwrap());
    after_the_first(Space::Extended, "size-lost", |file, _| file.set_len(0).unwrap());
    let block = page_bytes() as u64;
    after_the_first(Space::Hole, "neighbour", move |file, at| {
        for index in 1..=4 {
            file.write_all_at(&[9; 8], at.saturating_sub(index * block) + block / 2).unwrap();
        }
    });
}

#[test]
fn errors_and_short_writes_are_found() {
    for (result, kind) in [(-i64::from(libc::EIO), "write-error"), (0, "short-write")] {
        for place in workplaces() {
            let options = unwritten_options(place.path(), Space::Hole);
            let lie = move |over: Over<'_>| *over.result = result;
            let engine = Tampering::new(options.engine.open(options.depth).unwrap(), lie);
            assert_found(&unwritten::run_with(Box::new(engine), &options).findings, kind);
        }
    }
}

#[test]
fn a_full_filesystem_is_an_error_and_no_finding() {
    let full = |over: Over<'_>| *over.result = -i64::from(libc::ENOSPC);
    for place in workplaces() {
        let options = unwritten_options(place.path(), Space::Hole);
        let engine = Tampering::new(options.engine.open(options.depth).unwrap(), full);
        let unwritten = unwritten::run_with(Box::new(engine), &options);
        let options = race_options("eof-pieces", place.path());
        let open =
            |depth: NonZeroUsize| -> Result<Box<dyn Engine>> { Ok(Box::new(Tampering::new(options.engine.open(depth)?, full))) };
        let race = races::run_with(&options, &open);
        for (error, findings) in [(unwritten.error, unwritten.findings), (race.error, race.findings)] {
            assert_eq!(error.and_then(|error| error.errno).map(|errno| errno.0), Some(libc::ENOSPC));
            assert_eq!(findings.total, 0, "{:#?}", findings.first);
        }
    }
}

fn race_options(race: &str, place: &Path) -> races::Options {
    races::Options {
        race: race.to_owned(),
        path: place.join("file"),
        other: place.join("other"),
        dio_align: size(page_bytes()),
        rounds: 4,
        engine: Kind::Libaio,
        seed: 8,
    }
}

#[test]
fn every_race_is_run_and_nothing_is_wrong() {
    for place in workplaces() {
        for race in TABLE.iter().filter(|race| !race.on_request) {
            let outcome = races::run(&race_options(race.name, place.path()));
            assert!(outcome.error.is_none(), "{race:?}: {:?}", outcome.error);
            assert_eq!(outcome.findings.total, 0, "{race:?}: {:#?}", outcome.findings.first);
            // More than asked for where the two sides had not met.
            assert!(outcome.unsupported.is_some() || outcome.rounds >= 4, "{race:?}: {outcome:?}");
        }
    }
    let nothing = races::run(&race_options("nothing", Path::new("/nowhere")));
    assert!(nothing.error.is_some());
}

/// What each race that goes through an engine says when a file is changed as a write completes.
#[test]
fn what_each_race_looks_for_is_found() {
    type Change = fn(&std::fs::File, u64);
    let zeros: Change = |file, at| file.write_all_at(&[0; 512], at).unwrap();
    let shorter: Change = |file, at| file.set_len(at).unwrap();
    // What lies before the write or behind it, in the blocks that the race looks at.
    let first: Change = |file, _| file.write_all_at(&[0; 512], 0).unwrap();
    let behind: Change = |file, at| file.write_all_at(&[0; 512], at + page_bytes() as u64).unwrap();
    for (name, changed, kind, change) in [
        ("append-visible", "file", "size-lost", shorter),
        ("append-visible", "file", "early-size", zeros),
        ("append-fallocate", "file", "size-lost", shorter),
        ("append-fallocate", "file", "wrong-data", zeros),
        ("eof-pieces", "file", "piece-lost", zeros),
        ("reflink", "other", "source-changed", zeros),
        ("reflink", "file", "wrong-data", zeros),
        ("reflink", "file", "wrong-data", behind),
        ("stale-readahead", "file", "stale-cache", zeros),
        ("direct-toggle", "file", "wrong-data", zeros),
        ("read-past-end", "file", "read-past-end", shorter),
        ("truncate-up", "file", "truncated-away", zeros),
        ("truncate-up", "file", "size-lost", shorter),
        ("truncate-up", "file", "wrong-data", first),
    ] {
        for place in workplaces() {
            // The change comes with the write's completion, and the other side's call before it or after: both have their rounds.
            let options = races::Options { rounds: 64, ..race_options(name, place.path()) };
            let open = |depth: NonZeroUsize| -> Result<Box<dyn Engine>> {
                let path = place.path().join(changed);
                let tamper = move |over: Over<'_>| {
                    if over.request.op == Op::Write {
                        change(&std::fs::OpenOptions::new().write(true).open(&path).unwrap(), over.request.offset);
                    } else {
                        *over.result = over.request.bytes as i64;
                    }
                };
                Ok(Box::new(Tampering::new(options.engine.open(depth)?, tamper)))
            };
            let outcome = races::run_with(&options, &open);
            if name == "reflink" && outcome.unsupported.is_some() {
                continue;
            }
            assert!(outcome.error.is_none(), "{name}: {:?}", outcome.error);
            assert_found(&outcome.findings, kind);
        }
    }
}

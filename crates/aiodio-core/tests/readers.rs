//! Readers beside a writer: sound kernels pass, and each lie about the data is caught.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aiodio_core::engine::{Engine, Event, Kind, Request};
use aiodio_core::error::{Errno, Step};
use aiodio_core::stamp::{Key, STALE_DISK_FILE};
use aiodio_core::verify::{self, Level, verify_expected};
use aiodio_core::workload::readers::{Options, Outcome, ROUNDS_MAX, Scene, race, race_with};
use common::{ENGINES, KEY, size, workplaces};

const BLOCK: usize = 16 << 10;

fn options(place: &Path, scene: Scene) -> Options {
    Options {
        scene,
        path: place.join("file.bin"),
        block_bytes: size(BLOCK),
        depth: size(4),
        engine: Kind::Sync,
        readers: 3,
        read_bytes: size(4096),
        key: KEY,
        ltp_pattern: false,
        time_max: None,
    }
}

fn truncate_scene(place: &Path) -> Options {
    let scene = Scene::Truncate { appends: 6, rounds: 5, junk: place.join("junkfile") };
    Options { read_bytes: size(64 << 10), ..options(place, scene) }
}

fn overwrite_scene(place: &Path) -> Options {
    Options { readers: 1, read_bytes: size(64 << 10), ..options(place, Scene::Overwrite { bytes: 1 << 20, writers: 3 }) }
}

fn all_scenes(place: &Path) -> Vec<Options> {
    vec![
        options(place, Scene::Sparse { bytes: 60 * BLOCK as u64, start: 0 }),
        // The last block reaches beyond the size that the file was given.
        options(place, Scene::Sparse { bytes: (5 << 20) + 1000, start: BLOCK as u64 }),
        options(place, Scene::Append { appends: 50 }),
        truncate_scene(place),
        overwrite_scene(place),
    ]
}

fn kinds(outcome: &verify::Outcome) -> Vec<verify::Kind> {
    outcome.ranges.iter().map(|range| range.kind).collect()
}

/// That readers were beside a write is the scheduler's affair; that the work was done again until they were is not.
#[track_caller]
fn assert_raced(options: &Options, outcome: &Outcome) {
    assert!(outcome.error.is_none() && outcome.bad.is_none() && !outcome.late, "{options:#?}\n{outcome:#?}");
    let tally = outcome.tally;
    assert!(tally.overlapping >= options.readers as u64 || tally.rounds >= ROUNDS_MAX, "{tally:?}");
    assert!(tally.reads >= tally.overlapping && tally.reads > 0, "{tally:?}");
    for level in [Level::Cache, Level::Disk] {
        let found = verify_expected(&options.path, &outcome.oracle, level, 8);
        assert!(found.is_good(), "{options:#?}\n{found:#?}");
    }
}

#[test]
fn a_sound_kernel_passes_with_every_engine_and_the_file_is_as_the_oracle_says() {
    for place in workplaces() {
        for engine in ENGINES {
            for scene in all_scenes(place.path()) {
                let options = Options { engine, ..scene };
                assert_raced(&options, &race(&options));
            }
        }
    }
}

#[test]
fn zeros_instead_of_stamps_pass_too() {
    for place in workplaces() {
        for scene in all_scenes(place.path()) {
            let options = Options { ltp_pattern: true, ..scene };
            assert_raced(&options, &race(&options));
        }
    }
}

#[test]
fn work_that_is_over_at_once_is_done_again_until_readers_were_beside_it() {
    for place in workplaces() {
        let scene = Scene::Sparse { bytes: 2048, start: 0 };
        let options = Options { block_bytes: size(2048), depth: size(1), ..options(place.path(), scene) };
        let outcome = race(&options);
        assert_raced(&options, &outcome);
        assert_eq!(outcome.tally.writes, u64::from(outcome.tally.rounds));
    }
}

#[test]
fn nobody_reading_is_seen_in_the_count() {
    let place = tempfile::tempdir().unwrap();
    let outcome = race(&Options { readers: 0, ..options(place.path(), Scene::Append { appends: 9 }) });
    assert!(outcome.error.is_none(), "{outcome:?}");
    assert_eq!((outcome.tally.writes, outcome.tally.overlapping), (9, 0));
}

#[test]
fn nothing_to_write_is_no_error() {
    let place = tempfile::tempdir().unwrap();
    let options = options(place.path(), Scene::Sparse { bytes: 2048, start: 4096 });
    let outcome = race(&options);
    assert!(outcome.error.is_none() && outcome.bad.is_none(), "{outcome:?}");
    assert_eq!(outcome.tally.writes, 0);
    assert!(verify_expected(&options.path, &outcome.oracle, Level::Cache, 1).is_good());
}

#[test]
fn more_time_than_allowed_is_not_taken() {
    let place = tempfile::tempdir().unwrap();
    for scene in all_scenes(place.path()) {
        let options = Options { time_max: Some(std::time::Duration::ZERO), ..scene };
        let outcome = race(&options);
        assert!(outcome.error.is_none() && outcome.late, "{outcome:?}");
        assert_eq!(outcome.tally.writes, 0);
        assert!(verify_expected(&options.path, &outcome.oracle, Level::Cache, 1).is_good());
    }
}

/// What becomes of the write with that number: its result, or none to have it made in earnest.
type Plant = Box<dyn FnMut(u64, &Request) -> Option<i64>>;

/// `pwrite(2)`, except where a fault is planted.
struct Planted {
    plant: Plant,
    requests: u64,
    done: Vec<Event>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Planted {
    fn capacity(&self) -> usize {
        1
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> Result<usize, Errno> {
        let request = &requests[0];
        let result = (self.plant)(self.requests, request).unwrap_or_else(|| {
            // SAFETY: the caller vouches for the memory.
            unsafe { libc::pwrite64(request.fd, request.start.cast(), request.bytes, request.offset as i64) as i64 }
        });
        self.requests += 1;
        self.done.push(Event { slot: u64::from(request.slot), result });
        Ok(1)
    }

    fn reap(&mut self, _min: usize, events: &mut Vec<Event>) -> Result<(), Errno> {
        events.append(&mut self.done);
        Ok(())
    }
}

fn planted(options: &Options, plant: impl FnMut(u64, &Request) -> Option<i64> + 'static) -> Outcome {
    race_with(Box::new(Planted { plant: Box::new(plant), requests: 0, done: Vec::new() }), options)
}

/// Writes other data than the request's, aligned as direct I/O needs.
fn write_instead(request: &Request, key: Key) -> i64 {
    let mut memory = vec![0; request.bytes + 4096];
    let start = memory.as_ptr().align_offset(4096);
    key.fill(request.offset, &mut memory[start..start + request.bytes]);
    // SAFETY: memory of that length.
    unsafe { libc::pwrite64(request.fd, memory[start..].as_ptr().cast(), request.bytes, request.offset as i64) as i64 }
}

/// What a fault shows: to a reader, or else to the verification of the file.
#[track_caller]
fn found(options: &Options, outcome: &Outcome) -> Vec<verify::Kind> {
    assert!(outcome.error.is_none(), "{outcome:#?}");
    match &outcome.bad {
        Some(bad) => kinds(&bad.found),
        None => kinds(&verify_expected(&options.path, &outcome.oracle, Level::Disk, 8)),
    }
}

#[test]
fn wrong_data_are_seen_and_named() {
    for place in workplaces() {
        let foreign = [
            (Key { file: STALE_DISK_FILE, ..KEY }, verify::Kind::StaleDisk),
            (Key { file: KEY.file + 1, ..KEY }, verify::Kind::OtherFile),
            (Key { seed: 1, ..KEY }, verify::Kind::OtherRun),
            (Key { generation: KEY.generation - 1, ..KEY }, verify::Kind::Stale),
        ];
        for scene in [Scene::Sparse { bytes: 4 << 20, start: 0 }, Scene::Append { appends: 100 }] {
            let options = options(place.path(), scene);
            for (key, kind) in foreign {
                let outcome = planted(&options, move |number, request| (number == 2).then(|| write_instead(request, key)));
                assert_eq!(found(&options, &outcome)[0], kind, "{outcome:#?}");
            }
        }
    }
}

#[test]
fn a_lost_write_is_seen_by_readers_and_by_the_verification() {
    for place in workplaces() {
        let sparse = options(place.path(), Scene::Sparse { bytes: 4 << 20, start: 0 });
        // Of one alone it would be chance whether a reader comes by once it has completed.
        let outcome = planted(&sparse, |number, request| (number % 2 == 0).then_some(request.bytes as i64));
        assert!(outcome.error.is_none(), "{outcome:?}");
        let bad = outcome.bad.expect("a reader sees it");
        assert_eq!(kinds(&bad.found)[0], verify::Kind::Zeros);
        let found = kinds(&verify_expected(&sparse.path, &outcome.oracle, Level::Disk, 8));
        // As many as were lost before the reader ended the race.
        assert!(!found.is_empty() && found.iter().all(|kind| *kind == verify::Kind::Zeros), "{found:?}");

        // Nobody reads, as if nobody had looked there in time.
        let lost = |number, request: &Request| (number == 0).then_some(request.bytes as i64);
        let unseen = Options { readers: 0, ..sparse };
        let outcome = planted(&unseen, lost);
        let found = verify_expected(&unseen.path, &outcome.oracle, Level::Disk, 8);
        assert_eq!((kinds(&found), found.ranges[0].bytes), (vec![verify::Kind::Zeros], BLOCK as u64));

        // LTP's pattern hides it.
        let blind = Options { ltp_pattern: true, ..unseen };
        let outcome = planted(&blind, lost);
        assert!(verify_expected(&blind.path, &outcome.oracle, Level::Disk, 8).is_good());
    }
}

#[test]
fn data_of_an_earlier_round_and_of_the_other_file_are_seen() {
    for place in workplaces() {
        let options = truncate_scene(place.path());
        // Requests 0 to 5 are the first round's, 6 to 11 the other file's, 12 is the second round's first.
        let keys = [
            (Key { ..KEY }, verify::Kind::Stale),
            (Key { file: KEY.file + 1, generation: KEY.generation, ..KEY }, verify::Kind::OtherFile),
        ];
        for (key, kind) in keys {
            // Every later write to the file, so that a reader meets one.
            let outcome =
                planted(&options, move |number, request| (number >= 12 && request.file == 0).then(|| write_instead(request, key)));
            let bad = outcome.bad.expect("a reader sees it");
            assert_eq!(kinds(&bad.found)[0], kind);
        }
    }
}

#[test]
fn failed_and_short_writes_are_errors_and_what_else_was_written_is_known() {
    for place in workplaces() {
        let options = options(place.path(), Scene::Append { appends: 20 });
        let outcome = planted(&options, |number, _| (number == 19).then_some(-i64::from(libc::EIO)));
        let error = outcome.error.expect("the last write failed");
        assert_eq!((error.step, error.errno, error.offset), (Step::Write, Some(Errno(libc::EIO)), Some(19 * BLOCK as u64)));
        assert!(outcome.bad.is_none(), "{:?}", outcome.bad);
        assert!(verify_expected(&options.path, &outcome.oracle, Level::Disk, 8).is_good());

        let outcome = planted(&options, |number, _| (number >= 7).then_some(0));
        let error = outcome.error.expect("a write was short");
        assert_eq!((error.step, error.expected, error.got), (Step::ShortWrite, Some(BLOCK as u64), Some(0)));
    }
}

#[test]
fn a_wrong_size_after_appending_is_seen() {
    for place in workplaces() {
        let options = options(place.path(), Scene::Append { appends: 20 });
        for (wrong, kind) in [(-512, verify::Kind::Missing), (512, verify::Kind::BeyondEnd)] {
            let outcome = planted(&options, move |number, request| {
                // SAFETY: the request's memory is the engine's for now.
                let written = unsafe { libc::pwrite64(request.fd, request.start.cast(), request.bytes, request.offset as i64) };
                if number == 19 {
                    let size = (request.offset + request.bytes as u64) as i64 + wrong;
                    // SAFETY: a descriptor that is open during the call.
                    unsafe { libc::ftruncate64(request.fd, size) };
                }
                Some(written as i64)
            });
            match &outcome.bad {
                // A reader was quick enough.
                Some(bad) => assert!(bad.size_min.is_some(), "{bad:?}"),
                None => assert_eq!(kinds(&verify_expected(&options.path, &outcome.oracle, Level::Disk, 8)), [kind]),
            }
        }
    }
}

#[test]
fn a_bad_last_block_is_read_while_others_write() {
    for place in workplaces() {
        let bytes = 8_u64 << 20;
        let scene = Scene::Overwrite { bytes, writers: 4 };
        let options = Options { readers: 1, read_bytes: size(512 << 10), ..options(place.path(), scene) };
        let over = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&options.path)
                        && file.metadata().unwrap().len() == bytes
                    {
                        file.write_all_at(&[0xee; 512], bytes - 512).unwrap();
                    }
                    std::thread::yield_now();
                }
            });
            let outcome = race(&options);
            over.store(true, Ordering::Relaxed);
            outcome
        });
        assert!(outcome.error.is_none(), "{outcome:?}");
        let bad = outcome.bad.expect("the reader sees it");
        assert!(bad.direct);
        assert_eq!((kinds(&bad.found), bad.found.ranges[0].offset), (vec![verify::Kind::Garbage], bytes - 512));
    }
}

#[test]
fn what_cannot_be_begun_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("missing");
    for scene in all_scenes(&missing) {
        assert_eq!(race(&scene).error.unwrap().step, Step::Open);
    }
    let misaligned = Options { block_bytes: size(300), ..options(place.path(), Scene::Append { appends: 3 }) };
    let error = race(&misaligned).error.unwrap();
    assert_eq!((error.step, error.errno), (Step::Write, Some(Errno(libc::EINVAL))));
}

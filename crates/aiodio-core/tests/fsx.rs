//! Random operations against their model, on real filesystems: no false alarm whatever the seed, and each kind of fault is found by
//! the check that is there for it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::engine::{self, Engine, Event, Request};
use aiodio_core::error::{Errno, Result, Step};
use aiodio_core::verify::{Kind as Bad, Level, verify_expected};
use aiodio_core::workload::fsx::{Kind, Log, Operation, Options, Outcome, run, run_with};
use common::{ENGINES, size, workplaces};
use proptest::prelude::*;

fn options(place: &Path, seed: u64) -> Options {
    Options {
        path: place.join("file"),
        seed,
        operations: 150,
        size_max: 200_000,
        bytes_max: u64::MAX,
        read_align: 1,
        write_align: 1,
        truncate_align: 1,
        kinds: Kind::ALL.to_vec(),
        engine: engine::Kind::Sync,
        direct: false,
        dio_offset_align: size(4096),
        replay: None,
        ranges_max: 8,
    }
}

fn assert_sound(outcome: &Outcome, options: &Options) {
    assert!(outcome.error.is_none() && outcome.finding.is_none(), "{outcome:?}");
    for level in [Level::Cache, Level::Disk] {
        let found = verify_expected(&options.path, &outcome.origins, level, 4);
        assert!(found.is_good(), "{level:?} {found:?} after {}", outcome.log.text());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_model_is_the_file(
        seed: u64, direct: bool, engine in prop::sample::select(ENGINES.to_vec()), size_max in 5000_u64..400_000,
        bytes_max in prop_oneof![Just(u64::MAX), 1000..20_000_u64],
        read_align in prop_oneof![Just(1_u64), 1..9000_u64], write_align in prop_oneof![Just(1_u64), 1..9000_u64],
        truncate_align in prop_oneof![Just(1_u64), 1..9000_u64],
    ) {
        for place in workplaces() {
            let options = Options {
                direct, engine, size_max, bytes_max, read_align, write_align, truncate_align, ..options(place.path(), seed)
            };
            let outcome = run(&options, |_| {});
            prop_assert_eq!(outcome.log.operations.len(), 150);
            assert_sound(&outcome, &options);
        }
    }
}

#[test]
fn a_log_repeats_the_operations_and_the_data() {
    for place in workplaces() {
        let options = options(place.path(), 99);
        let first = run(&options, |_| {});
        assert_sound(&first, &options);
        let content = std::fs::read(&options.path).unwrap();
        let path = place.path().join("log");
        first.log.write(&path).unwrap();
        let replay = Options { replay: Some(Log::read(&path).unwrap()), seed: 1, operations: 1, ..options.clone() };
        let second = run(&replay, |_| {});
        assert_sound(&second, &replay);
        assert_eq!(second.log, first.log);
        assert_eq!(std::fs::read(&options.path).unwrap(), content);
        // The same seed chooses the same again, and another does not.
        assert_eq!(run(&options, |_| {}).log, first.log);
        assert_ne!(run(&Options { seed: 100, ..options.clone() }, |_| {}).log, first.log);
    }
}

#[test]
fn every_kind_that_the_filesystem_has_is_done() {
    for place in workplaces() {
        let options = Options { operations: 600, ..options(place.path(), 5) };
        let outcome = run(&options, |_| {});
        assert_sound(&outcome, &options);
        for kind in Kind::ALL {
            let done = outcome.log.operations.iter().any(|operation| operation.kind == kind);
            assert_eq!(done, !outcome.unsupported.contains(&kind), "{kind:?}");
        }
        assert!(Kind::LTP.iter().all(|kind| !outcome.unsupported.contains(kind)));
        let synced_beside = |operation: &&Operation| operation.kind == Kind::MapWrite && operation.flag;
        let map_writes = outcome.log.operations.iter().filter(|operation| operation.kind == Kind::MapWrite).count();
        let beside = outcome.log.operations.iter().filter(synced_beside).count();
        assert!(beside > 0 && beside < map_writes);
    }
}

/// Runs a log; before the last operation `tamper` is called with the file's path.
fn tampered(place: &Path, log: &str, tamper: impl Fn(&Path)) -> Outcome {
    let log = Log::parse(&format!("fsx-linux seed 0x5eed\n{log}")).unwrap();
    let last = log.operations.len() as u64;
    let options = Options { replay: Some(log), ..options(place, 0) };
    let engine = engine::Kind::Sync.open(NonZeroUsize::MIN).unwrap();
    let path = options.path.clone();
    run_with(engine, &options, &mut |number, _| {
        if number + 1 == last {
            tamper(&path);
        }
    })
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_flipped_bit_is_seen_by_a_read_and_by_a_mapping() {
    for place in workplaces() {
        for (operation, kind) in [("read 0x800 0x3000", "read"), ("mapread 0x1000 0x2000", "mapping")] {
            let log = format!("write 0 20000\nwrite 0x10 0x20\nmapwrite 0x1000 0x1800\n{operation}");
            assert!(tampered(place.path(), &log, |_| {}).finding.is_none());
            let outcome = tampered(place.path(), &log, |path| flip(path, 0x1234));
            let finding = outcome.finding.unwrap();
            assert_eq!(finding.kind, kind);
            assert_eq!((finding.ranges_total, finding.ranges[0].kind), (1, Bad::Mutated));
            assert_eq!(finding.ranges[0].first_difference, Some(0x1234));
            // The write of 32 bytes elsewhere does not belong to its history.
            let numbers: Vec<u64> = outcome.history.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [1, 3, 4]);
        }
    }
}

/// Stores at byte 1000 of the file's first page.
fn store_behind_end(file: &std::fs::File) {
    let bytes = aiodio_core::buffer::page_bytes();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let map = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(map, libc::MAP_FAILED);
    // SAFETY: within the page that was mapped.
    unsafe { map.cast::<u8>().wrapping_add(1000).write_volatile(7) };
    // SAFETY: nothing refers to it any more.
    assert_eq!(unsafe { libc::munmap(map, bytes) }, 0);
}

#[test]
fn bytes_behind_the_end_are_seen_through_a_mapping() {
    for place in workplaces() {
        // ext4 writes a file back that was emptied and is closed again, and clears what is behind its end then.
        let open = std::cell::RefCell::new(Vec::new());
        // A store behind the end of the file, through another mapping, is what must not become part of it; a read never shows it.
        let store = |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
            store_behind_end(&file);
            open.borrow_mut().push(file);
        };
        assert!(tampered(place.path(), "write 0 1000\nread 0 1000", store).finding.is_none());
        let finding = tampered(place.path(), "write 0 1000\nmapread 0 1000", store).finding.unwrap();
        assert_eq!(finding.kind, "behind-end");
        assert_eq!(finding.ranges[0].first_difference, Some(1000));
    }
}

#[test]
fn a_wrong_size_is_seen_after_any_operation() {
    for place in workplaces() {
        let resize = |bytes: u64| move |path: &Path| OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
        for (last, bytes, expected, found) in [
            ("punch 0 4096", 20_001, 20_000, 20_001),
            ("write 0 100", 10_000, 20_000, 10_000),
            // A read notices by itself.
            ("read 0 20000", 10_000, 20_000, 10_000),
        ] {
            let outcome = tampered(place.path(), &format!("write 0 20000\n{last}"), resize(bytes));
            let finding = outcome.finding.unwrap();
            assert_eq!(finding.kind, "size");
            assert_eq!((finding.least, finding.most, finding.got), (Some(expected), Some(expected), Some(found)));
            assert!(!outcome.history.is_empty());
        }
    }
}

#[test]
fn old_data_are_named_by_the_operation_that_wrote_them() {
    for place in workplaces() {
        let old = std::cell::RefCell::new(Vec::new());
        let log = Log::parse("fsx-linux seed 7\nwrite 0 8192\nwrite 0 8192\nread 0 8192").unwrap();
        let options = Options { replay: Some(log), ..options(place.path(), 0) };
        let engine = engine::Kind::Sync.open(NonZeroUsize::MIN).unwrap();
        let path = options.path.clone();
        let outcome = run_with(engine, &options, &mut |number, _| match number {
            1 => *old.borrow_mut() = std::fs::read(&path).unwrap()[4096..4608].to_vec(),
            2 => OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&old.borrow(), 4096).unwrap(),
            _ => {}
        });
        let range = &outcome.finding.unwrap().ranges[0];
        assert_eq!((range.kind, range.offset, range.bytes, range.generation), (Bad::Stale, 4096, 512, Some(1)));
    }
}

#[test]
fn data_that_a_collapse_has_moved_are_checked_in_their_new_place() {
    for place in workplaces() {
        // Behind the collapse's end, whole sectors: what is wrong there is named, not guessed.
        let log = "write 0 0x10000\ncopy 0x8000 0x2000 to 0x1000\nread 0 0x10000";
        let outcome = tampered(place.path(), log, |path| {
            let data = std::fs::read(path).unwrap()[0x8000..0x8200].to_vec();
            OpenOptions::new().write(true).open(path).unwrap().write_all_at(&data, 0x1200).unwrap();
        });
        let range = outcome.finding.unwrap().ranges[0].clone();
        assert_eq!((range.kind, range.offset, range.from_offset), (Bad::Misplaced, 0x1200, Some(0x8000)));
    }
}

/// Does something else than it is asked for, with the request of this number.
struct Liar {
    inner: Box<dyn Engine>,
    requests: u64,
    at: u64,
    lie: Lie,
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Says that it is done.
    Nothing,
    /// Does it somewhere else.
    Elsewhere(u64),
    Fail(i32),
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Liar {
    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        let mut request = requests[0];
        self.requests += 1;
        if self.requests == self.at {
            let result = match self.lie {
                Lie::Nothing => request.bytes as i64,
                Lie::Fail(errno) => -i64::from(errno),
                Lie::Elsewhere(offset) => {
                    request.offset = offset;
                    // SAFETY: the caller's request at another offset.
                    return unsafe { self.inner.submit(&[request]) };
                }
            };
            self.events.push(Event { slot: u64::from(request.slot), result });
            return Ok(1);
        }
        // SAFETY: as the caller vouches for.
        unsafe { self.inner.submit(&[request]) }
    }
    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        if self.events.is_empty() {
            return self.inner.reap(min, events);
        }
        events.append(&mut self.events);
        Ok(())
    }
    fn register(&mut self, files: &[std::os::fd::RawFd], memory: &[aiodio_core::buffer::Registration]) -> Result<()> {
        self.inner.register(files, memory)
    }
}

fn lied_to(place: &Path, log: &str, at: u64, lie: Lie) -> Outcome {
    let log = Log::parse(&format!("fsx-linux seed 0x5eed\n{log}")).unwrap();
    let options = Options { replay: Some(log), ..options(place, 0) };
    let inner = engine::Kind::Libaio.open(NonZeroUsize::MIN).unwrap();
    run_with(Box::new(Liar { inner, requests: 0, at, lie, events: Vec::new() }), &options, &mut |_, _| {})
}

#[test]
fn a_lost_and_a_misdirected_write_are_seen_by_the_next_read_and_by_the_verification() {
    const WRITES: &str = "write 0 0x8000\nwrite 0x1000 0x1000";
    for place in workplaces() {
        for (lie, kind) in [(Lie::Nothing, Bad::Stale), (Lie::Elsewhere(0x4000), Bad::Stale)] {
            let found = lied_to(place.path(), &format!("{WRITES}\nread 0 0x8000"), 2, lie).finding.unwrap();
            assert_eq!((found.ranges[0].kind, found.ranges[0].offset, found.ranges[0].bytes), (kind, 0x1000, 0x1000));
            assert_eq!(found.ranges[0].generation, Some(1));
            if let Lie::Elsewhere(offset) = lie {
                let range = &found.ranges[1];
                assert_eq!((range.kind, range.offset, range.from_offset), (Bad::Misplaced, offset, Some(0x1000)));
            }
            // Without a read, at the end.
            let outcome = lied_to(place.path(), WRITES, 2, lie);
            assert!(outcome.error.is_none() && outcome.finding.is_none());
            let path = place.path().join("file");
            for level in [Level::Cache, Level::Disk] {
                let found = verify_expected(&path, &outcome.origins, level, 4);
                assert_eq!((found.ranges[0].kind, found.ranges[0].offset), (kind, 0x1000), "{level:?}");
            }
        }
    }
}

#[test]
fn a_read_that_left_the_memory_as_it_was_is_seen_although_the_right_data_were_there() {
    for place in workplaces() {
        for log in ["write 0 0x8000\nread 0 0x8000", "write 0 0x8001\nread 0x8000 1", "truncate 0x100\nread 0 0x100"] {
            let at = if log.starts_with("write") { 2 } else { 1 };
            let finding = lied_to(place.path(), log, at, Lie::Nothing).finding.expect(log);
            assert_eq!(finding.kind, "read");
        }
    }
}

#[test]
fn operations_of_which_none_can_be_done_are_refused() {
    for place in workplaces() {
        for kinds in [vec![Kind::Read, Kind::Punch], vec![Kind::Allocate]] {
            // One byte is allocated, and then the file is as long as it may be.
            let options = Options { kinds, size_max: 1, ..options(place.path(), 1) };
            let error = run(&options, |_| {}).error.unwrap();
            assert_eq!(error.step, Step::Options);
            assert!(error.message.starts_with("None of the operations can be done"), "{error}");
        }
    }
}

#[test]
fn a_write_that_completes_with_an_error_ends_the_run() {
    for place in workplaces() {
        let outcome = lied_to(place.path(), "write 0 100\nwrite 50 100\nread 0 100", 2, Lie::Fail(libc::EIO));
        let error = outcome.error.unwrap();
        assert_eq!((error.step, error.errno, error.offset), (Step::Write, Some(Errno(libc::EIO)), Some(50)));
        assert_eq!(outcome.log.operations.len(), 2);
    }
}

#[test]
fn a_log_that_cannot_be_done_is_refused() {
    for place in workplaces() {
        for (log, number) in [
            ("write 0 100\nmapread 0 200", 2),
            ("collapse 0 4096", 1),
            ("write 0 8192\ninsert 8192 4096", 2),
            ("write 0 8192\ncopy 0 4096 to 100", 2),
            ("truncate 0x3fffffffffffffff", 1),
        ] {
            let outcome = tampered(place.path(), log, |_| {});
            let error = outcome.error.unwrap();
            assert_eq!(error.step, Step::Options);
            assert!(error.message.contains(&format!("Operation {number} of the log")), "{error}");
        }
        let error = run(&Options { size_max: 1 << 40, ..options(place.path(), 0) }, |_| {}).error.unwrap();
        assert_eq!(error.step, Step::Options);
    }
}

#[test]
fn a_page_that_cannot_be_faulted_in_is_an_error_and_no_signal() {
    for place in workplaces() {
        let shorten = |path: &Path| OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
        let outcome = tampered(place.path(), "write 0 20000\nmapread 0x1000 0x2000", shorten);
        assert_eq!(outcome.error.unwrap().errno, Some(Errno(libc::EFAULT)));
    }
}

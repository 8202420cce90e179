//! The workloads of LTP's direct I/O and simple AIO programs, on sound filesystems and over an engine that lies.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::buffer::page_bytes;
use aiodio_core::engine::{Engine, Event, Kind, Op, Request, SyncEngine};
use aiodio_core::error::{Errno, Step};
use aiodio_core::stamp::Key;
use aiodio_core::verify::{self, Level};
use aiodio_core::workload::aio_rounds::{self, Round};
use aiodio_core::workload::fill::fill;
use aiodio_core::workload::shared::dirty::has_room;
use aiodio_core::workload::shared::finding::Finding;
use aiodio_core::workload::shared::pattern::Pattern;
use aiodio_core::workload::{dio_limits, fork_dma, segments};
use common::{KEY, size, workplaces};

fn assert_holds(path: &Path, offset: u64, bytes: u64, generation: u32) {
    for level in [Level::Cache, Level::Disk] {
        let key = Key { generation, ..KEY };
        let outcome = verify::verify(&verify::Options { path: path.to_owned(), offset, bytes, key, level, ranges_max: 4 });
        assert!(outcome.is_good(), "{level:?}: {outcome:?}");
    }
}

fn wrong(found: &Finding) -> verify::Kind {
    assert_eq!(found.kind, "wrong-data", "{found:?}");
    found.ranges[0].kind
}

fn segments_of(place: &Path) -> segments::Options {
    segments::Options {
        path: place.join("file"),
        offset: 64 << 10,
        buffer_bytes: size(4096),
        buffers: size(3),
        vectored: true,
        iterations: 20,
        children: size(6),
        direct_write: true,
        direct_read: true,
        sync_before_direct_read: true,
        key: Key { generation: 100, ..KEY },
        ltp_pattern: false,
    }
}

#[test]
fn segments_end_with_the_last_iteration_of_every_child() {
    for place in workplaces() {
        for (vectored, direct_write, direct_read) in [(true, true, false), (false, false, true), (true, true, true)] {
            let options = segments::Options { vectored, direct_write, direct_read, ..segments_of(place.path()) };
            let outcome = segments::run(&options, |_| ());
            assert!(outcome.error.is_none() && outcome.findings.is_empty(), "{outcome:?}");
            assert_eq!(outcome.transfers, 6 * 20 * 2);
            assert!(outcome.overlapping > 0 && outcome.overlapping < outcome.transfers, "{outcome:?}");
            assert_holds(&options.path, options.offset, options.end().unwrap(), 120);
        }
    }
}

#[test]
fn a_lone_child_overlaps_nothing() {
    let place = tempfile::tempdir().unwrap();
    let options = segments::Options { children: size(1), direct_write: false, direct_read: false, ..segments_of(place.path()) };
    let outcome = segments::run(&options, |_| ());
    assert_eq!((outcome.transfers, outcome.overlapping), (40, 0));
}

#[test]
fn children_take_turns_where_the_memory_does_not_suffice_for_all() {
    let place = tempfile::tempdir().unwrap();
    let options = segments::Options {
        buffer_bytes: size(segments::MEMORY_BYTES as usize / 2),
        buffers: size(1),
        iterations: 2,
        children: size(3),
        direct_write: false,
        direct_read: false,
        ..segments_of(place.path())
    };
    let outcome = segments::run(&options, |_| ());
    assert!(outcome.error.is_none() && outcome.findings.is_empty(), "{outcome:?}");
    assert_eq!((outcome.at_once, outcome.transfers), (2, 3 * 2 * 2));
    assert_holds(&options.path, options.offset, options.end().unwrap(), 102);
    let few = segments::run(&segments_of(place.path()), |_| ());
    assert_eq!(few.at_once, 6);
}

#[test]
fn segments_that_cannot_be_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let good = segments_of(place.path());
    for options in [
        segments::Options { offset: 100, ..good.clone() },
        segments::Options { buffer_bytes: size(1000), ..good.clone() },
        segments::Options { offset: u64::MAX / 512 * 512, ..good.clone() },
        segments::Options { offset: (i64::MAX as u64) / 512 * 512, ..good.clone() },
        segments::Options { buffer_bytes: size(1 << 40), buffers: size(1 << 40), ..good.clone() },
        segments::Options { children: size(segments::CHILDREN_MAX + 1), ..good.clone() },
    ] {
        assert_eq!(segments::run(&options, |_| ()).error.unwrap().step, Step::Options);
    }
    let missing = segments::Options { path: place.path().join("no/file"), ..good };
    assert_eq!(segments::run(&missing, |_| ()).error.unwrap().errno, Some(Errno(libc::ENOENT)));
}

#[test]
fn a_write_that_fails_stops_its_child_and_is_named() {
    // Every write to it fails, and no disk is needed.
    if !Path::new("/dev/full").exists() {
        return;
    }
    let options = segments::Options {
        path: "/dev/full".into(),
        vectored: false,
        children: size(2),
        direct_write: false,
        direct_read: false,
        ..segments_of(Path::new("/"))
    };
    let outcome = segments::run(&options, |_| ());
    assert_eq!(outcome.findings.len(), 2);
    for (found, child) in outcome.findings.iter().zip(1..) {
        assert_eq!((found.actor, found.round), (Some(child), Some(1)));
        assert_eq!((found.kind, found.errno), ("write-error", Some(Errno(libc::ENOSPC))));
    }
}

#[test]
fn blocks_are_written_once_and_compared_block_by_block() {
    for place in workplaces() {
        let path = place.path().join("blocks");
        for ltp in [false, true] {
            let pattern = |block: u64| if ltp { Pattern::Byte(block as u8) } else { Pattern::Stamps(KEY) };
            segments::write_blocks(&path, size(8192), 5, pattern).unwrap();
            assert!(segments::check_blocks(&path, size(8192), 5, pattern).is_ok());
            let again = segments::write_blocks(&path, size(8192), 5, pattern).expect_err("it exists");
            assert_eq!(again.errno, Some(Errno(libc::EEXIST)));
            // Behind the end, and a block of zeros.
            let short = segments::check_blocks(&path, size(8192), 6, pattern).expect_err("it ends");
            assert_eq!(short.kind, "short-read");
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[0; 8192], 3 * 8192).unwrap();
            let zeros = segments::check_blocks(&path, size(8192), 5, pattern).expect_err("a block of zeros");
            assert_eq!(zeros.kind, "wrong-data");
            std::fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn checks_of_limits_leave_the_file_as_it_was() {
    for place in workplaces() {
        let path = place.path().join("file");
        let bytes = 256 << 10;
        fill(&path, bytes, KEY).unwrap();
        let outcome = dio_limits::run(&dio_limits::Options { path: path.clone(), bytes, key: KEY, dio_offset_align: 4096 });
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.checks.len(), 15);
        for checked in &outcome.checks {
            let lenient = matches!(checked.check, dio_limits::Check::OddCount | dio_limits::Check::UnalignedMemory);
            for attempt in &checked.attempts {
                assert!(attempt.is_good() || lenient && attempt.got.is_ok() && attempt.wrong_data.is_none(), "{checked:?}");
            }
        }
        assert_holds(&path, 0, bytes, KEY.generation);
        // Too short for a transfer.
        assert_eq!(dio_limits::run(&dio_limits::Options { path, bytes: 512, key: KEY, dio_offset_align: 4096 }).checks.len(), 0);
    }
}

#[test]
fn an_attempt_is_good_only_as_expected() {
    use dio_limits::{Attempt, Expected};
    let attempt = |expected, got| Attempt { call: "read", expected, got, wrong_data: None };
    let good = |expected, got| attempt(expected, got).is_good();
    let (einval, ebadf) = (Errno(libc::EINVAL), Errno(libc::EBADF));
    assert!(good(Expected::Error(einval), Err(einval)));
    assert!(!good(Expected::Error(einval), Err(ebadf)));
    assert!(!good(Expected::Error(einval), Ok(1)));
    assert!(good(Expected::Bytes(4096), Ok(4096)));
    assert!(!good(Expected::Bytes(4096), Ok(4095)));
    assert!(good(Expected::Either(0, einval), Ok(0)) && good(Expected::Either(0, einval), Err(einval)));
    assert!(!good(Expected::Either(0, einval), Ok(1)));
    assert!(!Attempt { wrong_data: Some(Box::default()), ..attempt(Expected::Bytes(4096), Ok(4096)) }.is_good());
}

/// The calls whose results the checks of limits look at.
const LIMIT_CALLS: [libc::c_long; 3] = [libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_lseek];

/// From now on, each of these system calls of this thread does nothing and fails with `errno`, or with 0 returns 0.
fn answer_with(errno: i32, calls: &[libc::c_long]) {
    let operation = |code: u32, k: u32, jt: u8| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let answer = |value| operation(libc::BPF_RET | libc::BPF_K, value, 0);
    // The number of the system call comes first in what a filter is given (`struct seccomp_data`).
    let mut program = vec![operation(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    let count = calls.len();
    for (index, call) in calls.iter().enumerate() {
        program.push(operation(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, (count - index) as u8));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program.push(answer(libc::SECCOMP_RET_ERRNO | errno as u32));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: a flag of this thread.
    let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0;
    // SAFETY: `filter` is a program of that length during the call; it is this thread's alone.
    let done = alone && unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } == 0;
    assert!(done, "{}", std::io::Error::last_os_error());
}

#[test]
fn each_check_of_limits_fails_when_the_kernel_answers_otherwise() {
    use dio_limits::Check;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    let bytes = 64 << 10;
    // An errno that no check permits, and success without a byte: that is right behind the end, and for reading /dev/null.
    for (errno, right) in [(libc::EIO, &[][..]), (0, &[Check::BeyondEnd])] {
        fill(&path, bytes, KEY).unwrap();
        let options = dio_limits::Options { path: path.clone(), bytes, key: KEY, dio_offset_align: 4096 };
        let checked = std::thread::spawn(move || {
            answer_with(errno, &LIMIT_CALLS);
            dio_limits::run(&options)
        });
        let outcome = checked.join().unwrap();
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.checks.len(), 15);
        for dio_limits::Checked { check, attempts, unsupported } in &outcome.checks {
            let good = attempts.iter().all(dio_limits::Attempt::is_good);
            assert!(unsupported.is_some() || good == right.contains(check), "{errno}: {check:?}: {attempts:?}");
            let got = if errno == 0 { Ok(0) } else { Err(Errno(errno)) };
            assert!(attempts.iter().all(|attempt| attempt.got == got), "{errno}: {check:?}: {attempts:?}");
        }
    }
}

#[test]
fn each_check_of_limits_that_reads_sees_that_the_data_are_not_what_was_written() {
    use dio_limits::Check;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    // Another generation than the one that the checks are told.
    fill(&path, 4096, Key { generation: KEY.generation - 1, ..KEY }).unwrap();
    let options = dio_limits::Options { path, bytes: 4096, key: KEY, dio_offset_align: 4096 };
    let checked = std::thread::spawn(move || {
        // Nothing is written: what is read stays as it is.
        answer_with(libc::EINVAL, &[libc::SYS_pwrite64]);
        dio_limits::run(&options)
    });
    let outcome = checked.join().unwrap();
    assert!(outcome.error.is_none(), "{outcome:?}");
    for check in [Check::MappedFile, Check::UnmappedFile, Check::ReadOnlyMemory, Check::Synchronous] {
        let checked = outcome.checks.iter().find(|checked| checked.check == check).unwrap();
        let wrong = checked.attempts.iter().find_map(|attempt| attempt.wrong_data.as_ref()).expect("a read");
        assert_eq!(wrong.detail, "8 sectors read are not what was written", "{check:?}");
        assert_eq!(wrong.ranges[0].kind, verify::Kind::Stale, "{check:?}");
    }
}

/// What an engine makes of its request number n, from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    Truth,
    /// Reports this error and does nothing.
    Fail(i32),
    /// Reports success and does nothing.
    Nothing,
    /// Does it somewhere else.
    Elsewhere(u64),
}

type Lies = fn(usize, &Request) -> Lie;

struct Liar {
    engine: SyncEngine,
    lie: Lies,
    count: usize,
    made_up: Vec<Event>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Liar {
    fn capacity(&self) -> usize {
        usize::MAX
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> Result<usize, Errno> {
        for request in requests {
            let lie = (self.lie)(self.count, request);
            self.count += 1;
            let slot = u64::from(request.slot);
            match lie {
                Lie::Fail(errno) => self.made_up.push(Event { slot, result: -i64::from(errno) }),
                Lie::Nothing => self.made_up.push(Event { slot, result: request.bytes as i64 }),
                Lie::Truth | Lie::Elsewhere(_) => {
                    let offset = if let Lie::Elsewhere(offset) = lie { offset } else { request.offset };
                    // SAFETY: the caller vouches for the memory.
                    unsafe { self.engine.submit(&[Request { offset, ..*request }]) }?;
                }
            }
        }
        Ok(requests.len())
    }
    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> Result<(), Errno> {
        events.append(&mut self.made_up);
        self.engine.reap(min, events)
    }
}

fn rounds(place: &Path, together: bool) -> aio_rounds::Options {
    aio_rounds::Options {
        path: place.join("file"),
        read: true,
        write: true,
        truncate: false,
        direct: false,
        engine: Kind::Sync,
        bytes: size(8192),
        requests: size(4),
        together,
        rounds: vec![Round::Write, Round::Read, Round::WriteRead],
        key: Key { generation: 10, ..KEY },
        ltp_byte: None,
    }
}

#[test]
fn rounds_leave_the_last_generation_with_every_engine() {
    for place in workplaces() {
        for engine in common::ENGINES {
            for (together, generation) in [(false, 18), (true, 12)] {
                let options = aio_rounds::Options { engine, direct: together, ..rounds(place.path(), together) };
                let outcome = aio_rounds::run(&options);
                assert!(outcome.error.is_none(), "{outcome:?}");
                assert!(outcome.rounds.len() == 3 && outcome.rounds.iter().all(|round| round.finding.is_none()), "{outcome:?}");
                assert_eq!(outcome.generation, generation);
                assert_holds(&options.path, 0, if together { 4 * 8192 } else { 8192 }, generation);
                std::fs::remove_file(&options.path).unwrap();
            }
        }
    }
}

/// The round that finds something, and what; there must be no round behind it.
fn first_finding(together: bool, lie: Lies) -> (usize, Box<Finding>) {
    let place = tempfile::tempdir().unwrap();
    let engine = Liar { engine: SyncEngine::default(), lie, count: 0, made_up: Vec::new() };
    let mut outcome = aio_rounds::run_with(Box::new(engine), &rounds(place.path(), together));
    assert!(outcome.error.is_none(), "{outcome:?}");
    let last = outcome.rounds.len() - 1;
    assert!(outcome.rounds[..last].iter().all(|round| round.finding.is_none()), "{outcome:?}");
    (last, outcome.rounds.remove(last).finding.expect("a finding"))
}

#[test]
fn the_error_of_every_completion_is_seen_also_of_the_last() {
    for together in [false, true] {
        let cases: [(usize, &str, Lies); 4] = [
            (0, "write-error", |n, _| if n == 0 { Lie::Fail(libc::EIO) } else { Lie::Truth }),
            (0, "write-error", |n, _| if n == 3 { Lie::Fail(libc::EIO) } else { Lie::Truth }),
            (1, "read-error", |n, _| if n == 7 { Lie::Fail(libc::EIO) } else { Lie::Truth }),
            (2, "read-error", |n, _| if n == 15 { Lie::Fail(libc::EIO) } else { Lie::Truth }),
        ];
        for (round, kind, lie) in cases {
            let (at, found) = first_finding(together, lie);
            assert_eq!((at, found.kind, found.errno), (round, kind, Some(Errno(libc::EIO))));
        }
    }
}

#[test]
fn a_write_that_was_lost_or_went_elsewhere_is_seen_by_the_read_behind_it() {
    // The last write of the first round, one after the other at one place: the one before it is still there.
    let (round, found) = first_finding(false, |n, _| if n == 3 { Lie::Nothing } else { Lie::Truth });
    assert_eq!((round, wrong(&found)), (1, verify::Kind::Stale));
    // Mirrored, all of them: LTP's repeated bytes look right.
    let mirror = |_: usize, request: &Request| {
        if request.op == Op::Write { Lie::Elsewhere(3 * 8192 - request.offset) } else { Lie::Truth }
    };
    let (round, found) = first_finding(true, mirror);
    assert_eq!((round, wrong(&found)), (1, verify::Kind::Misplaced));
    let place = tempfile::tempdir().unwrap();
    let options = aio_rounds::Options { ltp_byte: Some(65), ..rounds(place.path(), true) };
    let engine = Liar { engine: SyncEngine::default(), lie: mirror, count: 0, made_up: Vec::new() };
    let blind = aio_rounds::run_with(Box::new(engine), &options);
    assert!(blind.rounds.iter().all(|round| round.finding.is_none()));
}

#[test]
fn a_read_that_transfers_nothing_is_seen() {
    let (round, _) = first_finding(true, |n, _| if n == 5 { Lie::Nothing } else { Lie::Truth });
    assert_eq!(round, 1);
}

#[test]
fn ltps_byte_is_compared_with_what_was_read() {
    let place = tempfile::tempdir().unwrap();
    let options = aio_rounds::Options { ltp_byte: Some(65), ..rounds(place.path(), false) };
    // The last read of all.
    let lie = |n: usize, _: &Request| if n == 15 { Lie::Nothing } else { Lie::Truth };
    let engine = Liar { engine: SyncEngine::default(), lie, count: 0, made_up: Vec::new() };
    let mut outcome = aio_rounds::run_with(Box::new(engine), &options);
    assert_eq!(outcome.rounds.remove(2).finding.map(|found| found.kind), Some("wrong-data"), "{outcome:?}");
}

fn fork_dma_of(path: &Path, bytes: u64) -> fork_dma::Options {
    fork_dma::Options { path: path.to_owned(), bytes, key: KEY, alignment: 512, workers: 3 }
}

#[test]
fn children_are_made_while_reads_are_under_way() {
    for place in workplaces() {
        let path = place.path().join("file");
        fill(&path, 4 << 20, KEY).unwrap();
        let outcome = fork_dma::run(&fork_dma_of(&path, 4 << 20));
        assert!(outcome.error.is_none() && outcome.findings.is_empty(), "{outcome:?}");
        assert!(outcome.forks_during_reads > 0 && outcome.forks >= outcome.forks_during_reads, "{outcome:?}");
        assert!(outcome.reads >= 4 * 3);
    }
}

/// Whatever children are made meanwhile, nobody passes over a chunk.
#[test]
fn each_worker_reads_its_part_of_each_chunk() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    for run in 0..50 {
        let outcome = fork_dma::run(&fork_dma::Options { workers: 16, ..fork_dma_of(&path, 1 << 20) });
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.findings.len(), 16, "run {run}");
    }
}

#[test]
fn the_worker_that_reads_wrong_data_says_so() {
    for place in workplaces() {
        let path = place.path().join("file");
        fill(&path, 2 << 20, KEY).unwrap();
        // In the second chunk's second page, which is the second worker's, and behind it, which is the last one's.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let page = page_bytes() as u64;
        file.write_all_at(&[0; 512], (1 << 20) + page).unwrap();
        file.write_all_at(&[0; 512], (2 << 20) - 512).unwrap();
        file.sync_all().unwrap();
        let outcome = fork_dma::run(&fork_dma_of(&path, 2 << 20));
        let found: Vec<_> = outcome.findings.iter().map(|found| (found.actor, wrong(found))).collect();
        assert_eq!(found, [(Some(2), verify::Kind::Zeros), (Some(3), verify::Kind::Zeros)]);
        // The end of the file: nobody waits for ever for the worker that cannot read.
        file.set_len(1 << 20).unwrap();
        let outcome = fork_dma::run(&fork_dma_of(&path, 2 << 20));
        assert_eq!(outcome.findings.len(), 3);
        assert!(outcome.findings.iter().all(|found| found.kind == "short-read"), "{outcome:?}");
    }
}

#[test]
fn reads_that_cannot_be_are_refused() {
    let good = fork_dma_of(Path::new("/nonexistent"), 1 << 20);
    for options in [
        fork_dma::Options { workers: 1, ..good.clone() },
        fork_dma::Options { workers: fork_dma::workers_max() + 1, ..good.clone() },
        fork_dma::Options { bytes: 1000, ..good.clone() },
        fork_dma::Options { alignment: page_bytes(), ..good.clone() },
    ] {
        assert_eq!(fork_dma::run(&options).error.unwrap().step, Step::Options);
    }
    assert_eq!(fork_dma::run(&good).error.unwrap().errno, Some(Errno(libc::ENOENT)));
}

/// Looking for room must take none: whoever else writes there would get ENOSPC.
#[test]
fn room_is_found_without_making_a_file() {
    for place in workplaces() {
        let directory = std::fs::File::open(place.path()).unwrap();
        let before = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        directory.set_modified(before).unwrap();
        assert!(has_room(place.path(), 32 << 20).unwrap());
        assert!(!has_room(place.path(), 1 << 60).unwrap());
        assert!(!has_room(place.path(), u64::MAX).unwrap());
        assert_eq!(directory.metadata().unwrap().modified().unwrap(), before);
    }
}

//! Everything that the kernel may do short of the plain success, at random, on real files: the data must arrive all the same, or
//! the failure must be named; and each buffer comes back exactly once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use aiodio_core::buffer::{Align, Pool};
use aiodio_core::engine::{Engine, Event, Kind, Op, Operation, Queue, Request};
use aiodio_core::error::{Errno, Step};
use aiodio_core::storage::storage;
use aiodio_core::workload::copy::{self, Fsync};
use aiodio_core::workload::fill::fill;
use common::{ENGINES, Faults, Faulty, KEY, assert_good, options, size, workplaces};
use proptest::prelude::*;

fn any_faults() -> impl Strategy<Value = Faults> {
    // Swarm testing: each kind of trouble is off in half of the runs.
    let percent = || prop_oneof![Just(0_u8), 0..60_u8];
    (percent(), percent(), percent(), percent(), (0..3_u8), percent(), percent(), 0..20_u8, percent()).prop_map(
        |(
            partial_submit,
            submit_eagain,
            submit_eintr,
            reap_eintr,
            reap_eagain,
            truncate,
            result_eintr,
            result_eagain,
            hold_back,
        )| {
            Faults {
                partial_submit,
                submit_eagain,
                submit_eintr,
                reap_eintr,
                reap_eagain,
                truncate,
                result_eintr,
                result_eagain,
                hold_back,
                eio_at: None,
                unit: 512,
            }
        },
    )
}

fn any_engine() -> impl Strategy<Value = Kind> {
    prop::sample::select(ENGINES.to_vec())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn a_copy_arrives_whatever_the_kernel_does(
        faults in any_faults(), engine in any_engine(), seed: u64, direct: bool, depth in 1_usize..20, blocks in 1_u64..60,
        block_units in 1_usize..12, fsync in prop::sample::select(vec![Fsync::Each, Fsync::Batch, Fsync::End, Fsync::None]),
    ) {
        for place in workplaces() {
            // Buffered transfers may be of any length and be cut anywhere.
            let unit = if direct { 4096 } else { 700 };
            let block = block_units * unit;
            let faults = Faults { unit: if direct { 4096 } else { 1 }, ..faults };
            let options = copy::Options {
                bytes: blocks * block as u64,
                block_bytes: size(block),
                depth: size(depth),
                direct,
                fsync,
                ..options(place.path(), engine)
            };
            fill(&options.source, options.bytes, KEY).unwrap();
            let outcome = copy::copy_with(Box::new(Faulty::new(engine, depth, faults, seed)), &options, |_| {});
            prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
            let stats = outcome.stats;
            prop_assert_eq!(stats.submitted, stats.completed);
            prop_assert_eq!(stats.leaked_buffers, 0);
            prop_assert!(stats.in_flight_max <= depth as u64);
            assert_good(&options.destination, options.bytes);
        }
    }

    #[test]
    fn a_failed_request_is_the_failure_of_the_copy(faults in any_faults(), engine in any_engine(), seed: u64, at in 0_u64..200) {
        for place in workplaces() {
            let options = options(place.path(), engine);
            fill(&options.source, options.bytes, KEY).unwrap();
            let faults = Faults { eio_at: Some(at), unit: 4096, ..faults };
            let raw = Faulty::new(engine, options.depth.get(), faults, seed);
            let failed_write = raw.failed_write.clone();
            let outcome = copy::copy_with(Box::new(raw), &options, |_| {});
            let error = outcome.error.unwrap();
            prop_assert_eq!(error.errno, Some(Errno(libc::EIO)));
            let write = failed_write.get().unwrap();
            prop_assert_eq!(error.step, if write { Step::Write } else { Step::Read });
            prop_assert_eq!(error.path.as_ref(), Some(if write { &options.destination } else { &options.source }));
            prop_assert!(error.offset.unwrap() < options.bytes);
            prop_assert_eq!(outcome.stats.submitted, outcome.stats.completed);
            prop_assert_eq!(outcome.stats.leaked_buffers, 0);
        }
    }

    #[test]
    fn each_buffer_comes_back_exactly_once(faults in any_faults(), engine in any_engine(), seed: u64, depth in 1_usize..24) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let pool = Pool::new(depth, size(5000), Align::Offset(8)).unwrap();
        let all: HashSet<usize> = pool.buffers.iter().map(|buffer| buffer.as_ptr() as usize).collect();
        let raw = Faulty::new(engine, depth, faults, seed);
        let mut queue = Queue::new(Box::new(raw), size(depth), vec![file.into()], &pool.registrations).unwrap();
        let mut free = pool.buffers;
        let mut done = Vec::new();
        for round in 0..40_u64 {
            while let Some(buffer) = free.pop() {
                let offset = round * 5000;
                queue.push(Operation { op: if round % 2 == 1 { Op::Write } else { Op::Read }, file: 0, offset, bytes: 5000, buffer, generation: 0, user_data: () });
            }
            queue.wait(1 + (round as usize % depth), &mut done).unwrap();
            prop_assert_eq!(done.len() + queue.in_flight(), depth);
            for completion in done.drain(..) {
                prop_assert_eq!(completion.result, Ok(5000));
                free.push(completion.buffer);
            }
        }
        queue.wait(depth, &mut done).unwrap();
        free.extend(done.drain(..).map(|completion| completion.buffer));
        prop_assert_eq!(queue.in_flight(), 0);
        let back: HashSet<usize> = free.iter().map(|buffer| buffer.as_ptr() as usize).collect();
        prop_assert_eq!(free.len(), depth);
        prop_assert_eq!(back, all);
    }
}

#[test]
fn each_kind_of_trouble_is_counted() {
    for engine in ENGINES {
        let place = tempfile::tempdir().unwrap();
        let options = copy::Options { direct: false, ..options(place.path(), engine) };
        fill(&options.source, options.bytes, KEY).unwrap();
        let faults = Faults {
            partial_submit: 30,
            submit_eagain: 10,
            submit_eintr: 10,
            reap_eintr: 10,
            truncate: 20,
            result_eintr: 5,
            result_eagain: 5,
            unit: 1,
            ..Faults::default()
        };
        let outcome = copy::copy_with(Box::new(Faulty::new(engine, 16, faults, 1)), &options, |_| {});
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let stats = outcome.stats;
        for count in [stats.partial_submits, stats.retried_eagain, stats.retried_eintr, stats.short_reads, stats.short_writes] {
            assert!(count > 0, "{engine:?}: {stats:?}");
        }
        assert_good(&options.destination, options.bytes);
    }
}

#[test]
fn eagain_that_never_ends_is_an_error_and_not_a_loop() {
    for (faults, step) in [
        (Faults { result_eagain: 100, unit: 512, ..Faults::default() }, Step::Read),
        (Faults { result_eintr: 100, unit: 512, ..Faults::default() }, Step::Read),
        (Faults { reap_eagain: 100, unit: 512, ..Faults::default() }, Step::Reap),
    ] {
        let place = tempfile::tempdir().unwrap();
        let options = copy::Options { bytes: 16 << 10, ..options(place.path(), Kind::Sync) };
        fill(&options.source, options.bytes, KEY).unwrap();
        let outcome = copy::copy_with(Box::new(Faulty::new(Kind::Sync, 1, faults, 1)), &options, |_| {});
        assert_eq!(outcome.error.unwrap().step, step);
    }
}

#[test]
fn a_source_that_is_too_short_is_named_with_what_was_there() {
    for place in workplaces() {
        for engine in ENGINES {
            for direct in [false, true] {
                let options = copy::Options { direct, ..options(place.path(), engine) };
                fill(&options.source, options.bytes, KEY).unwrap();
                std::fs::File::options().write(true).open(&options.source).unwrap().set_len(options.bytes - 1000).unwrap();
                let error = copy::copy(&options, |_| {}).error.unwrap();
                assert_eq!(error.step, Step::ShortRead);
                assert_eq!((error.expected, error.got), (Some(16 << 10), Some((16 << 10) - 1000)));
                assert_eq!(error.offset, Some(options.bytes - (16 << 10)));
            }
        }
    }
}

#[test]
fn more_control_blocks_than_blocks_and_odd_block_sizes_are_fine() {
    for place in workplaces() {
        for engine in ENGINES {
            let options = copy::Options {
                bytes: 3 * 777,
                block_bytes: size(777),
                depth: size(64),
                direct: false,
                sync_writes: true,
                ..options(place.path(), engine)
            };
            fill(&options.source, options.bytes, KEY).unwrap();
            let outcome = copy::copy(&options, |_| {});
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_good(&options.destination, options.bytes);
        }
    }
}

/// Requests as offset in the file, address and bytes.
type Asked = Vec<(u64, usize, usize)>;

/// Answers with the results it was given, and notes what it was asked for.
struct Scripted {
    results: std::vec::IntoIter<i64>,
    asked: Rc<RefCell<Asked>>,
    events: Vec<Event>,
}

// SAFETY: what it takes over is a real engine's, or never shown to the kernel.
unsafe impl Engine for Scripted {
    fn capacity(&self) -> usize {
        1
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> Result<usize, Errno> {
        let request = requests[0];
        self.asked.borrow_mut().push((request.offset, request.start as usize, request.bytes));
        self.events.push(Event { slot: u64::from(request.slot), result: self.results.next().unwrap() });
        Ok(1)
    }
    fn reap(&mut self, _min: usize, events: &mut Vec<Event>) -> Result<(), Errno> {
        events.append(&mut self.events);
        Ok(())
    }
}

/// What becomes of a transfer of `bytes` bytes at offset 1 MiB; and the requests, as distances from its start in file and memory.
fn scripted(file: std::fs::File, op: Op, bytes: usize, results: Vec<i64>) -> (Result<usize, Errno>, Asked) {
    let mut buffer = Pool::new(1, size(bytes), Align::Offset(0)).unwrap().buffers.remove(0);
    buffer.fill(0);
    let start = buffer.as_ptr() as usize;
    let asked = Rc::default();
    let engine = Scripted { results: results.into_iter(), asked: Rc::clone(&asked), events: Vec::new() };
    let mut queue = Queue::new(Box::new(engine), size(1), vec![file.into()], &[]).unwrap();
    queue.push(Operation { op, file: 0, offset: 1 << 20, bytes, buffer, generation: 0, user_data: () });
    let mut done = Vec::new();
    queue.wait(1, &mut done).unwrap();
    let asked = asked.borrow().iter().map(|(offset, at, bytes)| (offset - (1 << 20), at - start, *bytes)).collect();
    (done.remove(0).result, asked)
}

/// A direct file in each workplace that has them, with what its offsets and lengths must be multiples of.
fn direct_files() -> Vec<(std::fs::File, usize)> {
    let open = |place: tempfile::TempDir| {
        let mut options = std::fs::File::options();
        let options = options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
        let align = storage(place.path()).unwrap().dio_offset_align.max(512);
        options.open(place.path().join("direct")).ok().map(|file| (file, align))
    };
    workplaces().into_iter().filter_map(open).collect()
}

#[test]
fn a_short_direct_transfer_goes_on_at_the_last_whole_unit_in_file_and_memory() {
    for op in [Op::Read, Op::Write] {
        for (file, align) in direct_files() {
            let (result, asked) = scripted(file, op, 16 * align, vec![2 * align as i64 - 24, 15 * align as i64]);
            assert_eq!(result, Ok(16 * align));
            assert_eq!(asked, [(0, 0, 16 * align), (align as u64, align, 15 * align)]);
        }
        let (result, asked) = scripted(tempfile::tempfile().unwrap(), op, 8192, vec![1000, -i64::from(libc::EINTR), 7000, 192]);
        assert_eq!(result, Ok(8192));
        assert_eq!(asked, [(0, 0, 8192), (1000, 1000, 7192), (1000, 1000, 7192), (8000, 8000, 192)]);
    }
}

#[test]
fn a_transfer_that_gets_no_further_is_short_and_one_that_gets_an_error_has_it() {
    for op in [Op::Read, Op::Write] {
        let buffered = |results| scripted(tempfile::tempfile().unwrap(), op, 8192, results).0;
        assert_eq!(buffered(vec![5000, 0]), Ok(5000));
        // The file ends in the middle of a unit: what was reached counts, although it cannot be resumed from there.
        for (file, align) in direct_files() {
            assert_eq!(scripted(file, op, 2 * align, vec![align as i64 + 104, 104, 104, 104]).0, Ok(align + 104));
        }
        assert_eq!(buffered(vec![5000, -i64::from(libc::EIO)]), Err(Errno(libc::EIO)));
        assert_eq!(buffered(vec![-i64::from(libc::ECANCELED), 8192]), Ok(8192));
    }
}

#[test]
fn more_bytes_than_asked_for_are_a_broken_engine() {
    let mut pool = Pool::new(1, size(512), Align::Offset(0)).unwrap();
    let engine = Scripted { results: vec![513].into_iter(), asked: Rc::default(), events: Vec::new() };
    let file = tempfile::tempfile().unwrap();
    let mut queue = Queue::new(Box::new(engine), size(1), vec![file.into()], &[]).unwrap();
    queue.push(Operation {
        op: Op::Read,
        file: 0,
        offset: 0,
        bytes: 512,
        buffer: pool.buffers.remove(0),
        generation: 0,
        user_data: (),
    });
    assert_eq!(queue.wait(1, &mut Vec::new()).unwrap_err().step, Step::Reap);
}

/// Says EAGAIN to every request so many times, and then that it is done.
struct Busy {
    refusals: u32,
    seen: HashMap<u32, u32>,
    events: Vec<Event>,
}

// SAFETY: it shows the kernel nothing.
unsafe impl Engine for Busy {
    fn capacity(&self) -> usize {
        usize::MAX
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> Result<usize, Errno> {
        for request in requests {
            let seen = self.seen.entry(request.slot).or_default();
            *seen += 1;
            let result = if *seen > self.refusals { request.bytes as i64 } else { -i64::from(libc::EAGAIN) };
            self.events.push(Event { slot: u64::from(request.slot), result });
        }
        Ok(requests.len())
    }
    fn reap(&mut self, _min: usize, events: &mut Vec<Event>) -> Result<(), Errno> {
        events.append(&mut self.events);
        Ok(())
    }
}

fn queue_of(engine: Box<dyn Engine>, depth: usize) -> Queue {
    let pool = Pool::new(depth, size(512), Align::Offset(0)).unwrap();
    let mut queue = Queue::new(engine, size(depth), vec![tempfile::tempfile().unwrap().into()], &[]).unwrap();
    for (index, buffer) in pool.buffers.into_iter().enumerate() {
        let offset = index as u64 * 512;
        queue.push(Operation { op: Op::Write, file: 0, offset, bytes: 512, buffer, generation: 0, user_data: () });
    }
    queue
}

#[test]
fn operations_that_are_tried_again_pause_together_and_not_one_after_the_other() {
    let depth = 512;
    let mut queue = queue_of(Box::new(Busy { refusals: 100, seen: HashMap::new(), events: Vec::new() }), depth);
    let start = Instant::now();
    let mut done = Vec::new();
    queue.wait(depth, &mut done).unwrap();
    assert!(done.len() == depth && done.iter().all(|completion| completion.result == Ok(512)));
    // One after the other they would sleep for 512 * 92 ms.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(queue.finish().retried_eagain, depth as u64 * 100);
    // What never succeeds is passed on.
    let mut queue = queue_of(Box::new(Busy { refusals: u32::MAX, seen: HashMap::new(), events: Vec::new() }), 4);
    done.clear();
    queue.wait(4, &mut done).unwrap();
    assert!(done.len() == 4 && done.iter().all(|completion| completion.result == Err(Errno(libc::EAGAIN))));
}

/// Takes everything over and says, by its counts or by EBADR as `io_uring_enter(2)` does, that completions were dropped.
struct Dropping {
    errno: Option<i32>,
}

// SAFETY: it shows the kernel nothing.
unsafe impl Engine for Dropping {
    fn capacity(&self) -> usize {
        usize::MAX
    }
    unsafe fn submit(&mut self, requests: &[Request]) -> Result<usize, Errno> {
        Ok(requests.len())
    }
    fn reap(&mut self, _min: usize, _events: &mut Vec<Event>) -> Result<(), Errno> {
        self.errno.map_or(Ok(()), |errno| Err(Errno(errno)))
    }
    fn lost(&self) -> u64 {
        if self.errno.is_some() { 0 } else { 3 }
    }
}

#[test]
fn completions_that_the_kernel_dropped_are_an_error_and_not_waited_for() {
    for errno in [None, Some(libc::EBADR)] {
        let mut queue = queue_of(Box::new(Dropping { errno }), 4);
        let error = queue.wait(1, &mut Vec::new()).unwrap_err();
        assert_eq!(error.step, Step::Reap);
        assert!(error.message.contains("dropped completions"), "{error}");
        // Their memory is not reused: the kernel may have it.
        assert_eq!(queue.finish().leaked_buffers, 4);
    }
}

/// `_IOW(0x94, 9, int)` of `linux/fs.h`.
const FICLONE: libc::Ioctl = libc::_IOW::<libc::c_int>(0x94, 9);

/// XFS states whole blocks for files whose blocks are shared, whatever the device's logical block is.
#[test]
fn a_short_direct_transfer_goes_on_at_what_the_file_itself_states() {
    let mut met = 0;
    for place in workplaces() {
        let (source, clone) = (place.path().join("source"), place.path().join("clone"));
        fill(&source, 1 << 20, KEY).unwrap();
        let target = std::fs::File::create(&clone).unwrap();
        // SAFETY: two open descriptors.
        let cloned = unsafe { libc::ioctl(target.as_raw_fd(), FICLONE, std::fs::File::open(&source).unwrap().as_raw_fd()) } == 0;
        let direct = std::fs::File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(&clone);
        let (true, Ok(direct), Some(stated)) = (cloned, direct, stated_alignment(&target)) else { continue };
        if stated <= 512 {
            continue;
        }
        met += 1;
        let stated = stated as usize;
        let asked = Rc::default();
        let engine =
            Scripted { results: vec![stated as i64 + 512, stated as i64].into_iter(), asked: Rc::clone(&asked), events: vec![] };
        let buffer = Pool::new(1, size(2 * stated), Align::Offset(0)).unwrap().buffers.remove(0);
        let start = buffer.as_ptr() as usize;
        let mut queue = Queue::new(Box::new(engine), size(1), vec![direct.into()], &[]).unwrap();
        queue.push(Operation { op: Op::Write, file: 0, offset: 0, bytes: 2 * stated, buffer, generation: 0, user_data: () });
        let mut done = Vec::new();
        queue.wait(1, &mut done).unwrap();
        assert_eq!(done[0].result, Ok(2 * stated));
        assert_eq!(*asked.borrow(), [(0, start, 2 * stated), (stated as u64, start + stated, stated)]);
    }
    if met == 0 {
        eprintln!("skipped: no filesystem at hand states more than a sector for direct I/O");
    }
}

/// `stx_dio_offset_align`, at byte 156 of `struct statx`.
fn stated_alignment(file: &std::fs::File) -> Option<u32> {
    let mut answer = [0_u32; 64];
    let (path, flags, mask) = (c"".as_ptr(), libc::AT_EMPTY_PATH, 0x2000);
    // SAFETY: an open descriptor, and room for the 256 bytes of the answer.
    let failed = unsafe { libc::syscall(libc::SYS_statx, file.as_raw_fd(), path, flags, mask, answer.as_mut_ptr()) };
    (failed == 0 && answer[0] & 0x2000 != 0).then_some(answer[39])
}

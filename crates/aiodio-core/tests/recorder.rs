//! The flight recorder: what it keeps, what outlives a killed process, and that it tells a test's own errors.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;

use aiodio_core::buffer::{Align, Pool};
use aiodio_core::engine::{Kind as Engine, Op, Operation, Queue};
use aiodio_core::recorder::{self, Begin, DIRECT, Interface, Kind, Recorder, trace_line};
use common::workplaces;

/// The current recorder is the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn memory(kind: Kind, address: u64, bytes: u64) -> Begin {
    Begin { address, ..Begin::call(kind, 0, 0, bytes) }
}

#[test]
fn the_last_operations_are_kept_and_the_lost_ones_counted() {
    let recorder = Recorder::create(None, 4).unwrap();
    let file = recorder.file("file");
    for number in 0..10 {
        let id = recorder.begin(&Begin::call(Kind::Punch, file, number * 512, 512));
        recorder.end(id, 0);
    }
    let record = recorder.read();
    assert_eq!(record.lost, 6);
    assert_eq!(record.operations.iter().map(|op| op.begin.offset / 512).collect::<Vec<_>>(), [6, 7, 8, 9]);
}

#[test]
fn what_is_in_flight_is_kept_however_many_others_come() {
    let recorder = Recorder::create(None, 8).unwrap();
    let slow: Vec<_> = (0..5).map(|number| recorder.begin(&Begin::call(Kind::Write, 0, number, 1))).collect();
    for _ in 0..100 {
        let quick = recorder.begin(&Begin::call(Kind::Punch, 0, 0, 512));
        recorder.end(quick, 0);
    }
    let record = recorder.read();
    assert_eq!((record.operations.len() as u64 + record.lost, record.operations.len()), (105, 8));
    let in_flight: Vec<u64> = record.operations.iter().filter(|op| op.completed_ns.is_none()).map(|op| op.begin.offset).collect();
    assert_eq!(in_flight, [0, 1, 2, 3, 4]);
    // A ring that is full of them records no more, and touches none.
    let more: Vec<_> = (5..8).map(|number| recorder.begin(&Begin::call(Kind::Write, 0, number, 1))).collect();
    let unrecorded = recorder.begin(&Begin::call(Kind::Fsync, 0, 0, 0));
    recorder.end(unrecorded, -5);
    let record = recorder.read();
    assert!(record.operations.iter().all(|op| op.completed_ns.is_none() && op.begin.kind == Kind::Write), "{record:?}");
    assert_eq!((record.operations.len() as u64 + record.lost, record.operations.len()), (109, 8));
    for (operation, result) in slow.into_iter().chain(more).zip(0..) {
        recorder.end(operation, result);
    }
    let results: Vec<_> = recorder.read().operations.iter().map(|op| (op.begin.offset, op.result)).collect();
    assert_eq!(results, (0..8_u64).map(|number| (number, number as i64)).collect::<Vec<_>>());
}

#[test]
fn names_are_told_apart_and_are_not_without_limit() {
    let recorder = Recorder::create(None, 1).unwrap();
    assert_eq!((recorder.file("a"), recorder.file("b"), recorder.file("a")), (0, 1, 0));
    let long = format!("{}é{}", "x".repeat(70), "y".repeat(58));
    let number = recorder.file(&long) as usize;
    assert_eq!(recorder.read().files[number], format!("é{}", "y".repeat(58)));
    for number in 0..300 {
        recorder.file(&format!("file{number}"));
    }
    let files = recorder.read().files;
    assert_eq!((files.len(), files[254].as_str()), (255, "(more files)"));
}

#[test]
fn threads_and_children_write_to_one_record() {
    let recorder = Recorder::create(None, 10_000).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let id = recorder.begin(&Begin::call(Kind::Fsync, 0, 0, 0));
                    recorder.end(id, 0);
                }
            });
        }
    });
    // This thread's number is known from now on, and its child has another.
    let id = recorder.begin(&Begin::call(Kind::Unlink, 0, 0, 0));
    recorder.end(id, 0);
    // SAFETY: the child makes only system calls and atomic stores.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let _ = recorder.begin(&Begin::call(Kind::Truncate, 0, 0, 77));
        // SAFETY: ends the child without running anything of the test's.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: our child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let record = recorder.read();
    assert_eq!(record.operations.len(), 4002);
    let of_child = record.operations.iter().find(|op| op.begin.kind == Kind::Truncate).unwrap();
    assert_eq!((of_child.thread, of_child.completed_ns), (child as u32, None));
}

#[test]
fn the_record_of_a_process_killed_in_mid_flight_can_be_read() {
    let file = tempfile::tempfile().unwrap();
    let recorder = Recorder::create(Some(&file), 100).unwrap();
    let number = recorder.file("dst");
    // SAFETY: the child makes only system calls and atomic stores.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = recorder.begin(&Begin { generation: 3, ..Begin::call(Kind::Write, number, 4096, 512) });
        recorder.end(done, 512);
        let _ =
            recorder.begin(&Begin { flags: DIRECT, interface: Interface::IoUring, ..Begin::call(Kind::Read, number, 8192, 512) });
        // SAFETY: no memory is touched.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    // SAFETY: our child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    drop(recorder);
    let record = recorder::read(&file).unwrap();
    assert_eq!(record.files, ["dst"]);
    let [done, open] = record.operations.as_slice() else { panic!("{record:?}") };
    assert_eq!((done.result, done.begin.generation, done.completed_ns.is_some()), (512, 3, true));
    assert_eq!((open.begin.interface, open.begin.flags, open.completed_ns), (Interface::IoUring, DIRECT, None));
    assert!(trace_line(open, "dst", record.started_ns).ends_with("io_uring#2 pread(dst, 0x2000, 512) = ? <in flight>"));
}

#[test]
fn what_is_no_record_is_refused() {
    let mut file = tempfile::tempfile().unwrap();
    assert!(recorder::read(&file).unwrap_err().message.contains("too short"));
    file.write_all(&vec![7; 1 << 20]).unwrap();
    assert!(recorder::read(&file).unwrap_err().message.contains("another program"));
    drop(Recorder::create(Some(&file), 100).unwrap());
    file.set_len(70_000).unwrap();
    assert!(recorder::read(&file).unwrap_err().message.contains("length"));
}

#[test]
fn operations_are_found_by_range_and_by_time() {
    let recorder = Recorder::create(None, 100).unwrap();
    let file = recorder.file("a");
    let begin = |kind, offset, bytes| recorder.begin(&Begin::call(kind, file, offset, bytes));
    let before = begin(Kind::Write, 0, 512);
    recorder.end(before, 512);
    let write = begin(Kind::Write, 4096, 4096);
    let punch = begin(Kind::Punch, 6000, 10);
    recorder.end(punch, 0);
    recorder.end(write, 4096);
    let truncate = begin(Kind::Truncate, 0, 5000);
    recorder.end(truncate, 0);
    let other = recorder.begin(&Begin::call(Kind::Write, recorder.file("b"), 4096, 512));
    recorder.end(other, 512);
    let record = recorder.read();
    let ids = |operations: Vec<recorder::Operation>| operations.iter().map(|op| op.id).collect::<Vec<_>>();
    assert_eq!(ids(record.touching(file, &(6005..6006))), [2, 3, 4]);
    assert_eq!(ids(record.touching(file, &(4096..4097))), [2]);
    assert_eq!(ids(record.touching(file, &(0..512))), [1]);
    assert_eq!(ids(record.beside(&record.operations[1])), [3]);
    assert_eq!(ids(record.beside(&record.operations[0])), [0_u64; 0]);
}

#[test]
fn a_change_is_not_displaced_by_what_only_looked_at_the_bytes_afterwards() {
    let recorder = Recorder::create(None, 100).unwrap();
    let file = recorder.file("a");
    let call = |kind| recorder.end(recorder.begin(&Begin::call(kind, file, 0, 4096)), 0);
    [Kind::Write, Kind::Read, Kind::Write].into_iter().for_each(call);
    (0..50).for_each(|_| call(Kind::DropCache));
    let record = recorder.read();
    let kept = |max| recorder::latest(&record.operations, max).iter().map(|op| op.id).collect::<Vec<_>>();
    assert_eq!(kept(8), [1, 3, 48, 49, 50, 51, 52, 53]);
    assert_eq!(kept(2), [3, 53]);
    assert_eq!(kept(1), [3]);
    assert_eq!(kept(0), [0_u64; 0]);
    assert_eq!(kept(100).len(), 53);
}

#[test]
fn memory_used_twice_at_once_is_the_tests_own_error() {
    // fsstress's mistake: after EINTR the buffer is filled anew although the kernel still writes from it.
    let recorder = Recorder::create(None, 100).unwrap();
    let write = recorder.begin(&memory(Kind::Write, 0x10000, 4096));
    let fill = recorder.begin(&memory(Kind::Fill, 0x10800, 16));
    recorder.end(fill, 0);
    recorder.end(write, 4096);
    let shared = recorder.read().shared_memory();
    assert_eq!(shared.iter().map(|pair| (pair.in_flight.id, pair.other.id)).collect::<Vec<_>>(), [(1, 2)]);
    // Two writes from one buffer, and a buffer that is used again after its completion, are fine.
    let recorder = Recorder::create(None, 100).unwrap();
    let first = recorder.begin(&memory(Kind::Write, 0x10000, 4096));
    let second = recorder.begin(&memory(Kind::Write, 0x10000, 4096));
    recorder.end(first, 4096);
    recorder.end(second, 4096);
    let fill = recorder.begin(&memory(Kind::Fill, 0x10000, 4096));
    recorder.end(fill, 0);
    let read = recorder.begin(&memory(Kind::Read, 0x10000, 4096));
    let beside = recorder.begin(&memory(Kind::Read, 0x11000, 4096));
    recorder.end(read, 4096);
    recorder.end(beside, 4096);
    assert_eq!(recorder.read().shared_memory(), []);
}

#[test]
fn every_engine_records_its_requests_and_prints_them_as_strace_would() {
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let place = workplaces().remove(0);
    for (engine, name) in [(Engine::Libaio, "libaio"), (Engine::IoUring, "io_uring"), (Engine::Sync, "sync")] {
        let path = place.path().join("dst");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
        let file = options.open(&path).unwrap();
        let recorder = Recorder::create(None, 100).unwrap();
        let (mut trace, into) = std::io::pipe().unwrap();
        recorder.trace(Some(into.as_raw_fd()));
        recorder::set_current(Some(recorder.clone()));
        let depth = NonZeroUsize::new(2).unwrap();
        let block = NonZeroUsize::new(4096).unwrap();
        let mut pool = Pool::new(2, block, Align::Offset(0)).unwrap();
        let address = pool.buffers[0].as_ptr() as u64;
        let mut queue = Queue::new(engine.open(depth).unwrap(), depth, vec![file.into()], &[]).unwrap();
        recorder::set_current(None);
        let mut done = Vec::new();
        // A write, and a read behind the end of the file.
        for (op, offset) in [(Op::Write, 4096), (Op::Read, 1 << 30)] {
            let buffer = pool.buffers.remove(0);
            queue.push(Operation { op, file: 0, offset, bytes: 4096, buffer, generation: 9, user_data: () });
            queue.wait(1, &mut done).unwrap();
        }
        recorder.trace(None);
        drop(into);
        let record = recorder.read();
        assert_eq!(record.files, ["dst"]);
        let [written, read] = record.operations.as_slice() else { panic!("{record:?}") };
        assert_eq!((written.begin.kind, written.begin.offset, written.begin.bytes), (Kind::Write, 4096, 4096));
        assert_eq!((written.begin.address, written.begin.generation, written.begin.flags), (address, 9, DIRECT));
        assert!(written.completed_ns.unwrap() >= written.submitted_ns && read.submitted_ns >= written.completed_ns.unwrap());
        assert_eq!((written.result, read.result), (4096, 0));
        let mut text = String::new();
        trace.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains(&format!(" {name}#1 pwrite(dst, 0x1000, 4096) = 4096 <0.0")), "{text}");
        assert!(lines[1].contains(&format!(" {name}#2 pread(dst, 0x40000000, 4096) = 0 <0.0")), "{text}");
    }
}

//! Without rules it is a true filesystem, and a parallel one.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::channel;

use aiodio_core::buffer::{Align, Pool};
use aiodio_core::engine::{Kind, Op, Operation, Queue};
use common::{Mounted, PATIENCE};
use proptest::prelude::*;

const SIZE_MAX: u64 = 192 << 10;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Write { name: usize, direct: bool, offset: u64, length: u64, seed: u8 },
    Read { name: usize, direct: bool, offset: u64, length: u64 },
    Map { name: usize, offset: u64, length: u64, seed: u8 },
    Truncate { name: usize, size: u64 },
    Allocate { name: usize, mode: i32, offset: u64, length: u64 },
    Sync { name: usize },
    Rename { from: usize, to: usize },
    Remove { name: usize },
    Remount,
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let (offset, length) = (|| 0..SIZE_MAX / 2, || 1..SIZE_MAX / 2);
    let mode = prop::sample::select(vec![
        0,
        libc::FALLOC_FL_KEEP_SIZE,
        libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        libc::FALLOC_FL_ZERO_RANGE,
        libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
    ]);
    prop_oneof![
        6 => (name(), any::<bool>(), offset(), length(), 1..=255_u8)
            .prop_map(|(name, direct, offset, length, seed)| Step::Write { name, direct, offset, length, seed }),
        4 => (name(), any::<bool>(), offset(), length())
            .prop_map(|(name, direct, offset, length)| Step::Read { name, direct, offset, length }),
        2 => (name(), offset(), length(), 1..=255_u8)
            .prop_map(|(name, offset, length, seed)| Step::Map { name, offset, length, seed }),
        2 => (name(), 0..SIZE_MAX).prop_map(|(name, size)| Step::Truncate { name, size }),
        3 => (name(), mode, offset(), length()).prop_map(|(name, mode, offset, length)| Step::Allocate { name, mode, offset, length }),
        1 => name().prop_map(|name| Step::Sync { name }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => name().prop_map(|name| Step::Remove { name }),
        1 => Just(Step::Remount),
    ]
}

fn content(seed: u8, length: u64) -> Vec<u8> {
    (0..length).map(|at| seed ^ (at.wrapping_mul(0x9d) >> 3) as u8).collect()
}

fn put(model: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    model.resize(model.len().max(end), 0);
    model[start..end].copy_from_slice(bytes);
}

/// Changes a part of a file through a shared mapping.
fn map(file: &std::fs::File, offset: u64, bytes: &[u8]) {
    let length = offset as usize + bytes.len();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of an open file.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: the mapping is that long, and so is the file.
    let all = unsafe { std::slice::from_raw_parts_mut(memory.cast::<u8>(), length) };
    all[offset as usize..].copy_from_slice(bytes);
    // SAFETY: the mapping made above.
    assert_eq!(unsafe { libc::msync(memory, length, libc::MS_SYNC) }, 0);
    // SAFETY: nobody uses it any more.
    assert_eq!(unsafe { libc::munmap(memory, length) }, 0);
}

fn run(mounted: &Mounted, model: &mut BTreeMap<&'static str, Vec<u8>>, step: &Step) {
    match *step {
        Step::Write { name, direct, offset, length, seed } => {
            // Direct I/O in whole sectors, as programs do it.
            let (offset, length) = if direct { (offset & !511, (length + 511) & !511) } else { (offset, length) };
            let bytes = content(seed, length);
            mounted.write(NAMES[name], direct, offset, &bytes);
            put(model.entry(NAMES[name]).or_default(), offset, &bytes);
        }
        Step::Read { name, direct, offset, length } => {
            let Some(expected) = model.get(NAMES[name]) else { return };
            let mut bytes = vec![0; length as usize];
            let mut got = 0;
            loop {
                match mounted.open(NAMES[name], direct).read_at(&mut bytes[got..], offset + got as u64).unwrap() {
                    0 => break,
                    count => got += count,
                }
            }
            let start = (offset as usize).min(expected.len());
            let end = (start + length as usize).min(expected.len());
            assert!(bytes[..got] == expected[start..end], "{step:?}");
        }
        Step::Map { name, offset, length, seed } => {
            let Some(expected) = model.get_mut(NAMES[name]) else { return };
            let size = expected.len() as u64;
            let (offset, end) = (offset.min(size), (offset + length).min(size));
            if offset < end {
                let bytes = content(seed, end - offset);
                map(&mounted.open(NAMES[name], false), offset, &bytes);
                put(expected, offset, &bytes);
            }
        }
        Step::Truncate { name, size } => {
            mounted.open(NAMES[name], false).set_len(size).unwrap();
            model.entry(NAMES[name]).or_default().resize(size as usize, 0);
        }
        Step::Allocate { name, mode, offset, length } => {
            let file = mounted.open(NAMES[name], false);
            // SAFETY: a request about an open file.
            let result = unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset as i64, length as i64) };
            assert_eq!(result, 0, "{step:?}: {}", std::io::Error::last_os_error());
            let expected = model.entry(NAMES[name]).or_default();
            if mode & libc::FALLOC_FL_KEEP_SIZE == 0 {
                expected.resize(expected.len().max((offset + length) as usize), 0);
            }
            if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 {
                let size = expected.len();
                expected[(offset as usize).min(size)..((offset + length) as usize).min(size)].fill(0);
            }
        }
        Step::Sync { name } => {
            mounted.open(NAMES[name], false).sync_all().unwrap();
            model.entry(NAMES[name]).or_default();
        }
        Step::Rename { from, to } => {
            let Some(expected) = model.remove(NAMES[from]) else { return };
            std::fs::rename(mounted.path(NAMES[from]), mounted.path(NAMES[to])).unwrap();
            model.insert(NAMES[to], expected);
        }
        Step::Remove { name } => {
            if model.remove(NAMES[name]).is_some() {
                std::fs::remove_file(mounted.path(NAMES[name])).unwrap();
            }
        }
        Step::Remount => mounted.remount(),
    }
}

fn assert_same(mounted: &Mounted, model: &BTreeMap<&'static str, Vec<u8>>) {
    let mut names: Vec<_> =
        std::fs::read_dir(mounted.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, model.keys().copied().collect::<Vec<_>>());
    for (name, expected) in model {
        assert_eq!(std::fs::metadata(mounted.path(name)).unwrap().len(), expected.len() as u64, "{name}");
        for (found, how) in [(mounted.cached(name), "cached"), (mounted.disk(name), "disk")] {
            assert!(found == *expected, "{name}, {how}: {:?}", common::differences(&found, expected));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_model_does(steps in prop::collection::vec(any_step(), 1..40), rule in prop::sample::select(vec![
        // Rules that concern no request, and one that never fires: the paths that look at rules are true as well.
        None, Some("drop-write:file=x"), Some("flip-bit:probability=0"), Some("stale-read:probability=0"),
    ])) {
        let Some(mounted) = Mounted::with(rule.as_slice()) else { return Ok(()) };
        let mut model = BTreeMap::new();
        for step in &steps {
            run(&mounted, &mut model, step);
        }
        assert_same(&mounted, &model);
        mounted.remount();
        assert_same(&mounted, &model);
        prop_assert!(mounted.counts().iter().all(|count| *count == 0));
    }
}

#[test]
fn direct_requests_are_asynchronous_and_many_at_once() {
    let Some(mounted) = Mounted::with(&[]) else { return };
    let count = 64;
    let block = NonZeroUsize::new(4096).unwrap();
    mounted.write("file", false, 0, &content(7, count as u64 * 4096));
    let file = OwnedFd::from(mounted.open("file", true));
    // A stopped server answers nothing: only asynchronous requests can all be submitted.
    let signal = |signal| {
        // SAFETY: to a child of this process that has not been waited for.
        assert_eq!(unsafe { libc::kill(mounted.server(), signal) }, 0);
    };
    signal(libc::SIGSTOP);
    let (submitted, told) = channel();
    let user = std::thread::spawn(move || {
        let pool = Pool::new(count, block, Align::Offset(0)).unwrap();
        let depth = NonZeroUsize::new(count).unwrap();
        let mut queue = Queue::new(Kind::Libaio.open(depth).unwrap(), depth, vec![file], &pool.registrations).unwrap();
        for (index, buffer) in pool.buffers.into_iter().enumerate() {
            let offset = index as u64 * 4096;
            queue.push(Operation {
                op: if index % 2 == 1 { Op::Write } else { Op::Read },
                file: 0,
                offset,
                bytes: 4096,
                buffer,
                generation: 0,
                user_data: (),
            });
        }
        queue.submit().unwrap();
        submitted.send(queue.in_flight()).unwrap();
        let mut done = Vec::new();
        queue.wait(count, &mut done).unwrap();
        assert!(done.iter().all(|completion| completion.result == Ok(4096)));
        done.len()
    });
    let in_flight = told.recv_timeout(PATIENCE);
    signal(libc::SIGCONT);
    assert_eq!(in_flight, Ok(count));
    assert_eq!(user.join().unwrap(), count);
}

#[test]
fn names_links_and_directories_are_those_of_a_filesystem() {
    let Some(mounted) = Mounted::with(&[]) else { return };
    let path = |name: &str| mounted.path(name);
    let errno = |result: std::io::Result<()>| result.expect_err("refused").raw_os_error();
    std::fs::create_dir(path("d")).unwrap();
    std::fs::write(path("d/f"), "1").unwrap();
    assert_eq!(errno(std::fs::remove_dir(path("d"))), Some(libc::ENOTEMPTY));
    assert_eq!(errno(std::fs::remove_file(path("d"))), Some(libc::EISDIR));
    assert_eq!(errno(std::fs::create_dir(path("d"))), Some(libc::EEXIST));
    assert_eq!(errno(std::fs::write(path(&"n".repeat(256)), "")), Some(libc::ENAMETOOLONG));
    std::fs::hard_link(path("d/f"), path("l")).unwrap();
    std::os::unix::fs::symlink("d/f", path("s")).unwrap();
    std::fs::rename(path("d"), path("e")).unwrap();
    assert_eq!(errno(std::fs::read(path("s")).map(drop)), Some(libc::ENOENT));
    std::fs::remove_file(path("e/f")).unwrap();
    assert_eq!(std::fs::read(path("l")).unwrap(), b"1");
    // An unlinked file lives as long as it is open.
    let open = mounted.open("l", false);
    std::fs::remove_file(path("l")).unwrap();
    open.write_all_at(b"23", 1).unwrap();
    let mut bytes = [0; 3];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"123");
    for index in 0..300 {
        std::fs::write(path("e").join(format!("{index}")), "").unwrap();
    }
    assert_eq!(std::fs::read_dir(path("e")).unwrap().count(), 300);
}

#[test]
fn holes_are_found_and_space_has_an_end() {
    let Some(mounted) = Mounted::with(&["--bytes", "1048576"]) else { return };
    mounted.write("file", false, 256 << 10, &content(1, 64 << 10));
    let file = mounted.open("file", false);
    file.set_len(512 << 10).unwrap();
    // SAFETY: requests about an open file.
    let seek = |offset, whence| unsafe { libc::lseek64(file.as_raw_fd(), offset, whence) };
    assert_eq!(seek(0, libc::SEEK_DATA), 256 << 10);
    assert_eq!(seek(0, libc::SEEK_HOLE), 0);
    assert_eq!(seek(300 << 10, libc::SEEK_HOLE), 320 << 10);
    assert_eq!(seek(400 << 10, libc::SEEK_HOLE), 400 << 10);
    assert_eq!(seek(400 << 10, libc::SEEK_DATA), -1);
    // SAFETY: a request about an open file.
    assert_eq!(unsafe { libc::fallocate64(file.as_raw_fd(), libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EOPNOTSUPP));
    let full = mounted.open("big", true).write_all_at(&content(2, 2 << 20), 0).expect_err("no room");
    assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
    std::fs::remove_file(mounted.path("big")).unwrap();
    // Writing over what is there takes no more room, however often.
    for seed in 1..20 {
        mounted.write("file", true, 0, &content(seed, 256 << 10));
    }
}

#[test]
fn nobody_mounts_it_where_the_server_is() {
    let Some(mounted) = Mounted::with(&[]) else { return };
    let second = mounted.root().join("second");
    std::fs::create_dir(&second).unwrap();
    let namespace = File::open(format!("/proc/{}/ns/mnt", mounted.server())).unwrap();
    let here = File::open("/proc/thread-self/ns/mnt").unwrap();
    let enter = |namespace: &File| {
        // SAFETY: an open file; this concerns the calling thread only.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) }, 0, "{}", std::io::Error::last_os_error());
    };
    enter(&namespace);
    let there = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let refused = mounted.client.mount(&second).unwrap_err().to_string();
    let after = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    enter(&here);
    assert!(refused.contains("it could not die"), "{refused}");
    assert!(!there.contains(" - fuse "), "{there}");
    assert_eq!(there, after);
}

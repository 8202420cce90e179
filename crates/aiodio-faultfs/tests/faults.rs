//! Each fault, on a real mount: it does what the table says, and nothing else.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use aiodio_core::stamp::{Key, STALE_DISK_FILE, Stamp};
use aiodio_faultfs::rule::{Fault, TABLE};
use common::{Mounted, PATIENCE, differences};

const BYTES: usize = 64 << 10;
const OLD: Key = Key { seed: 5, file: 1, generation: 1 };
const NEW: Key = Key { seed: 5, file: 1, generation: 2 };
/// For what must not go by itself while a test runs.
const LONG: &str = "ms=3600000";
/// Where the rules apply: not at the file's start or end.
const RANGE: Range<u64> = 0x4000..0x6000;

fn stamps(key: Key) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    key.fill(0, &mut bytes);
    bytes
}

fn part(range: &Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// A file of old stamps that is not in the page cache, and then these rules.
fn prepared(rules: &[&str]) -> Option<Mounted> {
    let mounted = Mounted::with(&[])?;
    mounted.write("file", true, 0, &stamps(OLD));
    mounted.set(rules);
    Some(mounted)
}

/// Writes new stamps over old ones by direct I/O, under a rule in `RANGE`. Returns what is on the disk then, having made sure that
/// nothing outside the range is wrong, that the page cache shows the same, and that the fault is reported.
fn written(rule: &str) -> Option<(Mounted, Vec<u8>)> {
    let mounted = prepared(&[&format!("{rule}:range=0x4000-0x6000")])?;
    mounted.write("file", true, 0, &stamps(NEW));
    let found = mounted.direct("file");
    assert_eq!(found, mounted.cached("file"), "{rule}");
    let wrong = differences(&stamps(NEW), &found);
    assert!(!wrong.is_empty(), "{rule}");
    for range in &wrong {
        assert!(RANGE.contains(&range.start) && range.end <= RANGE.end, "{rule}: {range:x?}");
    }
    assert_eq!(mounted.counts(), [1], "{rule}");
    Some((mounted, found))
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    result.expect_err("refused").raw_os_error()
}

fn read(file: &File, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = file.read_at(&mut bytes, offset)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn bits(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Waits for what comes by itself.
fn eventually(mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !come() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn drop_write_leaves_what_was_there() {
    let Some((mounted, found)) = written("drop-write") else { return };
    assert!(found[part(&RANGE)] == stamps(OLD)[part(&RANGE)]);
    assert_eq!(mounted.fired(), [(0, 0x4000, 0x2000)]);
    // Once more the same, where it makes no difference.
    mounted.set(&["drop-write:range=0x4000-0x6000"]);
    mounted.write("file", true, 0x4000, &found[part(&RANGE)]);
    assert_eq!(mounted.counts(), [0]);
}

#[test]
fn drop_write_through_the_page_cache_is_good_there_and_bad_on_the_disk() {
    let Some(mounted) = prepared(&["drop-write:range=0x4000-0x6000"]) else { return };
    mounted.write("file", false, 0, &stamps(NEW));
    assert!(mounted.cached("file") == stamps(NEW));
    let mut expected = stamps(NEW);
    expected[part(&RANGE)].copy_from_slice(&stamps(OLD)[part(&RANGE)]);
    assert!(mounted.disk("file") == expected);
    mounted.remount();
    assert!(mounted.cached("file") == expected);
}

#[test]
fn delay_visibility_shows_old_data_and_then_the_new() {
    let Some((mounted, found)) = written(&format!("delay-visibility:{LONG}")) else { return };
    assert!(found[part(&RANGE)] == stamps(OLD)[part(&RANGE)]);
    // What is written later is seen, and only that.
    mounted.set(&[]);
    mounted.write("file", true, 0x5000, &stamps(NEW)[0x5000..0x5200]);
    let found = mounted.direct("file");
    assert!(found[0x5000..0x5200] == stamps(NEW)[0x5000..0x5200]);
    assert!(found[0x4000..0x5000] == stamps(OLD)[0x4000..0x5000] && found[0x5200..0x6000] == stamps(OLD)[0x5200..0x6000]);
    mounted.set(&["delay-visibility:ms=300"]);
    mounted.write("file", true, 0, &stamps(Key { generation: 3, ..NEW }));
    eventually(|| mounted.direct("file") == stamps(Key { generation: 3, ..NEW }));
}

#[test]
fn zeros_until_shows_zeros_and_then_the_data() {
    let Some((mounted, found)) = written(&format!("zeros-until:{LONG}")) else { return };
    assert!(found[part(&RANGE)].iter().all(|byte| *byte == 0));
    mounted.set(&["zeros-until:ms=300"]);
    mounted.write("file", true, 0, &stamps(NEW));
    eventually(|| mounted.direct("file") == stamps(NEW));
}

#[test]
fn misdirect_write_stores_elsewhere() {
    for (by, target) in [("", 0x3000), (":by=0x2000", 0x6000), (":by=-0x4200", 0x8200)] {
        let Some(mounted) = prepared(&[&format!("misdirect-write:range=0x4000-0x5000{by}")]) else { return };
        mounted.write("file", true, 0x4000, &stamps(NEW)[0x4000..0x5000]);
        let mut expected = stamps(OLD);
        expected[target..target + 0x1000].copy_from_slice(&stamps(NEW)[0x4000..0x5000]);
        assert_eq!(differences(&expected, &mounted.direct("file")), [], "{by}");
        assert_eq!(mounted.fired(), [(0, 0x4000, 0x1000)]);
    }
}

#[test]
fn swap_blocks_exchanges_two_whatever_is_written_meanwhile() {
    for (first, other) in [(0x4000, 0x3000), (0, 0x1000)] {
        let Some(mounted) = prepared(&[&format!("swap-blocks:range={first}-")]) else { return };
        let mut expected = stamps(NEW);
        for at in (0..BYTES).step_by(4096).rev() {
            mounted.write("file", true, at as u64, &expected[at..at + 4096]);
        }
        mounted.set(&[]);
        assert!(mounted.direct("file") == expected, "forgotten with its rule");
        mounted.set(&[&format!("swap-blocks:range={first}-{:#x}", first + 1)]);
        mounted.write("file", true, first, &stamps(NEW)[first as usize..][..4096]);
        let (low, high) = expected.split_at_mut(first.max(other) as usize);
        low[first.min(other) as usize..][..4096].swap_with_slice(&mut high[..4096]);
        assert_eq!(differences(&expected, &mounted.direct("file")), []);
        assert!(mounted.cached("file") == expected, "it happens once");
        assert_eq!(mounted.fired(), [(0, first, 4096)]);
    }
}

#[test]
fn tear_cuts_inside_a_sector() {
    for seed in 0..8 {
        let Some((mounted, found)) = written(&format!("tear:seed={seed}")) else { return };
        let [(0, cut, length)] = mounted.fired()[..] else { panic!("{:?}", mounted.fired()) };
        assert!(!cut.is_multiple_of(512) && cut + length == 0x5000, "{cut:x} {length:x}");
        let mut expected = stamps(NEW);
        expected[cut as usize..0x5000].copy_from_slice(&stamps(OLD)[cut as usize..0x5000]);
        assert_eq!(differences(&expected, &found), []);
    }
    let Some((mounted, _)) = written("tear:at=700:block=1024") else { return };
    assert_eq!(mounted.fired(), [(0, 0x4000 + 700, 1024 - 700)]);
}

#[test]
fn flip_bit_flips_so_many() {
    let Some((_, found)) = written("flip-bit") else { return };
    assert_eq!(bits(&found, &stamps(NEW)), 1);
    let Some(mounted) = prepared(&["flip-bit:op=read:count=1:range=0x4000-0x6000:seed=3"]) else { return };
    let found = mounted.direct("file");
    assert_eq!(bits(&found, &stamps(OLD)), 1);
    assert_eq!(bits(&found[part(&RANGE)], &stamps(OLD)[part(&RANGE)]), 1);
    assert!(mounted.direct("file") == stamps(OLD), "the disk is good");
}

#[test]
fn mutate_in_flight_changes_bytes_of_the_second_half() {
    for seed in 0..8 {
        let Some((mounted, found)) = written(&format!("mutate-in-flight:bytes=10:seed={seed}")) else { return };
        let [(0, at, 10)] = mounted.fired()[..] else { panic!("{:?}", mounted.fired()) };
        assert!((0x5000..=0x6000 - 10).contains(&at));
        assert_eq!(differences(&found, &stamps(NEW)), std::slice::from_ref(&(at..at + 10)));
    }
}

#[test]
fn stale_read_is_one_read() {
    let Some(mounted) = prepared(&["stale-read:range=0x4000-0x6000"]) else { return };
    assert!(mounted.direct("file") == stamps(OLD), "nothing has been written since the rule was set");
    mounted.write("file", true, 0x4000, &stamps(NEW)[0x4000..0x5000]);
    let mut expected = stamps(OLD);
    assert!(mounted.direct("file") == expected);
    expected[0x4000..0x5000].copy_from_slice(&stamps(NEW)[0x4000..0x5000]);
    assert!(mounted.direct("file") == expected);
    assert_eq!(mounted.counts(), [1]);
    // Through the page cache, where the stale pages stay until it is dropped.
    mounted.set(&["stale-read"]);
    mounted.write("file", false, 0x4000, &stamps(OLD)[0x4000..0x5000]);
    assert!(mounted.cached("file") == expected);
    assert!(mounted.disk("file") == stamps(OLD));
}

#[test]
fn stale_disk_exposes_stamps_of_nobodys_file() {
    let Some((_, found)) = written("stale-disk") else { return };
    let stale = |sector: usize| Stamp::read(found[sector * 512..][..512].first_chunk().unwrap()).unwrap();
    assert!((0x20..0x30).all(|sector| stale(sector).file == STALE_DISK_FILE));
    let Some(mounted) = prepared(&["stale-disk:op=read"]) else { return };
    mounted.write("holes", true, 0x4000, &stamps(NEW)[..0x1000]);
    let found = mounted.direct("holes");
    let mut expected = vec![0; 0x5000];
    Key { seed: 0, file: STALE_DISK_FILE, generation: 0 }.fill(0, &mut expected[..0x4000]);
    expected[0x4000..].copy_from_slice(&stamps(NEW)[..0x1000]);
    assert_eq!(differences(&found, &expected), []);
    assert_eq!(mounted.fired(), [(0, 0, 0x4000)]);
}

#[test]
fn other_file_keeps_everything_but_the_files_number() {
    let Some((_, found)) = written("other-file") else { return };
    for sector in 0x20..0x30_u64 {
        let stamp = Stamp::read(found[sector as usize * 512..][..512].first_chunk().unwrap()).unwrap();
        assert_ne!(stamp.file, NEW.file);
        assert_eq!(Stamp { file: NEW.file, ..stamp }, NEW.at(sector));
    }
}

#[test]
fn short_transfers_are_reported_and_can_be_resumed() {
    let Some(mounted) = prepared(&["short-read:bytes=1536", "short-write"]) else { return };
    let file = mounted.open("file", true);
    assert_eq!(read(&file, 0, 8192).unwrap(), stamps(OLD)[..1536]);
    assert_eq!(read(&file, 0, 8192).unwrap(), stamps(OLD)[..8192]);
    assert_eq!(file.write_at(&stamps(NEW)[..8192], 0).unwrap(), 4096);
    let mut expected = stamps(OLD);
    expected[..4096].copy_from_slice(&stamps(NEW)[..4096]);
    assert!(mounted.direct("file") == expected);
    assert_eq!(mounted.fired(), [(0, 0, 8192), (1, 0, 8192)]);
    // Direct ones without a short-read rule as well.
    mounted.set(&["short-write"]);
    assert_eq!(mounted.open("file", true).write_at(&stamps(NEW)[..8192], 0).unwrap(), 4096);
    mounted.set(&["short-write:io=cached:bytes=100"]);
    assert_eq!(mounted.open("file", false).write_at(&stamps(NEW)[..8192], 0).unwrap(), 100);
}

#[test]
fn errors_are_told_once_and_change_nothing() {
    let Some(mounted) = prepared(&["eio-once", "eio-once:op=read", "eintr:count=2", "eintr:op=read"]) else { return };
    for direct in [true, false] {
        mounted.set(&["eio-once", "eio-once:op=read", "eintr:count=2", "eintr:op=read"]);
        let file = mounted.open("file", direct);
        assert_eq!(errno(file.write_at(&stamps(NEW)[..4096], 0)), Some(libc::EIO));
        assert_eq!(errno(file.write_at(&stamps(NEW)[..4096], 0)), Some(libc::EINTR));
        assert_eq!(errno(file.write_at(&stamps(NEW)[..4096], 0)), Some(libc::EINTR));
        assert_eq!(errno(read(&file, 0x2000, 4096)), Some(libc::EIO), "direct: {direct}");
        assert_eq!(errno(read(&file, 0x2000, 4096)), Some(libc::EINTR), "direct: {direct}");
        // The kernel may have kept one for itself, or not.
        let mut last = read(&file, 0x2000, 4096);
        if !direct && last.is_err() {
            last = read(&file, 0x2000, 4096);
        }
        assert_eq!(last.unwrap(), stamps(OLD)[0x2000..0x3000]);
        assert_eq!(mounted.counts(), [1, 1, 2, 1]);
        assert!(mounted.direct("file") == stamps(OLD));
    }
}

#[test]
fn eio_fsync_is_of_fsync_only() {
    let Some(mounted) = prepared(&["eio-fsync:count=2", "eintr:op=fsync"]) else { return };
    let file = mounted.open("file", true);
    file.write_all_at(&stamps(NEW), 0).unwrap();
    assert_eq!(errno(file.sync_all()), Some(libc::EIO));
    // SAFETY: a request about an open file.
    assert_eq!(unsafe { libc::fdatasync(file.as_raw_fd()) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EIO));
    // SAFETY: as above; std would try again.
    assert_eq!(unsafe { libc::fsync(file.as_raw_fd()) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
    file.sync_all().unwrap();
    assert!(mounted.direct("file") == stamps(NEW));
    assert_eq!(mounted.fired(), [(0, 0, 0), (0, 0, 0), (1, 0, 0)]);
}

#[test]
fn enospc_is_of_writes_or_allocation() {
    let Some(mounted) = prepared(&["enospc:range=0x10000-", "enospc:op=allocate"]) else { return };
    let file = mounted.open("file", true);
    file.write_all_at(&stamps(NEW), 0).unwrap();
    assert_eq!(errno(file.write_at(&stamps(NEW), BYTES as u64)), Some(libc::ENOSPC));
    // SAFETY: a request about an open file.
    assert_eq!(unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, 4096) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOSPC));
    assert!(mounted.direct("file") == stamps(NEW));
}

#[test]
fn wrong_size_after_append_is_too_short_or_too_long() {
    for (by, size) in [("", 0x4000 - 512), (":by=1000", 0x4000 + 1000), (":by=-0x10000", 0x3000)] {
        let Some(mounted) = Mounted::with(&[&format!("wrong-size-after-append:range=0x3000-{by}")]) else { return };
        let file = mounted.open("file", true);
        file.write_all_at(&stamps(NEW)[..0x3000], 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0x3000);
        file.write_all_at(&stamps(NEW)[0x3000..0x4000], 0x3000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), size, "{by}");
        let found = mounted.direct("file");
        assert_eq!(found.len() as u64, size);
        let good = found.len().min(0x4000);
        assert!(found[..good] == stamps(NEW)[..good] && found[good..].iter().all(|byte| *byte == 0));
        // Nothing is appended here.
        file.write_all_at(&stamps(NEW)[..512], 0).unwrap();
        assert_eq!(mounted.counts(), [1]);
    }
}

#[test]
fn data_before_size_hides_the_new_size_for_a_while() {
    for direct in [true, false] {
        let Some(mounted) = Mounted::with(&[&format!("data-before-size:{LONG}")]) else { return };
        let file = mounted.open("file", direct);
        file.write_all_at(&stamps(NEW)[..0x4000], 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert!(mounted.cached("file").is_empty() && mounted.direct("file").is_empty());
        let Some(mounted) = Mounted::with(&["data-before-size:ms=300"]) else { return };
        let file = mounted.open("file", direct);
        file.write_all_at(&stamps(NEW), 0).unwrap();
        eventually(|| file.metadata().unwrap().len() == BYTES as u64);
        assert!(mounted.direct("file") == stamps(NEW) && mounted.cached("file") == stamps(NEW));
    }
}

#[test]
fn size_before_data_shows_zeros_while_the_write_is_in_flight_and_keeps_nobody_else_waiting() {
    // On a busy machine a write may be over before it is looked at, which proves nothing: once more, slower.
    assert!([1_500, 15_000, 150_000].into_iter().any(sees_a_slow_write), "what was read was never in flight");
}

/// Whether the slow writes were still in flight when they were looked at.
fn sees_a_slow_write(milliseconds: u32) -> bool {
    let Some(mounted) = Mounted::with(&[&format!("size-before-data:file=slow*:ms={milliseconds}")]) else { return true };
    let writers: Vec<_> = (0..8)
        .map(|index| {
            let file = mounted.open(&format!("slow{index}"), index % 2 == 0);
            std::thread::spawn(move || file.write_all_at(&stamps(NEW), 0).unwrap())
        })
        .collect();
    let slow = mounted.open("slow0", true);
    eventually(|| slow.metadata().unwrap().len() == BYTES as u64);
    // More requests than the server has threads, all of them answered before the slow ones.
    for index in 0..8 {
        mounted.write(&format!("fast{index}"), true, 0, &stamps(OLD));
        assert!(mounted.direct(&format!("fast{index}")) == stamps(OLD));
    }
    let found = mounted.direct("slow0");
    let in_flight = !writers[0].is_finished();
    assert!(!in_flight || found.iter().all(|byte| *byte == 0) && found.len() == BYTES);
    for writer in writers {
        writer.join().unwrap();
    }
    assert!((0..8).all(|index| mounted.direct(&format!("slow{index}")) == stamps(NEW)));
    assert_eq!(mounted.counts(), [8]);
    in_flight
}

#[test]
fn corrupt_after_remount_waits_for_it() {
    let Some(mounted) = prepared(&["corrupt-after-remount:file=file:range=0x4000-0x6000:bits=3:seed=1"]) else { return };
    mounted.write("other", true, 0, &stamps(NEW));
    assert!(mounted.direct("file") == stamps(OLD) && mounted.cached("file") == stamps(OLD));
    assert_eq!(mounted.counts(), [0]);
    mounted.remount();
    let found = mounted.cached("file");
    assert_eq!(found, mounted.direct("file"));
    assert_eq!(bits(&found, &stamps(OLD)), 3);
    assert_eq!(bits(&found[part(&RANGE)], &stamps(OLD)[part(&RANGE)]), 3);
    assert!(mounted.direct("other") == stamps(NEW));
}

#[test]
fn corrupt_reads_are_of_one_kind_only() {
    for written_direct in [true, false] {
        let Some(mounted) = prepared(&["corrupt-direct-reads:range=0x4000-0x6000"]) else { return };
        mounted.write("file", written_direct, 0, &stamps(NEW));
        assert!(mounted.cached("file") == stamps(NEW));
        assert_eq!(bits(&mounted.disk("file"), &stamps(NEW)), 1);
        let Some(mounted) = prepared(&["corrupt-cached-reads:range=0x4000-0x6000"]) else { return };
        mounted.write("file", written_direct, 0, &stamps(NEW));
        let found = mounted.cached("file");
        assert!(bits(&found, &stamps(NEW)) > 0, "written by direct I/O: {written_direct}");
        assert!(differences(&found, &stamps(NEW)).iter().all(|range| RANGE.contains(&range.start)));
        assert!(mounted.disk("file") == stamps(NEW));
    }
}

#[test]
fn the_same_seed_and_requests_give_the_same_faults() {
    let run = |seed: u32| {
        let mounted = prepared(&[&format!("drop-write:probability=300:seed={seed}")])?;
        let file = mounted.open("file", true);
        for generation in 2..8 {
            for (index, block) in stamps(Key { generation, ..NEW }).chunks(512).enumerate() {
                file.write_all_at(block, index as u64 * 512).unwrap();
            }
        }
        Some((mounted.fired(), mounted.direct("file")))
    };
    let Some(first) = run(1) else { return };
    assert_eq!(Some(&first), run(1).as_ref());
    assert_ne!(first.0, run(2).unwrap().0);
    // 768 requests, of which 230 are expected: far beyond six standard deviations (76).
    assert!((150..310).contains(&first.0.len()), "{}", first.0.len());
}

#[test]
fn rules_are_about_files_kinds_of_io_and_counts() {
    let Some(mounted) = prepared(&["drop-write:file=/d/*:io=direct:count=2"]) else { return };
    std::fs::create_dir(mounted.path("d")).unwrap();
    for (name, direct) in [("file", true), ("d/f", false), ("d/f", true), ("d/g", true), ("d/f", true)] {
        mounted.write(name, direct, 0, &stamps(NEW)[..4096]);
        mounted.write(name, direct, 0, &stamps(Key { generation: 3, ..NEW })[..4096]);
    }
    // Of the first pair that it is about, one write makes no difference to what is there.
    let fired = mounted.client.fired().unwrap();
    assert_eq!(fired.counts, [2]);
    assert_eq!(fired.fired.iter().map(|fired| fired.path.as_str()).collect::<Vec<_>>(), ["/d/f", "/d/g"]);
}

#[test]
fn every_fault_has_a_test() {
    let tests = include_str!("faults.rs");
    for row in TABLE {
        assert!(tests.matches(&format!("\"{}", row.name)).count() > 0, "{}", row.name);
    }
    assert_eq!(TABLE[0].fault, Fault::DropWrite);
}

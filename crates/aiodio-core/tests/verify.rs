//! Every fault that can be planted in a file is found, with its extent, and called by its name.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aiodio_core::oracle::{Change, Content, Ending, Expected, Oracle};
use aiodio_core::stamp::{Key, SECTOR, SECTOR_BYTES, STALE_DISK_FILE};
use aiodio_core::verify::{self, BadRange, Kind, Level, Outcome, TornWith, check_memory};
use aiodio_core::workload::fill::fill;
use common::{KEY, check, workplaces};
use proptest::prelude::*;

const BYTES: u64 = 256 << 10;
const SECTORS: u64 = BYTES / SECTOR;

/// What the file holds after `plant`, by both levels, which must agree.
fn after(place: &Path, bytes: u64, plant: impl Fn(&File)) -> Outcome {
    let path = place.join("file");
    let _ = std::fs::remove_file(&path);
    fill(&path, bytes, KEY).unwrap();
    plant(&File::options().read(true).write(true).open(&path).unwrap());
    let cache = check(&path, bytes, Level::Cache);
    let disk = check(&path, bytes, Level::Disk);
    assert!(cache.error.is_none() && disk.error.is_none(), "{cache:?} {disk:?}");
    if disk.direct {
        assert_eq!(cache.ranges, disk.ranges);
        assert_eq!((cache.sectors, cache.sectors_bad), (disk.sectors, disk.sectors_bad));
    }
    cache
}

fn stamped(key: Key, sector: u64, count: u64) -> Vec<u8> {
    let mut memory = vec![0; (count * SECTOR) as usize];
    key.fill(sector * SECTOR, &mut memory);
    memory
}

fn write(file: &File, sector: u64, memory: &[u8]) {
    file.write_all_at(memory, sector * SECTOR).unwrap();
}

/// The only range.
fn only(outcome: Outcome) -> BadRange {
    assert_eq!((outcome.ranges.len(), outcome.ranges_total), (1, 1), "{outcome:#?}");
    outcome.ranges.into_iter().next().unwrap()
}

fn each_place(test: impl Fn(&Path)) {
    for place in workplaces() {
        test(place.path());
    }
}

#[test]
fn an_undamaged_file_of_any_length_is_good() {
    each_place(|place| {
        for bytes in [0, 1, 31, 32, 511, 512, 513, 4096, 100_000, BYTES, (1 << 20) + 4096, (2 << 20) + 1] {
            let outcome = after(place, bytes, |_| {});
            assert!(outcome.is_good(), "{bytes}: {outcome:?}");
            assert_eq!(outcome.sectors, bytes.div_ceil(SECTOR));
        }
    });
}

#[test]
fn zeros_stale_and_foreign_sectors_are_told_apart() {
    each_place(|place| {
        let range = only(after(place, BYTES, |file| write(file, 8, &[0; 4096])));
        assert_eq!((range.kind, range.offset, range.bytes), (Kind::Zeros, 4096, 4096));

        let old = Key { generation: KEY.generation - 1, ..KEY };
        let range = only(after(place, BYTES, |file| write(file, 9, &stamped(old, 9, 3))));
        assert_eq!((range.kind, range.offset, range.bytes), (Kind::Stale, 9 * 512, 3 * 512));
        assert_eq!((range.generation, range.file), (Some(old.generation), Some(KEY.file)));

        let other = Key { file: 99, ..KEY };
        let range = only(after(place, BYTES, |file| write(file, 9, &stamped(other, 70, 3))));
        assert_eq!((range.kind, range.file, range.from_offset), (Kind::OtherFile, Some(99), Some(70 * 512)));

        let run = Key { seed: 1, ..KEY };
        let range = only(after(place, BYTES, |file| write(file, 0, &stamped(run, 0, 1))));
        assert_eq!((range.kind, range.seed), (Kind::OtherRun, Some(1)));

        // Of whatever run, at whatever offset; and also when only a part of the sector shows it.
        let before = Key { seed: 7, file: STALE_DISK_FILE, generation: 0 };
        let range = only(after(place, BYTES, |file| write(file, 9, &stamped(before, 70, 3))));
        assert_eq!((range.kind, range.bytes), (Kind::StaleDisk, 3 * 512));
        let range = only(after(place, BYTES, |file| write(file, 9, &stamped(before, 9, 1)[..256])));
        assert_eq!((range.kind, range.torn_with), (Kind::Torn, Some(TornWith::StaleDisk)));
    });
}

#[test]
fn swapped_blocks_and_a_shift_by_one_sector_are_misplaced() {
    each_place(|place| {
        let outcome = after(place, BYTES, |file| {
            write(file, 16, &stamped(KEY, 64, 8));
            write(file, 64, &stamped(KEY, 16, 8));
        });
        assert_eq!(outcome.sectors_bad, 16);
        let found: Vec<_> = outcome.ranges.iter().map(|r| (r.kind, r.offset, r.bytes, r.from_offset)).collect();
        assert_eq!(found, [(Kind::Misplaced, 8192, 4096, Some(32768)), (Kind::Misplaced, 32768, 4096, Some(8192))]);

        let range = only(after(place, BYTES, |file| write(file, 100, &stamped(KEY, 99, 50))));
        assert_eq!((range.kind, range.offset, range.bytes), (Kind::Misplaced, 100 * 512, 50 * 512));
        assert_eq!(range.from_offset, Some(99 * 512));

        // Each of these goes somewhere else, so they are not one range.
        let outcome = after(place, BYTES, |file| {
            write(file, 10, &stamped(KEY, 20, 1));
            write(file, 11, &stamped(KEY, 40, 1));
        });
        assert_eq!(outcome.ranges_total, 2);
    });
}

#[test]
fn a_flipped_bit_is_a_mutation_of_one_bit() {
    each_place(|place| {
        for at in [0, 10, 31, 32, 300, 479, 480, 507, 511_u64] {
            let range = only(after(place, BYTES, |file| {
                let mut byte = [0];
                file.read_exact_at(&mut byte, 5 * SECTOR + at).unwrap();
                file.write_all_at(&[byte[0] ^ 4], 5 * SECTOR + at).unwrap();
            }));
            assert_eq!((range.kind, range.offset, range.bytes), (Kind::Mutated, 5 * 512, 512), "byte {at}");
            assert_eq!((range.differing_bytes, range.differing_bits), (1, 1));
            assert_eq!(range.first_difference, Some(5 * SECTOR + at));
            let shown = (5 * SECTOR + at - range.shown_at) as usize;
            assert_eq!((range.shown_at % 16, range.found[shown] ^ range.expected[shown]), (0, 4));
        }
    });
}

#[test]
fn torn_sectors_name_what_they_are_torn_with() {
    each_place(|place| {
        let old = stamped(Key { generation: 1, ..KEY }, 7, 1);
        let elsewhere = stamped(KEY, 50, 1);
        let other = stamped(Key { seed: 9, ..KEY }, 7, 1);
        let noise: Vec<u8> = (0..512_u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let cases = [
            (vec![0; 512], TornWith::Zeros, None),
            (old, TornWith::Stale, Some(1)),
            (elsewhere, TornWith::Misplaced, Some(KEY.generation)),
            (other, TornWith::Other, Some(KEY.generation)),
            (noise, TornWith::Other, None),
        ];
        for (foreign, with, generation) in cases {
            for cut in [64, 200, 256, 448] {
                // The foreign part at the start, then at the end.
                for (from, to) in [(0, cut), (cut, 512)] {
                    let range = only(after(place, BYTES, |file| {
                        file.write_all_at(&foreign[from..to], 7 * SECTOR + from as u64).unwrap();
                    }));
                    assert_eq!(range.kind, Kind::Torn, "{with:?} {from}..{to}: {range:?}");
                    assert_eq!(range.torn_with, Some(with), "{from}..{to}: {range:?}");
                    assert_eq!(range.generation, generation, "{from}..{to}");
                    let first = range.first_difference.unwrap() - 7 * SECTOR;
                    assert!((from as u64..from as u64 + 40).contains(&first));
                }
            }
        }
    });
}

#[test]
fn noise_is_garbage() {
    each_place(|place| {
        let range = only(after(place, BYTES, |file| write(file, 3, &[0xa5; 2 * SECTOR_BYTES])));
        assert_eq!((range.kind, range.offset, range.bytes), (Kind::Garbage, 3 * 512, 1024));
    });
}

#[test]
fn a_file_that_is_too_short_or_too_long_is_told() {
    each_place(|place| {
        for (cut, sectors) in [(4096, 8), (1, 1), (513, 2), (BYTES, SECTORS)] {
            let outcome = after(place, BYTES, |file| file.set_len(BYTES - cut).unwrap());
            assert_eq!((outcome.bytes_found, outcome.sectors_bad), (BYTES - cut, sectors));
            let range = only(outcome);
            assert_eq!((range.kind, range.offset, range.bytes), (Kind::Missing, BYTES - cut, cut));
        }
        // The sector that the file ends in is bad for two reasons, and one sector.
        let outcome = after(place, BYTES, |file| {
            file.set_len(BYTES - 100).unwrap();
            write(file, SECTORS - 1, &[0; 412]);
        });
        assert_eq!((outcome.sectors_bad, outcome.ranges_total), (1, 2));

        let outcome = after(place, BYTES, |file| file.set_len(BYTES + 4096).unwrap());
        assert_eq!((outcome.bytes_found, outcome.sectors_bad), (BYTES + 4096, 0));
        assert!(!outcome.is_good());
        let range = only(outcome);
        assert_eq!((range.kind, range.offset, range.bytes), (Kind::BeyondEnd, BYTES, 4096));
    });
}

#[test]
fn the_last_sector_of_an_odd_length_is_compared_too() {
    each_place(|place| {
        let bytes = 10 * SECTOR + 100;
        let range = only(after(place, bytes, |file| file.write_all_at(b"!", bytes - 1).unwrap()));
        assert_eq!((range.kind, range.bytes, range.differing_bytes), (Kind::Mutated, 100, 1));
        let old = stamped(Key { generation: 1, ..KEY }, 10, 1);
        let range = only(after(place, bytes, |file| write(file, 10, &old[..100])));
        assert_eq!((range.kind, range.generation), (Kind::Stale, Some(1)));
        let range = only(after(place, bytes, |file| write(file, 10, &[0; 100])));
        assert_eq!(range.kind, Kind::Zeros);
    });
}

#[test]
fn the_number_of_described_ranges_is_limited_and_the_others_are_counted() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    fill(&path, BYTES, KEY).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for sector in (0..SECTORS).step_by(2) {
        write(&file, sector, &[0; 512]);
    }
    for max in [0, 1, 16] {
        let options =
            verify::Options { path: path.clone(), offset: 0, bytes: BYTES, key: KEY, level: Level::Cache, ranges_max: max };
        let outcome = verify::verify(&options);
        assert_eq!(outcome.ranges.len(), max);
        assert_eq!((outcome.ranges_total, outcome.sectors_bad), (SECTORS / 2, SECTORS / 2));
    }
}

#[test]
fn nothing_is_claimed_about_a_disk_that_does_not_exist() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    let place = tempfile::tempdir_in(shm).unwrap();
    let path = place.path().join("file");
    fill(&path, BYTES, KEY).unwrap();
    let outcome = check(&path, BYTES, Level::Disk);
    assert!(!outcome.direct && outcome.error.is_none());
    assert_eq!(outcome.sectors, 0);
    assert!(check(&path, BYTES, Level::Cache).is_good());
}

#[test]
fn a_missing_file_is_an_error() {
    let outcome = check(Path::new("/nonexistent/file"), BYTES, Level::Disk);
    assert_eq!(outcome.error.unwrap().errno, Some(aiodio_core::error::Errno(libc::ENOENT)));
}

/// A fault whose effect on each sector is known.
#[derive(Clone, Debug)]
enum Fault {
    Zero,
    Stale(u32),
    Shift(u64),
    OtherFile(u32),
    OtherRun(u64),
    Flip(u64),
    TornTail(usize),
}

fn any_fault() -> impl Strategy<Value = (u64, u64, Fault)> {
    let fault = prop_oneof![
        Just(Fault::Zero),
        (0..KEY.generation).prop_map(Fault::Stale),
        (1..1000_u64).prop_map(Fault::Shift),
        (10..20_u32).prop_map(Fault::OtherFile),
        (1..1000_u64).prop_map(Fault::OtherRun),
        (0..SECTOR * 8).prop_map(Fault::Flip),
        (64..448_usize).prop_map(Fault::TornTail),
    ];
    (0..SECTORS, 1..20_u64, fault)
}

fn plant(file: &File, sector: u64, fault: &Fault) -> Kind {
    let right = stamped(KEY, sector, 1);
    let (memory, kind) = match *fault {
        Fault::Zero => (vec![0; 512], Kind::Zeros),
        Fault::Stale(generation) => (stamped(Key { generation, ..KEY }, sector, 1), Kind::Stale),
        Fault::Shift(by) => (stamped(KEY, sector + by, 1), Kind::Misplaced),
        Fault::OtherFile(number) => (stamped(Key { file: number, ..KEY }, sector, 1), Kind::OtherFile),
        Fault::OtherRun(seed) => (stamped(Key { seed, ..KEY }, sector, 1), Kind::OtherRun),
        Fault::Flip(bit) => {
            let mut memory = right;
            memory[(bit / 8) as usize] ^= 1 << (bit % 8);
            (memory, Kind::Mutated)
        }
        Fault::TornTail(cut) => {
            let mut memory = right;
            memory[cut..].copy_from_slice(&stamped(Key { generation: 1, ..KEY }, sector, 1)[cut..]);
            (memory, Kind::Torn)
        }
    };
    write(file, sector, &memory);
    kind
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_faults_are_all_found_and_named(faults in prop::collection::vec(any_fault(), 1..12)) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fill(&path, BYTES, KEY).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let mut expected = vec![None; SECTORS as usize];
        for (first, count, fault) in &faults {
            for sector in *first..SECTORS.min(first + count) {
                // Later faults cover earlier ones.
                expected[sector as usize] = Some(plant(&file, sector, fault));
            }
        }
        let options = verify::Options { path, offset: 0, bytes: BYTES, key: KEY, level: Level::Cache, ranges_max: usize::MAX };
        let outcome = verify::verify(&options);
        let mut found = vec![None; SECTORS as usize];
        for range in &outcome.ranges {
            prop_assert_eq!(range.bytes % SECTOR, 0);
            for sector in range.offset / SECTOR..(range.offset + range.bytes) / SECTOR {
                prop_assert!(found[sector as usize].replace(range.kind).is_none(), "ranges overlap");
            }
        }
        prop_assert_eq!(outcome.sectors_bad, expected.iter().flatten().count() as u64);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn long_holes_are_not_read_but_what_lies_in_them_is_found() {
    for place in workplaces() {
        let path = place.path().join("sparse");
        let file = std::fs::File::create(&path).unwrap();
        let mut oracle = Oracle::new(KEY.seed, KEY.file);
        let mut write = |offset: u64| {
            let mut data = vec![0; 5000];
            oracle.stamps(1).fill_from(offset, &mut data);
            file.write_all_at(&data, offset).unwrap();
            let change = oracle.begin(Change::write(offset, 5000, 1));
            oracle.end(change, Ending::Done);
        };
        for offset in [0, 200_000, 100 << 20] {
            write(offset);
        }
        for level in [Level::Cache, Level::Disk] {
            let found = verify::verify_expected(&path, &oracle, level, 4);
            assert!(found.is_good(), "{found:?}");
            assert_eq!((found.bytes_found, found.sectors), ((100 << 20) + 5000, ((100_u64 << 20) + 5000).div_ceil(512)));
        }
        // Where nothing was written.
        file.write_all_at(&[7; 10], 50 << 20).unwrap();
        for level in [Level::Cache, Level::Disk] {
            let found = verify::verify_expected(&path, &oracle, level, 4);
            assert_eq!((found.ranges_total, found.ranges[0].first_difference), (1, Some(50 << 20)), "{level:?}");
        }
    }
}

/// Says nothing of one byte, at the start, inside, or at the end.
struct Gap(u64);

impl Expected for Gap {
    fn key(&self) -> Key {
        KEY
    }
    fn sizes(&self) -> std::ops::RangeInclusive<u64> {
        0..=u64::MAX
    }
    fn each(&self, range: std::ops::Range<u64>, visit: &mut dyn FnMut(std::ops::Range<u64>, &[Content])) {
        for part in [range.start..self.0, self.0 + 1..range.end] {
            if !part.is_empty() {
                visit(part, &[Content::Zeros]);
            }
        }
    }
}

#[test]
fn an_expectation_with_a_gap_is_a_bug_of_the_test_and_no_pass() {
    for gap in [0, 700, 2047] {
        let checked = std::panic::catch_unwind(|| check_memory(&Gap(gap), 0, &[0; 2048], 1));
        assert!(checked.is_err(), "byte {gap}");
    }
}

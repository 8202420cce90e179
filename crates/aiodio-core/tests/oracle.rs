//! The oracle against a model that is slow and obviously right, over random histories of overlapping changes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a test fails")]

use aiodio_core::oracle::{Change, ChangeId, Content, Ending, Expected, Oracle, ReadId};
use aiodio_core::verify::{Kind, check_memory};
use proptest::prelude::*;

const SEED: u64 = 77;
const FILE: u32 = 3;
const BYTES: u64 = 8 * 512;

/// One step of a history. Positions are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// A write or, without a generation, a punch.
    Begin {
        offset: u64,
        bytes: u64,
        write: bool,
    },
    End {
        which: usize,
        ending: Ending,
        effect: u64,
    },
    BeginRead,
    EndRead {
        which: usize,
    },
}

/// What the model remembers of a change: all of it, for ever.
#[derive(Clone, Debug)]
struct Past {
    range: std::ops::Range<u64>,
    content: Content,
    begun: u64,
    ended: Option<u64>,
    /// Bytes from the start that were certainly done.
    clean: u64,
}

/// The definition: a content is right at a moment when the change that makes it has been submitted, and no change that was
/// submitted after that one had ended has ended cleanly before the moment.
fn right_at(history: &[Past], byte: u64, since: u64, now: u64) -> Vec<Content> {
    let covers = |past: &&Past| past.range.contains(&byte) && past.begun <= now;
    let base = Past { range: 0..u64::MAX, content: Content::Zeros, begun: 0, ended: Some(0), clean: u64::MAX };
    let all: Vec<&Past> = std::iter::once(&base).chain(history.iter().filter(covers)).collect();
    let mut contents = Vec::new();
    for candidate in &all {
        let superseded = all.iter().any(|other| {
            candidate.ended.is_some_and(|ended| other.begun > ended)
                && byte < other.range.start.saturating_add(other.clean)
                && other.ended.is_some_and(|ended| ended <= since)
        });
        if !superseded {
            contents.push(candidate.content);
        }
    }
    contents.sort_unstable();
    contents.dedup();
    contents
}

fn contents_of(expected: &dyn Expected, byte: u64) -> Vec<Content> {
    let mut found = Vec::new();
    expected.each(byte..byte + 1, &mut |range, contents| {
        assert_eq!(range, byte..byte + 1);
        found = contents.to_vec();
    });
    found
}

fn step() -> impl Strategy<Value = Step> {
    // Some aligned, some not; lengths of a few sectors.
    let at = prop_oneof![(0..8_u64).prop_map(|sector| sector * 512), 0..BYTES];
    let bytes = prop_oneof![(1..5_u64).prop_map(|sectors| sectors * 512), 1..2000_u64];
    let ending = prop_oneof![4 => Just(Ending::Done), 1 => Just(Ending::Failed), 1 => (0..2000_u64).prop_map(Ending::Partial)];
    prop_oneof![
        4 => (at, bytes, prop::bool::weighted(0.8)).prop_map(|(offset, bytes, write)| Step::Begin { offset, bytes, write }),
        4 => (any::<usize>(), ending, any::<u64>()).prop_map(|(which, ending, effect)| Step::End { which, ending, effect }),
        1 => Just(Step::BeginRead),
        1 => any::<usize>().prop_map(|which| Step::EndRead { which }),
    ]
}

/// A file as a kernel could have it that does everything right: a change takes effect at one moment between its submission and
/// its end; what has no clean end takes effect up to any byte.
struct Kernel {
    memory: Vec<u8>,
}

impl Kernel {
    fn apply(&mut self, oracle: &Oracle, past: &Past, bytes: u64) {
        let start = past.range.start.min(BYTES) as usize;
        let end = past.range.end.min(past.range.start + bytes).min(BYTES) as usize;
        if start >= end {
            return;
        }
        let new = image(oracle, past.content);
        self.memory[start..end].copy_from_slice(&new[start..end]);
    }
}

fn image(oracle: &Oracle, content: Content) -> Vec<u8> {
    let mut memory = vec![0; BYTES as usize];
    if let Content::Stamp(generation) = content {
        oracle.stamps(generation).fill(0, &mut memory);
    }
    memory
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 150 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_the_definition_raises_no_false_alarm_and_misses_nothing(
        steps in prop::collection::vec(step(), 1..60),
        strange in 0..8_usize,
    ) {
        let mut oracle = Oracle::new(SEED, FILE);
        let mut kernel = Kernel { memory: vec![0; BYTES as usize] };
        let mut history: Vec<Past> = Vec::new();
        let mut open: Vec<(ChangeId, usize)> = Vec::new();
        // Moment of submission, and the contents of the file at the moments since.
        let mut reads: Vec<(ReadId, u64, Vec<Vec<u8>>)> = Vec::new();
        let mut now = 0;
        for (number, step) in steps.iter().enumerate() {
            now += 1;
            match *step {
                Step::Begin { offset, bytes, write } => {
                    let generation = number as u32 + 1;
                    let change = if write { Change::write(offset, bytes, generation) } else { Change::zero(offset, bytes) };
                    let (range, content) = (change.range.clone(), change.content);
                    open.push((oracle.begin(change), history.len()));
                    history.push(Past { range, content, begun: now, ended: None, clean: 0 });
                }
                Step::End { which, ending, effect } => {
                    if open.is_empty() {
                        continue;
                    }
                    let (id, index) = open.swap_remove(which % open.len());
                    let past = &mut history[index];
                    let all = past.range.end - past.range.start;
                    past.clean = match ending {
                        Ending::Done => u64::MAX,
                        Ending::Partial(bytes) => bytes,
                        Ending::Failed => 0,
                    };
                    let sure = past.clean.min(all);
                    let done = sure + effect % (all - sure + 1);
                    kernel.apply(&oracle, &past.clone(), done);
                    for (_, _, seen) in &mut reads {
                        seen.push(kernel.memory.clone());
                    }
                    history[index].ended = Some(now);
                    oracle.end(id, ending);
                }
                Step::BeginRead => reads.push((oracle.begin_read(), now, vec![kernel.memory.clone()])),
                Step::EndRead { which } => {
                    if reads.is_empty() {
                        continue;
                    }
                    let (id, since, seen) = reads.swap_remove(which % reads.len());
                    {
                        let view = oracle.seen_by(id);
                        for byte in (0..BYTES).step_by(251) {
                            prop_assert_eq!(contents_of(&view, byte), right_at(&history, byte, since, now), "byte {}", byte);
                        }
                        for memory in &seen {
                            prop_assert_eq!(check_memory(&view, 0, memory, 9).ranges, vec![]);
                        }
                    }
                    oracle.end_read(id);
                }
            }
            for byte in (0..BYTES).step_by(97) {
                prop_assert_eq!(contents_of(&oracle, byte), right_at(&history, byte, now, now), "byte {} after {:?}", byte, step);
            }
            let found = check_memory(&oracle, 0, &kernel.memory, 9);
            prop_assert_eq!(found.ranges, vec![], "a false alarm after {:?}", step);
        }
        for (id, index) in open.drain(..) {
            now += 1;
            kernel.apply(&oracle, &history[index].clone(), u64::MAX / 2);
            oracle.end(id, Ending::Done);
            history[index].ended = Some(now);
            history[index].clean = u64::MAX;
        }
        for (id, ..) in reads.drain(..) {
            oracle.end_read(id);
        }
        prop_assert_eq!(check_memory(&oracle, 0, &kernel.memory, 9).ranges, vec![]);
        prop_assert!(oracle.ranges() <= 3 * history.len() + 1);
        // A sector in which a generation stands that is not right there is flagged, in that sector and only there.
        let sector = strange as u64;
        let bytes = sector as usize * 512..(sector as usize + 1) * 512;
        for generation in 0..=steps.len() as u32 + 1 {
            let mut memory = kernel.memory.clone();
            memory[bytes.clone()].copy_from_slice(&image(&oracle, Content::Stamp(generation))[bytes.clone()]);
            // Stamps of two generations have some bytes in common.
            let allowed = bytes.clone().all(|byte| {
                let contents = right_at(&history, byte as u64, now, now);
                contents.iter().any(|content| image(&oracle, *content)[byte] == memory[byte])
            });
            let found = check_memory(&oracle, 0, &memory, 9);
            prop_assert_eq!(found.sectors_bad == 0, allowed, "generation {}: {:?}", generation, found.ranges);
            if !allowed {
                prop_assert!(found.ranges.iter().all(|range| range.offset / 512 == sector));
            }
        }
    }

    #[test]
    fn what_overlapped_nothing_is_forgotten_whatever_the_order(order in prop::collection::vec(0..64_u64, 1..300)) {
        let mut oracle = Oracle::new(SEED, FILE);
        for block in order {
            let id = oracle.begin(Change::write(block * 4096, 4096, 1));
            oracle.end(id, Ending::Done);
        }
        // All of one generation: apart from holes between the blocks there is nothing to tell apart.
        prop_assert!(oracle.ranges() <= 129);
        for block in 0..64 {
            let id = oracle.begin(Change::write(block * 4096, 4096, 2));
            oracle.end(id, Ending::Done);
        }
        prop_assert_eq!(oracle.ranges(), 2);
    }
}

fn write(oracle: &mut Oracle, offset: u64, bytes: u64, generation: u32, ending: Ending) {
    let id = oracle.begin(Change::write(offset, bytes, generation));
    oracle.end(id, ending);
}

fn sectors(oracle: &Oracle, contents: &[Content]) -> Vec<u8> {
    let images: Vec<_> = contents.iter().map(|content| image(oracle, *content)).collect();
    images.iter().enumerate().flat_map(|(sector, image)| image[sector * 512..(sector + 1) * 512].to_vec()).collect()
}

#[test]
fn fio_users_false_alarms_stay_quiet() {
    use Content::{Stamp, Zeros};
    // Two writes in flight over one block: either may win, also sector by sector.
    let mut oracle = Oracle::new(SEED, FILE);
    let first = oracle.begin(Change::write(0, 1024, 1));
    let second = oracle.begin(Change::write(0, 1024, 2));
    oracle.end(first, Ending::Done);
    oracle.end(second, Ending::Done);
    for memory in [[Stamp(1), Stamp(1)], [Stamp(2), Stamp(2)], [Stamp(1), Stamp(2)]] {
        assert_eq!(check_memory(&oracle, 0, &sectors(&oracle, &memory), 9).ranges, []);
    }
    assert_eq!(check_memory(&oracle, 0, &sectors(&oracle, &[Stamp(1), Zeros]), 9).sectors_bad, 1);

    // A write that failed with EIO, and one that was cancelled: both the old and the new are fine, until something else is written.
    let mut oracle = Oracle::new(SEED, FILE);
    write(&mut oracle, 0, 1024, 1, Ending::Done);
    write(&mut oracle, 0, 1024, 2, Ending::Failed);
    for memory in [[Stamp(1), Stamp(1)], [Stamp(2), Stamp(2)], [Stamp(2), Stamp(1)]] {
        assert_eq!(check_memory(&oracle, 0, &sectors(&oracle, &memory), 9).ranges, []);
    }
    assert_eq!(check_memory(&oracle, 0, &sectors(&oracle, &[Zeros, Stamp(1)]), 9).sectors_bad, 1);
    write(&mut oracle, 0, 1024, 3, Ending::Done);
    for old in [1, 2] {
        let found = check_memory(&oracle, 0, &sectors(&oracle, &[Stamp(3), Stamp(old)]), 9);
        assert_eq!(found.ranges.iter().map(|range| range.kind).collect::<Vec<_>>(), [Kind::Stale]);
    }

    // A write cut short in the middle of a sector: new up to there for sure, behind it perhaps.
    let mut oracle = Oracle::new(SEED, FILE);
    write(&mut oracle, 0, 1024, 1, Ending::Done);
    write(&mut oracle, 0, 1024, 2, Ending::Partial(700));
    let (old, new) = (sectors(&oracle, &[Stamp(1); 2]), sectors(&oracle, &[Stamp(2); 2]));
    for cut in [700, 800, 1024] {
        assert_eq!(check_memory(&oracle, 0, &[&new[..cut], &old[cut..]].concat(), 9).ranges, [], "new up to {cut}");
    }
    assert_eq!(check_memory(&oracle, 0, &[&new[..600], &old[600..]].concat(), 9).sectors_bad, 1);
}

#[test]
fn fio_users_missed_corruptions_are_found() {
    use Content::{Stamp, Zeros};
    let mut oracle = Oracle::new(SEED, FILE);
    for generation in 1..=3 {
        write(&mut oracle, 0, 1024, generation, Ending::Done);
    }
    // Older data that are valid in themselves.
    let found = check_memory(&oracle, 0, &sectors(&oracle, &[Stamp(3), Stamp(2)]), 9);
    let [range] = found.ranges.as_slice() else { panic!("{found:?}") };
    assert_eq!((range.kind, range.generation, range.right.as_slice()), (Kind::Stale, Some(2), [Stamp(3)].as_slice()));
    // The header is intact and the payload is wrong.
    let mut memory = sectors(&oracle, &[Stamp(3), Stamp(3)]);
    memory[200] ^= 0x40;
    let found = check_memory(&oracle, 0, &memory, 9);
    assert_eq!((found.sectors_bad, found.ranges[0].kind, found.ranges[0].differing_bits), (1, Kind::Mutated, 1));
    // The header is gone: what is there is shown raw.
    let mut memory = sectors(&oracle, &[Stamp(3), Stamp(3)]);
    memory[..512].fill(0xe5);
    let found = check_memory(&oracle, 0, &memory, 9);
    assert_eq!((found.ranges[0].kind, found.ranges[0].found.as_slice()), (Kind::Garbage, [0xe5; 32].as_slice()));
    assert_eq!(&found.ranges[0].expected[..8], b"AIODIO1\n");
    // A hole that shows what was there before.
    let id = oracle.begin(Change::zero(0, 512));
    oracle.end(id, Ending::Done);
    let found = check_memory(&oracle, 0, &sectors(&oracle, &[Stamp(3), Stamp(3)]), 9);
    let [range] = found.ranges.as_slice() else { panic!("{found:?}") };
    assert_eq!((range.kind, range.offset, range.right.as_slice()), (Kind::Stale, 0, [Zeros].as_slice()));
}

#[test]
fn sizes_follow_appends_and_truncates() {
    let mut oracle = Oracle::new(SEED, FILE);
    write(&mut oracle, 0, 4096, 1, Ending::Done);
    assert_eq!(oracle.sizes(), 4096..=4096);
    // In flight: any size on the way.
    let append = oracle.begin(Change::write(4096, 4096, 2));
    assert_eq!(oracle.sizes(), 4096..=8192);
    oracle.end(append, Ending::Done);
    assert_eq!(oracle.sizes(), 8192..=8192);
    // An append that failed may have grown the file; truncating decides it.
    write(&mut oracle, 8192, 4096, 3, Ending::Failed);
    assert_eq!(oracle.sizes(), 8192..=12288);
    let truncate = oracle.begin(Change::truncate(1000));
    assert_eq!(oracle.sizes(), 1000..=12288);
    oracle.end(truncate, Ending::Done);
    assert_eq!(oracle.sizes(), 1000..=1000);
    // Growing again shows zeros, not what was there.
    let truncate = oracle.begin(Change::truncate(4096));
    oracle.end(truncate, Ending::Done);
    assert_eq!(contents_of(&oracle, 1000), [Content::Zeros]);
    assert_eq!(contents_of(&oracle, 999), [Content::Stamp(1)]);
    // A truncate and an append at once: either may be last.
    let append = oracle.begin(Change::write(4096, 4096, 4));
    let truncate = oracle.begin(Change::truncate(2000));
    oracle.end(append, Ending::Done);
    oracle.end(truncate, Ending::Done);
    assert_eq!(oracle.sizes(), 2000..=8192);
    // What only allocates changes no content.
    let allocate = oracle.begin(Change::allocate(0, 1 << 20));
    oracle.end(allocate, Ending::Done);
    assert_eq!(oracle.sizes(), 1 << 20..=1 << 20);
    assert_eq!(contents_of(&oracle, 0), [Content::Stamp(1)]);
}

//! What stamps, oracle and flight recorder cost: a direct copy with them against the same copy without, alternating, in one run; and
//! how fast memory is verified. `cargo bench -p aiodio-core --bench overhead -- DIRECTORY`
#![allow(clippy::unwrap_used, missing_docs, reason = "a panic is how a benchmark fails")]

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aiodio_core::buffer::{Align, Pool};
use aiodio_core::engine::{Kind, Op, Operation, Queue};
use aiodio_core::oracle::{Change, ChangeId, Ending, Oracle, Stamped};
use aiodio_core::recorder::{self, Recorder};
use aiodio_core::stamp::Key;
use aiodio_core::verify::{Level, check_memory, verify_expected};
use aiodio_core::workload::fill::fill;

const BYTES: u64 = 256 << 20;
const BLOCK: usize = 64 << 10;
const DEPTH: usize = 16;
const PAIRS: usize = 15;
const SOURCE: Key = Key { seed: 1, file: 1, generation: 1 };

fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_DIRECT).open(path).unwrap()
}

/// Seconds of one copy. `proven`: each write is tracked by the oracle and recorded, and where `anew` is set its block is stamped with a
/// generation of its own first; else blocks are only moved. (What is read back is verified afterwards, at the speed that is told beside it.)
fn copy(directory: &Path, proven: Option<&mut Oracle>, anew: bool) -> f64 {
    let block = NonZeroUsize::new(BLOCK).unwrap();
    let depth = NonZeroUsize::new(DEPTH).unwrap();
    recorder::set_current(proven.is_some().then(|| Recorder::create(None, recorder::CAPACITY).unwrap()));
    let files = vec![open(&directory.join("source")).into(), open(&directory.join("destination")).into()];
    let mut pool = Pool::new(DEPTH, block, Align::Offset(0)).unwrap();
    let mut queue = Queue::new(Kind::Libaio.open(depth).unwrap(), depth, files, &pool.registrations).unwrap();
    let mut proven = proven;
    let mut changes: Vec<Option<ChangeId>> = vec![None; (BYTES / BLOCK as u64) as usize];
    let mut next = 0;
    let mut done = Vec::new();
    let start = Instant::now();
    loop {
        while next < BYTES
            && let Some(buffer) = pool.buffers.pop()
        {
            queue.push(Operation { op: Op::Read, file: 0, offset: next, bytes: BLOCK, buffer, generation: 0, user_data: () });
            next += BLOCK as u64;
        }
        if queue.in_flight() == 0 {
            break;
        }
        queue.wait(1, &mut done).unwrap();
        for mut completion in done.drain(..) {
            assert_eq!(completion.result, Ok(BLOCK));
            let index = (completion.offset / BLOCK as u64) as usize;
            if completion.op == Op::Write {
                if let (Some(oracle), Some(change)) = (&mut proven, changes[index].take()) {
                    oracle.end(change, Ending::Done);
                }
                pool.buffers.push(completion.buffer);
                continue;
            }
            let mut generation = 0;
            if let Some(oracle) = &mut proven {
                generation = SOURCE.generation;
                if anew {
                    generation = index as u32 + 1;
                    oracle.stamps(generation).fill(completion.offset, &mut completion.buffer);
                }
                changes[index] = Some(oracle.begin(Change::write(completion.offset, BLOCK as u64, generation)));
            }
            let offset = completion.offset;
            queue.push(Operation {
                op: Op::Write,
                file: 1,
                offset,
                bytes: BLOCK,
                buffer: completion.buffer,
                generation,
                user_data: (),
            });
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(queue.finish().leaked_buffers, 0);
    recorder::set_current(None);
    seconds
}

/// What this thread has had of a processor.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let parent = std::env::args().skip(1).find(|word| !word.starts_with('-')).map_or_else(std::env::temp_dir, PathBuf::from);
    let place = tempfile::tempdir_in(parent).unwrap();
    let directory = place.path();
    fill(&directory.join("source"), BYTES, SOURCE).unwrap();
    let drop_cache =
        || verify_expected(&directory.join("source"), &Stamped { key: SOURCE, offset: 0, bytes: BYTES }, Level::Disk, 1);
    assert!(drop_cache().is_good());
    copy(directory, None, false);
    for (anew, what) in [(false, "oracle and recorder, stamps as the source has them"), (true, "oracle, recorder and new stamps")] {
        let mut ratios = Vec::new();
        for _ in 0..PAIRS {
            let mut oracle = Oracle::new(SOURCE.seed, SOURCE.file);
            let plain = copy(directory, None, false);
            ratios.push(copy(directory, Some(&mut oracle), anew) / plain);
            let found = verify_expected(&directory.join("destination"), &oracle, Level::Disk, 1);
            assert!(found.is_good(), "{found:?}");
        }
        let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        println!("copy 64k depth 16 with {what} / without: {:.3} ({low:.2} to {high:.2})", median(ratios));
    }

    let mut memory = vec![0; 1 << 20];
    SOURCE.fill(0, &mut memory);
    let expected = Stamped { key: SOURCE, offset: 0, bytes: BYTES };
    let rounds: u32 = 2000;
    let start = processor_seconds();
    for _ in 0..rounds {
        assert_eq!(check_memory(&expected, 0, &memory, 1).sectors_bad, 0);
    }
    let check = f64::from(rounds) * memory.len() as f64 / (processor_seconds() - start) / 1e9;
    let start = processor_seconds();
    for _ in 0..rounds {
        SOURCE.fill(0, &mut memory);
    }
    let stamp = f64::from(rounds) * memory.len() as f64 / (processor_seconds() - start) / 1e9;
    println!("one core: verification {check:.1} GB/s, stamping {stamp:.1} GB/s");
}

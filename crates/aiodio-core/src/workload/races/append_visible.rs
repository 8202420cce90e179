use std::sync::atomic::{AtomicBool, Ordering};

use super::{Course, Race, Stop, size_of};
use crate::error::{Error, Result, Step};
use crate::oracle::{Content, OneOf};
use crate::sys::{File, Flags};
use crate::verify::check_memory;
use crate::workload::shared::finding::Finding;
use crate::workload::shared::overlap::{self, Side};

pub(super) const RACE: Race = Race {
    name: "append-visible",
    story: "a reader sees the size of an appending write before its data (generic/465, 207)",
    proven: "below the size that a reader saw there were never zeros",
    on_request: false,
    run,
};

/// Blocks that a round appends.
const APPENDS: usize = 8;

fn run(course: &mut Course<'_>) -> Result<()> {
    let unit = course.unit();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let pool = course.pool(1)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    while course.next() {
        course.resize(&buffered, 0)?;
        let (over, reads) = (AtomicBool::new(false), Side::default());
        let key = course.key(course.round);
        let mut back = course.pool(1)?.buffers.remove(0);
        let reading = File::open_to_read(&course.options.path, Flags::DIRECT)?;
        let round = course.round;
        let seen = std::thread::scope(|scope| -> Result<Option<Finding>> {
            let reader = scope.spawn(|| {
                let mut seen: Option<Finding> = None;
                loop {
                    // The last look is at the finished file, so that there is one.
                    let last = over.load(Ordering::SeqCst);
                    let size = size_of(&direct) as usize;
                    if size < unit {
                        if last {
                            break;
                        }
                        std::thread::yield_now();
                        continue;
                    }
                    let offset = (size - unit) as u64;
                    let finding = |kind, detail: String| Finding::new(kind, offset, unit as u64, detail).round(round);
                    let below = "below the size that the reader had seen";
                    // The file only grows in a round: what a size has promised can be read.
                    // What an earlier read left there must not pass for what this one brings.
                    back.fill(0x5a);
                    let found = match reads.during(|| reading.read(&mut back[..], offset)) {
                        Ok(got) if got == unit => {
                            let contents = vec![Content::Stamp(key.generation)];
                            let expected = OneOf { key, sizes: 0..=u64::MAX, contents };
                            let bad = check_memory(&expected, offset, &back, 1).ranges.into_iter().next();
                            bad.map(|range| finding("early-size", below.to_owned()).ranges(vec![range], 1))
                        }
                        Ok(got) => Some(finding("short-read", format!("{got} of {unit} bytes could be read {below}"))),
                        Err(errno) => Some(finding("read-error", below.to_owned()).errno(errno)),
                    };
                    seen = seen.or(found);
                    if last {
                        break;
                    }
                }
                seen
            });
            // Stops the reader on every path.
            let stop = Stop(&over);
            for index in 0..APPENDS {
                let Some(buffer) = free.pop() else { break };
                course.push(&mut queue, buffer, index * unit, unit);
                let met = overlap::transfer(&mut queue, &mut course.done, &reads, || ())?;
                course.outcome.overlaps += u64::from(met);
                free = course.reap(&mut queue)?;
                let (size, least) = (size_of(&direct), ((index + 1) * unit) as u64);
                if size < least {
                    course.found("size-lost", size, unit, format!("{size} bytes after a write up to byte {least} completed"));
                }
            }
            drop(stop);
            reader.join().map_err(|_| Error::new(Step::Read, "The reader has panicked"))
        })?;
        if let Some(finding) = seen {
            course.outcome.findings.add(finding);
        }
    }
    Ok(())
}

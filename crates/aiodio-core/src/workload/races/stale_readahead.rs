use std::sync::atomic::{AtomicBool, Ordering};

use super::{Course, Race, Stop};
use crate::engine::{Op, Operation};
use crate::error::Result;
use crate::workload::shared::overlap::{self, Side};

pub(super) const RACE: Race = Race {
    name: "stale-readahead",
    story: "readahead fills the page cache with old data during a direct write (generic/209, 418; acc18e1c1d8c in btrfs)",
    proven: "what was read after a direct write was what it wrote",
    on_request: false,
    run,
};

/// Blocks of the file that is read ahead.
const AHEAD: usize = 16;

fn run(course: &mut Course<'_>) -> Result<()> {
    let block = course.whole_blocks();
    let bytes = AHEAD * block;
    let buffered = course.buffered()?;
    course.resize(&buffered, 0)?;
    course.fill(&buffered, bytes, 0)?;
    buffered.fsync()?;
    let pool = Course::pool_of(1, block)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    let (over, readahead) = (AtomicBool::new(false), Side::default());
    std::thread::scope(|scope| {
        let beside = course.buffered()?;
        scope.spawn(|| {
            let beside = beside;
            while !over.load(Ordering::SeqCst) {
                beside.drop_cache(0, 0);
                readahead.during(|| beside.read_ahead(0, bytes as u64));
            }
        });
        let _stop = Stop(&over);
        while course.next() {
            let round = course.round;
            let offset = round as usize % AHEAD * block;
            let Some(mut buffer) = free.pop() else { break };
            course.key(round).fill(offset as u64, &mut buffer);
            queue.push(Operation {
                op: Op::Write,
                file: 0,
                offset: offset as u64,
                bytes: block,
                buffer,
                generation: round,
                user_data: (),
            });
            let met = overlap::transfer(&mut queue, &mut course.done, &readahead, || ())?;
            course.outcome.overlaps += u64::from(met);
            free = course.reap(&mut queue)?;
            course.check_file("stale-cache", &buffered, offset, block, &[round], "read after the direct write completed");
        }
        Ok(())
    })
}

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Course, PIECES, Race, Stop, failed};
use crate::error::{Errno, Result};
use crate::workload::shared::overlap::{self, Side};

pub(super) const RACE: Race = Race {
    name: "direct-toggle",
    story: "O_DIRECT is switched on and off by F_SETFL during AIO (generic/036, CVE-2014-8086)",
    proven: "every write arrived, direct or not",
    on_request: false,
    run,
};

fn run(course: &mut Course<'_>) -> Result<()> {
    // Whole pages: where a direct and a buffered write share one, the page's writeback may lawfully put old data over the direct one.
    let unit = course.whole_blocks();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    course.resize(&buffered, PIECES * unit)?;
    let pool = Course::pool_of(PIECES, unit)?;
    let same = direct.as_fd().try_clone_to_owned();
    let same = same.map_err(|error| failed("dup", &course.options.path, Errno::from(&error)))?;
    let mut queue = course.queue(same, &pool, PIECES)?;
    let mut free = pool.buffers;
    let (over, toggles) = (AtomicBool::new(false), Side::default());
    // SAFETY: an open descriptor.
    let flags = unsafe { libc::fcntl(direct.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(failed("F_GETFL", &course.options.path, Errno::last()));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let flags = flags ^ if toggles.begun() % 2 == 0 { libc::O_DIRECT } else { 0 };
                // SAFETY: an open descriptor.
                toggles.during(|| unsafe { libc::fcntl(direct.as_raw_fd(), libc::F_SETFL, flags) });
            }
        });
        let _stop = Stop(&over);
        while course.next() {
            // The other thread has the processor now, and keeps it for long compared with a round.
            let idle = toggles.begun();
            while toggles.begun() == idle {
                std::thread::yield_now();
            }
            for index in 0..PIECES {
                let Some(buffer) = free.pop() else { break };
                course.push(&mut queue, buffer, index * unit, unit);
            }
            let met = overlap::transfer(&mut queue, &mut course.done, &toggles, || ())?;
            course.outcome.overlaps += u64::from(met);
            free = course.reap(&mut queue)?;
            let round = course.round;
            course.check_file("wrong-data", &buffered, 0, PIECES * unit, &[round], "written while O_DIRECT came and went");
        }
        Ok(())
    })
}

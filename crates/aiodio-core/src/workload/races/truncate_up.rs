use super::{Course, Race, failed, size_of};
use crate::error::Result;

pub(super) const RACE: Race = Race {
    name: "truncate-up",
    story: "a truncate makes the file longer while an AIO write behind its end is in flight (XFS loses the write, as of Linux 6.18; \
            249bd9087a52 mended the same with fallocate)",
    proven: "a completed write survived a truncate to a larger size",
    on_request: true,
    run,
};

/// A multiple of every block size that a filesystem can have, so that XFS need not wait for the write before it returns.
const BEHIND_BYTES: usize = 64 << 10;

fn run(course: &mut Course<'_>) -> Result<()> {
    let bytes = course.unit().max(BEHIND_BYTES);
    let buffered = course.buffered()?;
    let pool = Course::pool_of(1, bytes)?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    while course.next() {
        course.resize(&buffered, 0)?;
        course.fill(&buffered, bytes, 0)?;
        let (round, longer) = (course.round, 4 * bytes);
        let Some(buffer) = free.pop() else { break };
        course.push(&mut queue, buffer, bytes, bytes);
        let path = &course.options.path;
        let truncated = course.beside(&mut queue, || buffered.truncate(longer as u64))?;
        free = course.reap(&mut queue)?;
        truncated.map_err(|errno| failed("ftruncate", path, errno))?;
        // Whichever came first, the write ends before the file does.
        let size = size_of(&buffered);
        if size != longer as u64 {
            course.found("size-lost", size, bytes, format!("{size} bytes after a truncate to {longer}"));
        }
        course.check_file("truncated-away", &buffered, bytes, bytes, &[round], "it completed, and ends before the new end");
        course.check_file("wrong-data", &buffered, 0, bytes, &[0], "before it");
    }
    Ok(())
}

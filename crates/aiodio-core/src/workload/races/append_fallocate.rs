use super::{Course, Race, failed, size_of};
use crate::error::Result;

pub(super) const RACE: Race = Race {
    name: "append-fallocate",
    story: "an appending AIO write loses its size to an fallocate before it (generic/586)",
    proven: "the file was always as long as the completed write reaches",
    on_request: false,
    run,
};

fn run(course: &mut Course<'_>) -> Result<()> {
    let buffered = course.buffered()?;
    let pool = Course::pool_of(1, course.whole_blocks())?;
    let mut queue = course.queue(course.direct()?, &pool, 1)?;
    let mut free = pool.buffers;
    course.outcome.unsupported = Some("fallocate(2)");
    while course.next() {
        course.resize(&buffered, 0)?;
        let bytes = course.piece();
        let Some(buffer) = free.pop() else { break };
        course.push(&mut queue, buffer, bytes, bytes);
        let path = &course.options.path;
        let allocated = course.beside(&mut queue, || buffered.allocate(0, 0, bytes as u64))?;
        free = course.reap(&mut queue)?;
        allocated.map_err(|errno| failed("fallocate", path, errno))?;
        let size = size_of(&buffered);
        if size != 2 * bytes as u64 {
            course.found("size-lost", size, bytes, format!("{size} bytes, {} written and allocated", 2 * bytes));
            continue;
        }
        let round = course.round;
        course.check_file("wrong-data", &buffered, bytes, bytes, &[round], "what the append wrote");
    }
    Ok(())
}

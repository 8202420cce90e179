use super::{Course, PIECES, Race, in_full};
use crate::error::Result;

pub(super) const RACE: Race = Race {
    name: "eof-pieces",
    story: "pieces of one block are written behind the end at once, and each zeroes what is not its own (generic/114)",
    proven: "every piece was there",
    on_request: false,
    run,
};

/// So many of them, the first ones, by `pwrite(2)` beside the others.
const PLAIN_PIECES: usize = 2;

fn run(course: &mut Course<'_>) -> Result<()> {
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let pool = Course::pool_of(PIECES, course.whole_blocks())?;
    let mut queue = course.queue(course.direct()?, &pool, PIECES)?;
    let mut free = pool.buffers;
    let mut rest = free.split_off(PIECES - PLAIN_PIECES);
    while course.next() {
        course.resize(&buffered, 0)?;
        let (bytes, round) = (course.piece(), course.round);
        for index in PLAIN_PIECES..PIECES {
            let Some(buffer) = free.pop() else { break };
            // The last first: it extends the file, the others fill in.
            course.push(&mut queue, buffer, (PIECES + PLAIN_PIECES - 1 - index) * bytes, bytes);
        }
        for (index, buffer) in rest.iter_mut().enumerate() {
            course.key(round).fill((index * bytes) as u64, &mut buffer[..bytes]);
        }
        let path = &course.options.path;
        let written = course.beside(&mut queue, || {
            let mut pieces = rest.iter_mut().enumerate();
            pieces.try_for_each(|(index, buffer)| {
                in_full("A direct write", path, direct.write(&buffer[..bytes], (index * bytes) as u64, round), bytes)
            })
        })?;
        free = course.reap(&mut queue)?;
        written?;
        course.check_file("piece-lost", &buffered, 0, PIECES * bytes, &[round], "written with its neighbours behind the end");
    }
    Ok(())
}

use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use super::{Course, PIECES, Race, in_full, is_missing, write_from};
use crate::buffer::{Memory, Pool};
use crate::error::Result;

pub(super) const RACE: Race = Race {
    name: "own-mmap",
    story: "a direct write takes its data from a mapping of the same file (generic/647, 729)",
    proven: "every write came through and copied what it should",
    on_request: false,
    run,
};

fn run(course: &mut Course<'_>) -> Result<()> {
    let block = course.whole_blocks();
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let bytes = 2 * PIECES * block;
    course.resize(&buffered, bytes)?;
    let whole = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    while course.next() {
        let (half, round) = (bytes / 2, course.round);
        let mut memory = vec![0; half];
        course.key(round).fill(0, &mut memory);
        in_full("A write", &course.options.path, buffered.write(&memory, 0, round), half)?;
        buffered.fsync()?;
        buffered.drop_cache(0, 0);
        // The pages are not there: the write itself has to fetch them from the file that it holds locked.
        let mapping = Pool::unpopulated(Memory::File(buffered.as_fd()), whole)?;
        course.outcome.overlaps += u64::from(is_missing(&mapping, half));
        write_from(course, &direct, &mapping, half, half);
        let mut copy = vec![0; half];
        let detail = "the second half of the file, written from a mapping of the first";
        let read = buffered.read(&mut copy, half as u64);
        if course.readable(read, half, half, detail) {
            // The stamps are those of where the data came from.
            course.check("wrong-data", 0, &copy, &[round], detail);
        }
    }
    Ok(())
}

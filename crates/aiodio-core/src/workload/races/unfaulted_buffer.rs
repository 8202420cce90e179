use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use super::{Course, PIECES, Race, is_missing, write_from};
use crate::buffer::{Memory, Pool};
use crate::error::Result;
use crate::sys::{File, Flags};

pub(super) const RACE: Race = Race {
    name: "unfaulted-buffer",
    story: "a direct write takes its data from memory that is not there yet (generic/708)",
    proven: "every write came through, and nothing was lost where memory had to be fetched",
    on_request: false,
    run,
};

fn run(course: &mut Course<'_>) -> Result<()> {
    let block = course.whole_blocks();
    let bytes = 4 * PIECES * block;
    let (direct, buffered) = (course.direct()?, course.buffered()?);
    let source = File::open_to_write(&course.options.other, true, Flags::default())?;
    let whole = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    while course.next() {
        let round = course.round;
        course.resize(&buffered, 0)?;
        course.fill(&source, bytes, round)?;
        source.fsync()?;
        source.drop_cache(0, 0);
        let mapping = Pool::unpopulated(Memory::File(source.as_fd()), whole)?;
        course.outcome.overlaps += u64::from(is_missing(&mapping, bytes));
        write_from(course, &direct, &mapping, bytes, 0);
        course.check_file("wrong-data", &buffered, 0, bytes, &[round], "written from pages that had to be fetched");
    }
    Ok(())
}

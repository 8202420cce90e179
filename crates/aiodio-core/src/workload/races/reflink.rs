use super::{Course, PIECES, Race, failed};
use crate::error::Result;
use crate::sys::{File, Flags};

pub(super) const RACE: Race = Race {
    name: "reflink",
    story: "AIO writes into an extent that is shared with another file must not change the other",
    proven: "the clone has the new data and its source the old",
    on_request: false,
    run,
};

fn run(course: &mut Course<'_>) -> Result<()> {
    // A clone shares whole blocks of the filesystem.
    let block = course.whole_blocks();
    let bytes = PIECES * block;
    let source = File::open_to_write(&course.options.other, true, Flags::default())?;
    course.fill(&source, bytes, 0)?;
    source.fsync()?;
    let buffered = course.buffered()?;
    let pool = Course::pool_of(PIECES, block)?;
    let mut queue = course.queue(course.direct()?, &pool, PIECES)?;
    let mut free = pool.buffers;
    let mut copy = vec![0; bytes];
    course.outcome.unsupported = Some("FICLONE");
    while course.next() {
        course.resize(&buffered, 0)?;
        let cloned = buffered.clone_range(&source, 0, bytes as u64, 0);
        cloned.map_err(|errno| failed("FICLONE", &course.options.path, errno))?;
        let (piece, round) = (course.piece(), course.round);
        for index in 0..PIECES {
            let Some(buffer) = free.pop() else { break };
            course.push(&mut queue, buffer, index * block, piece);
        }
        let read = course.beside(&mut queue, || source.read(&mut copy, 0))?;
        free = course.reap(&mut queue)?;
        let detail = "the file that the extent was cloned from, read beside the writes";
        if course.readable(read, 0, bytes, detail) {
            course.check("source-changed", 0, &copy, &[0], detail);
        }
        for index in 0..PIECES {
            course.check_file("wrong-data", &buffered, index * block, piece, &[round], "written to the clone");
            let (at, rest) = (index * block + piece, block - piece);
            course.check_file("wrong-data", &buffered, at, rest, &[0], "beside it, in the same block");
        }
        course.check_file("source-changed", &source, 0, bytes, &[0], "the file that the extent was cloned from");
        if let Some(disk) = course.read_disk(&course.options.other, bytes)? {
            course.check("source-changed", 0, &disk, &[0], "the file that the extent was cloned from, on the disk");
        }
    }
    Ok(())
}

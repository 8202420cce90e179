use std::ffi::CString;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use super::{Course, PIECES, Race};
use crate::buffer::{Align, Memory, Pool, page_bytes};
use crate::engine::libaio::{IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IoEvent, Iocb};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::{self, Begin};
use crate::storage;
use crate::sys;

pub(super) const RACE: Race = Race {
    name: "exit-in-flight",
    story: "a process ends with AIO in flight, which holds the last reference to its context (generic/323)",
    proven: "each write that the kernel had taken was there, whole, when the process was gone",
    on_request: false,
    run,
};

/// What the child's exit status says: how many transfers the kernel had taken, and, as bits, whether some of them were in flight still,
/// and whether it could not even begin.
const TAKEN: i32 = 0x1f;
const IN_FLIGHT: i32 = 0x20;
const NOT_SET_UP: i32 = 0x40;

/// Whether this filesystem writes a block in one piece. What a process leaves behind it can't go on with.
fn writes_whole(course: &Course<'_>, bytes: usize) -> Result<bool> {
    let direct = course.direct()?;
    let mut memory = Course::pool_of(1, bytes)?.buffers.remove(0);
    course.key(0).fill(0, &mut memory);
    let begin = Begin { address: memory.as_ptr() as u64, ..direct.calls().begin(recorder::Kind::Write, 0, bytes as u64) };
    // SAFETY: an open descriptor and so much memory.
    match direct.calls().call(&begin, || unsafe { libc::pwrite64(direct.as_raw_fd(), memory.as_ptr().cast(), bytes, 0) }) {
        Ok(written) => Ok(written == bytes),
        Err(errno) => Err(Error::new(Step::Write, "A direct write failed").errno(errno).path(&course.options.path)),
    }
}

fn run(course: &mut Course<'_>) -> Result<()> {
    let unit = course.whole_blocks();
    // The first half is written. The other is read, since writes may be over when they are submitted (btrfs with data checksums).
    let (half, bytes) = (PIECES * unit, 2 * PIECES * unit);
    let buffered = course.buffered()?;
    course.resize(&buffered, 0)?;
    course.fill(&buffered, bytes, 0)?;
    buffered.fsync()?;
    course.outcome.unsupported = Some("direct writes in one piece, and nobody goes on with what a process has left");
    if !writes_whole(course, unit)? {
        return Err(Error::new(Step::Write, "A direct write was cut short").errno(Errno(libc::EOPNOTSUPP)));
    }
    course.outcome.unsupported = None;
    let path = CString::new(course.options.path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Step::Options, "A path cannot contain a NUL byte"))?;
    let size = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
    let mut buffer = Pool::of(Memory::Inherited, 1, size, Align::Offset(0))?.buffers.remove(0);
    // What each block holds.
    let mut held = [0; PIECES];
    while course.next() {
        course.key(course.round).fill(0, &mut buffer[..half]);
        let memory = buffer.as_ptr();
        let mut blocks = [Iocb::default(); 2 * PIECES];
        let mut pointers = [std::ptr::null_mut::<Iocb>(); 2 * PIECES];
        for (index, block) in blocks.iter_mut().enumerate() {
            let at = index * unit;
            let opcode = if at < half { IOCB_CMD_PWRITE } else { IOCB_CMD_PREAD };
            *block = Iocb { opcode, buf: memory as u64 + at as u64, nbytes: unit as u64, offset: at as i64, ..*block };
        }
        for (pointer, block) in pointers.iter_mut().zip(&mut blocks) {
            *pointer = block;
        }
        let body = |_| {
            // SAFETY: a path that ends in NUL.
            let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_DIRECT | libc::O_NOFOLLOW) };
            let mut context: libc::c_ulong = 0;
            // SAFETY: room for a context.
            let made = unsafe { libc::syscall(libc::SYS_io_setup, pointers.len(), &raw mut context) };
            if fd < 0 || made != 0 {
                // SAFETY: ends the child.
                unsafe { libc::_exit(NOT_SET_UP) };
            }
            for pointer in pointers {
                // SAFETY: the child's own copy.
                unsafe { (*pointer).fildes = fd as u32 };
            }
            for at in (half..bytes).step_by(page_bytes()) {
                // btrfs waits for reads into pages that are still shared with the parent.
                // SAFETY: inside the child's own copy.
                unsafe { memory.wrapping_add(at).write_volatile(0) };
            }
            let mut taken = 0;
            while taken < pointers.len() {
                let left = pointers.len() - taken;
                let rest = pointers.as_ptr().wrapping_add(taken);
                // SAFETY: the control blocks and their memory are the child's own copies, which live until it ends.
                let more = unsafe { libc::syscall(libc::SYS_io_submit, context, left, rest) };
                // The kernel may take some only, or none more: what it has taken is what it answers for.
                if more <= 0 {
                    break;
                }
                taken += more as usize;
            }
            let mut events = [IoEvent::default(); 2 * PIECES];
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: room for so many events.
            let over =
                unsafe { libc::syscall(libc::SYS_io_getevents, context, 0_usize, events.len(), events.as_mut_ptr(), &raw mut now) };
            let in_flight = if (0..taken as i64).contains(&over) { IN_FLIGHT } else { 0 };
            // SAFETY: ends the child, with the transfers in flight.
            unsafe { libc::_exit(taken as i32 | in_flight) };
        };
        // SAFETY: system calls, and memory that was made before.
        let taken = match unsafe { sys::fork::fork(body) }?.wait() {
            Some(status) if status & NOT_SET_UP == 0 => {
                course.outcome.overlaps += u64::from(status & IN_FLIGHT != 0);
                (status & TAKEN) as usize
            }
            Some(_) => return Err(Error::new(Step::Setup, "The child could not open the file or make an AIO context")),
            None => return Err(Error::new(Step::Submit, "The child was killed")),
        };
        held[..taken.min(PIECES)].fill(course.round);
        // The kernel waits for a process's AIO before the process is gone (exit_aio), so that all of it is there, and stays.
        for (index, generation) in held.into_iter().enumerate() {
            let detail = "after the process with the transfers was gone";
            course.check_file("wrong-data", &buffered, index * unit, unit, &[generation], detail);
        }
        course.check_file("wrong-data", &buffered, half, half, &[0], "what that process only read");
        let path = &course.options.path;
        let Some(first) = course.read_disk(path, bytes)? else { continue };
        for (index, generation) in held.into_iter().enumerate() {
            let part = &first[index * unit..(index + 1) * unit];
            course.check("wrong-data", index * unit, part, &[generation], "the same, on the disk");
        }
        let Some(second) = course.read_disk(path, bytes)? else { continue };
        if let Some(at) = (0..bytes).find(|at| first[*at] != second[*at]) {
            course.found("late-write", at as u64, 1, "the file changed when nobody wrote to it any more");
        }
    }
    // A server may be one that the kernel waits for in io_submit(2) (no FUSE_ASYNC_DIO): then there is nothing to leave in flight.
    if course.outcome.overlaps == 0 && course.outcome.findings.total == 0 && storage::is_fuse(&course.options.path)? {
        course.outcome.unsupported = Some("asynchronous I/O that was ever in flight when a process ended");
        return Err(Error::new(Step::Submit, "Nothing was ever in flight").errno(Errno(libc::EOPNOTSUPP)));
    }
    Ok(())
}

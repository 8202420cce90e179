//! The file under test: each operation as the system calls that do it.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::mapping::{Call, Mapping, Synced, Syncer, Unsynced};
use super::operation::{Kind, Operation};
use crate::buffer::{Align, Buffer, Pool, page_bytes};
use crate::engine::{self, Completion, Engine, Op, Queue, Stats};
use crate::error::{Errno, Error, Result, Step};
use crate::file;
use crate::recorder::{self, Begin, Recorder};

/// The open file, and what is needed to work on it.
pub(super) struct Target {
    path: PathBuf,
    file: File,
    queue: Queue,
    buffer: Option<Buffer>,
    done: Vec<Completion>,
    page: u64,
    record: Option<(Recorder, u32)>,
    syncer: Option<Syncer>,
}

impl Target {
    /// Opens or creates the file and empties it. No operation of the queue is longer than `bytes_max`; direct ones are resumed at
    /// multiples of `direct_align`.
    pub(super) fn open(
        path: &Path,
        engine: Box<dyn Engine>,
        direct: bool,
        direct_align: NonZeroUsize,
        bytes_max: NonZeroUsize,
    ) -> Result<Self> {
        let transfers = file::open_to_write(path, true, file::Flags { direct, sync: false })?;
        // Everything but reads and writes goes through a descriptor of its own, as nothing else depends on O_DIRECT.
        let file = file::open_to_write(path, true, file::Flags::default())?;
        file.set_len(0).map_err(|error| failure(path, "ftruncate", Errno::from(&error)))?;
        let pool = Pool::new(1, bytes_max, Align::Offset(0))?;
        let resume = if direct { direct_align } else { NonZeroUsize::MIN };
        let queue = Queue::new(engine, NonZeroUsize::MIN, vec![transfers.into()], &pool.registrations, resume)?;
        let record = recorder::current().map(|recorder| {
            let (number, _) = recorder::describe(&recorder, file.as_fd());
            (recorder, number)
        });
        let buffer = pool.buffers.into_iter().next();
        Ok(Self { path: path.to_owned(), file, queue, buffer, done: Vec::new(), page: page_bytes() as u64, record, syncer: None })
    }

    pub(super) fn finish(self) -> Stats {
        self.queue.finish()
    }

    /// The size that the filesystem says the file has.
    pub(super) fn size(&self) -> Result<u64> {
        file::size(&self.path, &self.file)
    }

    /// A read: the bytes that came.
    pub(super) fn read(&mut self, operation: &Operation) -> Result<&[u8]> {
        // What an earlier operation left there, often the right data, must not pass for what is read.
        for byte in self.buffer.as_deref_mut().unwrap_or_default().iter_mut().take(operation.bytes as usize) {
            *byte = !*byte;
        }
        let got = self.transfer(Op::Read, operation, 0)?;
        let buffer = self.buffer.as_deref().unwrap_or_default();
        Ok(&buffer[..got])
    }

    /// A write of `data`.
    pub(super) fn write(&mut self, operation: &Operation, data: &[u8], generation: u32) -> Result<()> {
        if let Some(buffer) = &mut self.buffer {
            buffer[..data.len()].copy_from_slice(data);
        }
        let got = self.transfer(Op::Write, operation, generation)?;
        if (got as u64) < operation.bytes {
            let message = format!("Only {got} of {} bytes could be written at offset {}", operation.bytes, operation.offset);
            let error = Error::new(Step::ShortWrite, message).path(&self.path).offset(operation.offset);
            return Err(error.transferred(operation.bytes, got as u64));
        }
        Ok(())
    }

    fn transfer(&mut self, op: Op, operation: &Operation, generation: u32) -> Result<usize> {
        let Some(buffer) = self.buffer.take() else {
            return Err(Error::new(Step::Buffers, "The buffer is still with the kernel").path(&self.path));
        };
        let Operation { offset, bytes, .. } = *operation;
        self.queue.push(engine::Operation { op, file: 0, offset, bytes: bytes as usize, buffer, generation, user_data: () });
        self.queue.wait(1, &mut self.done).map_err(|error| error.path(&self.path))?;
        let Some(Completion { buffer, result, .. }) = self.done.pop() else {
            return Err(Error::new(Step::Reap, "No operation completed").path(&self.path));
        };
        self.buffer = Some(buffer);
        result.map_err(|errno| {
            let (step, what) = if op == Op::Write { (Step::Write, "Writing") } else { (Step::Read, "Reading") };
            let message = format!("{what} {bytes} bytes at offset {offset} failed");
            Error::new(step, message).errno(errno).path(&self.path).offset(offset)
        })
    }

    /// Shows the file through a mapping, from the operation's first page to the end of its last one.
    pub(super) fn map_read<T>(&self, operation: &Operation, look: impl FnOnce(u64, &[u8]) -> T) -> Result<T> {
        let begin = Begin::call(recorder::Kind::MmapRead, 0, operation.offset, operation.bytes);
        self.recorded(begin, || {
            let map = Mapping::new(&self.file, operation, self.page, false)?;
            Ok(look(map.offset, map.memory()))
        })
        .map_err(|(call, errno)| failure(&self.path, call, errno).offset(operation.offset))
    }

    /// Writes `data` through a mapping and has it synced, beside what follows if the operation's flag says so. The file must be long
    /// enough.
    pub(super) fn map_write(&mut self, operation: &Operation, data: &[u8], generation: u32) -> Result<()> {
        let Operation { offset, bytes, .. } = *operation;
        let begin = Begin::call(recorder::Kind::MmapWrite, 0, offset, bytes);
        let record = self.record.as_ref().map(|(recorder, number)| {
            let operation = recorder.begin(&Begin { generation, file: *number, ..begin });
            (recorder.clone(), operation)
        });
        let mut map = match Mapping::new(&self.file, operation, self.page, true) {
            Ok(map) => map,
            Err((call, errno)) => {
                if let Some((recorder, operation)) = record {
                    recorder.end(operation, -i64::from(errno.0));
                }
                return Err(failure(&self.path, call, errno).offset(offset));
            }
        };
        map.write(offset, data);
        let unsynced = Unsynced { map, offset, record };
        let over = if operation.flag { self.syncer.get_or_insert_with(Syncer::new).start(unsynced) } else { Some(unsynced.sync()) };
        over.map_or(Ok(()), |synced| self.check_synced(synced))
    }

    /// Waits for what is still being synced.
    pub(super) fn all_synced(&mut self) -> Result<()> {
        while let Some(synced) = self.syncer.as_mut().and_then(Syncer::next) {
            self.check_synced(synced)?;
        }
        Ok(())
    }

    fn check_synced(&self, Synced { offset, result }: Synced) -> Result<()> {
        result.map_err(|(call, errno)| failure(&self.path, call, errno).offset(offset))
    }

    /// An operation without memory.
    pub(super) fn change(&self, operation: &Operation) -> Result<()> {
        let Operation { kind, offset, bytes, to, flag } = *operation;
        let begin = match kind {
            Kind::Truncate => Begin::call(recorder::Kind::Truncate, 0, 0, offset),
            Kind::Clone | Kind::Copy => Begin::call(recorder::Kind::Clone, 0, to, bytes),
            Kind::Punch => Begin::call(recorder::Kind::Punch, 0, offset, bytes),
            Kind::Zero => Begin::call(recorder::Kind::ZeroRange, 0, offset, bytes),
            Kind::Collapse => Begin::call(recorder::Kind::Collapse, 0, offset, bytes),
            Kind::Insert => Begin::call(recorder::Kind::Insert, 0, offset, bytes),
            _ => Begin::call(recorder::Kind::Allocate, 0, offset, bytes),
        };
        self.recorded(begin, || change(&self.file, kind, offset, bytes, to, flag))
            .map_err(|(call, errno)| failure(&self.path, call, errno).offset(offset))
    }

    /// Makes the file longer for a mapping.
    pub(super) fn extend(&self, size: u64) -> Result<()> {
        self.change(&Operation::new(Kind::Truncate, size, 0))
    }

    fn recorded<T>(&self, begin: Begin, call: impl FnOnce() -> Call<T>) -> Call<T> {
        let Some((recorder, number)) = &self.record else { return call() };
        let mut name = "";
        let begin = Begin { file: *number, ..begin };
        recorder
            .span(&begin, || {
                call().map_err(|(call, errno)| {
                    name = call;
                    errno
                })
            })
            .map_err(|errno| (name, errno))
    }
}

fn failure(path: &Path, call: &str, errno: Errno) -> Error {
    let why = match errno.0 {
        libc::ENOSPC => ": the filesystem is full",
        libc::EDQUOT => ": the disk quota is used up",
        libc::EFAULT => ": a page of the file cannot be read in or written to",
        _ => "",
    };
    let step = if call == "msync" { Step::Fsync } else { Step::Write };
    Error::new(step, format!("{call}() failed{why}")).errno(errno).path(path)
}

/// The system call of a change.
fn change(file: &File, kind: Kind, offset: u64, bytes: u64, to: u64, flag: bool) -> Call<()> {
    let keep = if flag { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
    match kind {
        Kind::Truncate => file.set_len(offset).map_err(|error| ("ftruncate", Errno::from(&error))),
        Kind::Punch => fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, bytes),
        Kind::Zero => fallocate(file, libc::FALLOC_FL_ZERO_RANGE | keep, offset, bytes),
        Kind::Collapse => fallocate(file, libc::FALLOC_FL_COLLAPSE_RANGE, offset, bytes),
        Kind::Insert => fallocate(file, libc::FALLOC_FL_INSERT_RANGE, offset, bytes),
        Kind::Clone => clone(file, offset, bytes, to),
        Kind::Copy => copy(file, offset, bytes, to),
        _ => fallocate(file, keep, offset, bytes),
    }
}

fn fallocate(file: &File, mode: i32, offset: u64, bytes: u64) -> Call<()> {
    loop {
        // SAFETY: numbers only.
        if unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset as i64, bytes as i64) } == 0 {
            return Ok(());
        }
        match Errno::last() {
            Errno(libc::EINTR) => {}
            errno => return Err(("fallocate", errno)),
        }
    }
}

/// `struct file_clone_range` of `linux/fs.h`, which the libc crate does not have.
#[repr(C)]
struct CloneRange {
    source: i64,
    offset: u64,
    bytes: u64,
    to: u64,
}

/// `FICLONERANGE` is `_IOW(0x94, 13, struct file_clone_range)`.
const FICLONERANGE: libc::Ioctl = libc::_IOW::<CloneRange>(0x94, 13);

fn clone(file: &File, offset: u64, bytes: u64, to: u64) -> Call<()> {
    let range = CloneRange { source: i64::from(file.as_raw_fd()), offset, bytes, to };
    loop {
        // SAFETY: the request takes a pointer to this structure, and reads it.
        if unsafe { libc::ioctl(file.as_raw_fd(), FICLONERANGE, &raw const range) } == 0 {
            return Ok(());
        }
        match Errno::last() {
            Errno(libc::EINTR) => {}
            errno => return Err(("FICLONERANGE", errno)),
        }
    }
}

fn copy(file: &File, offset: u64, bytes: u64, to: u64) -> Call<()> {
    let fd = file.as_raw_fd();
    let mut done = 0;
    while done < bytes {
        let (mut from, mut target) = ((offset + done) as i64, (to + done) as i64);
        // SAFETY: both offsets live during the call.
        let count = unsafe { libc::copy_file_range(fd, &raw mut from, fd, &raw mut target, (bytes - done) as usize, 0) };
        match u64::try_from(count) {
            // Short only at the end of the file, where it is not.
            Ok(0) => return Err(("copy_file_range", Errno(libc::EIO))),
            Ok(count) => done += count,
            Err(_) => match Errno::last() {
                Errno(libc::EINTR) => {}
                errno => return Err(("copy_file_range", errno)),
            },
        }
    }
    Ok(())
}

/// Which kinds this filesystem does not have, tried on a file that is gone afterwards.
pub(super) fn unsupported(directory: &Path, block: u64) -> Result<Vec<Kind>> {
    let path = directory.join(".fsx-linux-probe");
    let file = file::open_to_write(&path, true, file::Flags::default())?;
    let result = probe(&path, &file, block);
    let removed = std::fs::remove_file(&path);
    let missing = result?;
    removed.map_err(|error| failure(&path, "unlink", Errno::from(&error)))?;
    Ok(missing)
}

fn probe(path: &Path, file: &File, block: u64) -> Result<Vec<Kind>> {
    let data = vec![1; 4 * block as usize];
    std::os::unix::fs::FileExt::write_all_at(file, &data, 0).map_err(|error| failure(path, "pwrite", Errno::from(&error)))?;
    let mut missing = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !Kind::LTP.contains(kind)) {
        // The third block of four, the target behind the end; twice for those with a flag.
        for flag in [false, true] {
            match change(file, kind, block, block, 8 * block, flag) {
                Ok(()) => {}
                Err((_, Errno(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL | libc::EXDEV))) => {
                    missing.push(kind);
                    break;
                }
                Err((call, errno)) => return Err(failure(path, call, errno)),
            }
        }
    }
    Ok(missing)
}

//! Direct I/O that must fail, with the errno that it must fail with, and direct I/O that must work in spite of everything.
//!
//! Each check is one or more calls whose results are returned as they are. Only what the kernel may do to every call is dealt with:
//! an interrupted one is made again, and a short transfer is resumed. A call that must fail must not have changed the file either:
//! the file is stamped, and what it holds in the end is known to the byte (see [`BLOCK_BYTES`] and [`run`]).

mod check;

use std::ffi::c_void;
use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::check::{Attempt, Check, Checked, Expected, Outcome};
use super::shared::finding::Finding;
use super::shared::pattern::Pattern;
use crate::buffer::{Align, Buffer, Pool, page_bytes};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::Kind;
use crate::stamp::Key;
use crate::sys::mapping::Mapping;
use crate::sys::{Calls, File, Flags};

/// Length of each regular transfer, and the unit that LTP gives the file's size in.
pub const BLOCK_BYTES: usize = 4096;

/// What to do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// A file whose stamps of `key` are at least [`BLOCK_BYTES`] long. Its first block is written several times, at last with what
    /// it holds now.
    pub path: PathBuf,
    /// The file's size.
    pub bytes: u64,
    /// Its stamps.
    pub key: Key,
    /// Offset and length alignment that direct I/O needs here, in bytes: transfers are at least that long.
    pub dio_offset_align: usize,
}

/// Makes all checks. Afterwards the file holds the stamps that it held before.
pub fn run(options: &Options) -> Outcome {
    let mut made = Vec::new();
    let error = Checks::new(options).and_then(|mut checks| checks.all(&mut made)).err();
    Outcome { error, checks: made }
}

type Make<'options> = fn(&mut Checks<'options>) -> Result<Vec<Attempt>>;

struct Checks<'options> {
    options: &'options Options,
    /// Open for both, `O_DIRECT`.
    file: File,
    /// Length of a transfer.
    bytes: usize,
    /// One page more than a transfer, so that it fits at an odd address too.
    buffer: Buffer,
    generation: u32,
}

impl<'options> Checks<'options> {
    fn new(options: &'options Options) -> Result<Self> {
        let bytes = BLOCK_BYTES.max(options.dio_offset_align);
        if options.bytes < bytes as u64 {
            let message = format!("The file must have at least {bytes} bytes, the smallest direct transfer here");
            return Err(Error::new(Step::Options, message).path(&options.path));
        }
        let room = NonZeroUsize::new(bytes + page_bytes()).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            options,
            file: File::open_to_write(&options.path, true, Flags::DIRECT)?,
            bytes,
            buffer: Pool::new(1, room, Align::Offset(0))?.buffers.remove(0),
            generation: options.key.generation,
        })
    }

    fn all(&mut self, made: &mut Vec<Checked>) -> Result<()> {
        let checks: [(Check, Make<'options>); 15] = [
            (Check::NegativeOffset, |checks| Ok(checks.negative_offset())),
            (Check::OddCount, Self::odd_count),
            (Check::BeyondEnd, |checks| Ok(checks.beyond_end())),
            (Check::InvalidDescriptor, |checks| Ok(checks.descriptor(-1))),
            (Check::DescriptorOutOfRange, |checks| Ok(checks.descriptor_out_of_range())),
            (Check::ClosedDescriptor, Self::closed_descriptor),
            (Check::CharacterDevice, Self::character_device),
            (Check::MappedFile, Self::mapped_file),
            (Check::UnmappedFile, |checks| Ok(checks.write_and_read())),
            (Check::NotOpenForReading, Self::not_open_for_reading),
            (Check::NotOpenForWriting, Self::not_open_for_writing),
            (Check::UnalignedMemory, |checks| Ok(checks.unaligned_memory())),
            (Check::ReadOnlyMemory, Self::read_only_memory),
            (Check::NoMemory, Self::no_memory),
            (Check::Synchronous, Self::synchronous),
        ];
        for (check, make) in checks {
            made.push(match make(self) {
                Ok(attempts) => Checked { check, attempts, unsupported: None },
                Err(error) => match cannot_be_made(check, &error) {
                    Some(errno) => Checked { check, attempts: Vec::new(), unsupported: Some(errno) },
                    None => return Err(error),
                },
            });
        }
        Ok(())
    }

    /// What the first block holds in that generation.
    fn pattern(&self, generation: u32) -> Pattern {
        Pattern::Stamps(Key { generation, ..self.options.key })
    }

    /// Fills the buffer, from `at` on, with what the first block holds now.
    fn fill(&mut self, at: usize) {
        let pattern = self.pattern(self.generation);
        let end = at + self.bytes;
        pattern.fill(0, &mut self.buffer[at..end]);
    }

    fn spoil(&mut self, at: usize) {
        let pattern = self.pattern(self.generation);
        let end = at + self.bytes;
        pattern.spoil(&mut self.buffer[at..end]);
    }

    fn attempt(call: &'static str, expected: Expected, got: std::result::Result<usize, Errno>) -> Attempt {
        Attempt { call, expected, got, wrong_data: None }
    }

    /// Reads the first block to `at` in the buffer, and compares it with what it must be.
    fn read(&mut self, on: &On, at: usize, expected: Expected) -> Attempt {
        self.spoil(at);
        let got = pread(on, self.buffer.as_ptr().wrapping_add(at).cast(), self.bytes, 0);
        Attempt { wrong_data: self.difference(at, got, self.bytes), ..Self::attempt("read", expected, got) }
    }

    /// What is wrong with a read of `bytes` bytes to `at` in the buffer that was not refused.
    fn difference(&self, at: usize, got: std::result::Result<usize, Errno>, bytes: usize) -> Option<Box<Finding>> {
        (got == Ok(bytes)).then(|| self.pattern(self.generation).check(0, &self.buffer[at..at + bytes]).err()).flatten()
    }

    /// Writes the first block anew and reads it back.
    fn write_and_read(&mut self) -> Vec<Attempt> {
        self.write_and_read_through(&On::file(&self.file), self.generation.wrapping_add(1))
    }

    fn write_and_read_through(&mut self, on: &On, generation: u32) -> Vec<Attempt> {
        self.generation = generation;
        self.fill(0);
        let got = pwrite(on, self.buffer.as_ptr().cast(), self.bytes, 0);
        let write = Self::attempt("write", Expected::Bytes(self.bytes), got);
        vec![write, self.read(on, 0, Expected::Bytes(self.bytes))]
    }

    fn negative_offset(&self) -> Vec<Attempt> {
        // SAFETY: a system call without memory.
        let sought = unsafe { libc::lseek64(self.file.as_raw_fd(), -1, libc::SEEK_SET) };
        let got = usize::try_from(sought).map_err(|_| Errno::last());
        vec![Self::attempt("lseek to -1", Expected::Error(Errno(libc::EINVAL)), got)]
    }

    /// What a byte is written with is what the file holds there, so that a filesystem that accepts it changes nothing.
    fn odd_count(&mut self) -> Result<Vec<Attempt>> {
        let expected = Expected::Error(Errno(libc::EINVAL));
        let on = On::file(&self.file);
        self.spoil(0);
        let read = Self::attempt("read of 1 byte", expected, pread(&on, self.buffer.as_ptr().cast(), 1, 0));
        let wrong_data = self.difference(0, read.got, 1);
        self.fill(0);
        let write = Self::attempt("write of 1 byte", expected, pwrite(&on, self.buffer.as_ptr().cast(), 1, 0));
        if write.got.is_ok() {
            // It went through the page cache; the direct transfers that follow must not wait for it.
            self.file.fsync()?;
        }
        Ok(vec![Attempt { wrong_data, ..read }, write])
    }

    fn beyond_end(&mut self) -> Vec<Attempt> {
        let unit = self.bytes as u64;
        let offset = self.options.bytes.next_multiple_of(unit) + unit;
        let got = pread(&On::file(&self.file), self.buffer.as_ptr().cast(), self.bytes, offset);
        vec![Self::attempt("read behind the end", Expected::Either(0, Errno(libc::EINVAL)), got)]
    }

    fn descriptor(&mut self, fd: RawFd) -> Vec<Attempt> {
        let expected = Expected::Error(Errno(libc::EBADF));
        let start = self.buffer.as_ptr().cast();
        let on = On { fd, calls: Calls::named("(none)") };
        vec![
            Self::attempt("read", expected, pread(&on, start, self.bytes, 0)),
            Self::attempt("write", expected, pwrite(&on, start, self.bytes, 0)),
        ]
    }

    fn descriptor_out_of_range(&mut self) -> Vec<Attempt> {
        // SAFETY: sysconf has no memory effects.
        let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
        self.descriptor(RawFd::try_from(limit).unwrap_or(RawFd::MAX))
    }

    /// The number is one that no other thread gets meanwhile: the kernel gives out the lowest ones.
    fn closed_descriptor(&mut self) -> Result<Vec<Attempt>> {
        let failed = || Error::new(Step::Open, "No descriptor can be duplicated").errno(Errno::last()).path(&self.options.path);
        // SAFETY: a system call without memory.
        let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
        let high = RawFd::try_from(limit.clamp(2, 1024) - 1).unwrap_or(0);
        // SAFETY: as above.
        let fd = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, high) };
        if fd < 0 {
            return Err(failed());
        }
        // SAFETY: the number was given to nobody else.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(self.descriptor(fd))
    }

    fn character_device(&mut self) -> Result<Vec<Attempt>> {
        let null = open(Path::new("/dev/null"), true, true, libc::O_DIRECT)?;
        let start = self.buffer.as_ptr().cast();
        let on = On::file(&null);
        Ok(vec![
            Self::attempt("read of /dev/null", Expected::Bytes(0), pread(&on, start, self.bytes, 0)),
            Self::attempt("write to /dev/null", Expected::Bytes(self.bytes), pwrite(&on, start, self.bytes, 0)),
        ])
    }

    fn mapped_file(&mut self) -> Result<Vec<Attempt>> {
        let mapping = map(self.bytes, libc::PROT_READ | libc::PROT_WRITE, Some(&self.file))?;
        // Its first page is in the page cache when the direct write comes.
        // SAFETY: mapped and readable; other holders of the file may change it, so it is read once and not looked at.
        unsafe { mapping.at(0).read_volatile() };
        Ok(self.write_and_read())
    }

    fn not_open_for_reading(&mut self) -> Result<Vec<Attempt>> {
        let file = open(&self.options.path, false, true, libc::O_DIRECT)?;
        Ok(vec![self.read(&On::file(&file), 0, Expected::Error(Errno(libc::EBADF)))])
    }

    fn not_open_for_writing(&mut self) -> Result<Vec<Attempt>> {
        let file = open(&self.options.path, true, false, libc::O_DIRECT)?;
        self.spoil(0);
        let got = pwrite(&On::file(&file), self.buffer.as_ptr().cast(), self.bytes, 0);
        Ok(vec![Self::attempt("write", Expected::Error(Errno(libc::EBADF)), got)])
    }

    fn unaligned_memory(&mut self) -> Vec<Attempt> {
        let expected = Expected::Error(Errno(libc::EINVAL));
        let on = On::file(&self.file);
        let read = self.read(&on, 1, expected);
        self.fill(1);
        let got = pwrite(&on, self.buffer.as_ptr().wrapping_add(1).cast(), self.bytes, 0);
        vec![read, Self::attempt("write", expected, got)]
    }

    fn read_only_memory(&mut self) -> Result<Vec<Attempt>> {
        let mut mapping = map(self.bytes, libc::PROT_READ | libc::PROT_WRITE, None)?;
        self.generation = self.generation.wrapping_add(1);
        let pattern = self.pattern(self.generation);
        let start = mapping.start().as_ptr();
        // SAFETY: mapped, zeroed by the kernel, and nobody else's.
        pattern.fill(0, unsafe { std::slice::from_raw_parts_mut(start.cast(), self.bytes) });
        let protected = mapping.protect(libc::PROT_READ);
        protected.map_err(|errno| Error::new(Step::Buffers, "Memory cannot be made read-only").errno(errno))?;
        let on = On::file(&self.file);
        Ok(vec![
            Self::attempt("read to it", Expected::Error(Errno(libc::EFAULT)), pread(&on, start, self.bytes, 0)),
            Self::attempt("write from it", Expected::Bytes(self.bytes), pwrite(&on, start, self.bytes, 0)),
            self.read(&on, 0, Expected::Bytes(self.bytes)),
        ])
    }

    /// Two kinds of address: one that the kernel knows and gives no access to, and the second page of the address space, where
    /// nothing is mapped (`vm.mmap_min_addr`). An unmapped hole of our own would not do: another thread may get that memory, and
    /// then the kernel would read the file into it.
    fn no_memory(&mut self) -> Result<Vec<Attempt>> {
        let none = map(self.bytes, libc::PROT_NONE, None)?;
        let nowhere: *mut c_void = std::ptr::without_provenance_mut(page_bytes());
        let expected = Expected::Error(Errno(libc::EFAULT));
        let on = On::file(&self.file);
        Ok(vec![
            Self::attempt("read to memory without access", expected, pread(&on, none.start().as_ptr(), self.bytes, 0)),
            Self::attempt("write from memory without access", expected, pwrite(&on, none.start().as_ptr(), self.bytes, 0)),
            Self::attempt("read to an unmapped address", expected, pread(&on, nowhere, self.bytes, 0)),
            Self::attempt("write from an unmapped address", expected, pwrite(&on, nowhere, self.bytes, 0)),
        ])
    }

    /// The last one: it gives the first block its first content again.
    fn synchronous(&mut self) -> Result<Vec<Attempt>> {
        let file = open(&self.options.path, true, true, libc::O_DIRECT | libc::O_SYNC)?;
        Ok(self.write_and_read_through(&On::file(&file), self.options.key.generation))
    }
}

fn open(path: &Path, read: bool, write: bool, flags: i32) -> Result<File> {
    OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(flags | libc::O_NOFOLLOW)
        .open(path)
        .map(|file| File::new(path, file))
        .map_err(|error| Error::new(Step::Open, "The file cannot be opened with O_DIRECT").errno(Errno::from(&error)).path(path))
}

/// Why a check can't be made on this kernel or filesystem, when that is what the error says.
fn cannot_be_made(check: Check, error: &Error) -> Option<Errno> {
    let lacking = match check {
        Check::CharacterDevice => error.step == Step::Open,
        Check::MappedFile => error.step == Step::Buffers && error.errno == Some(Errno(libc::ENODEV)),
        _ => false,
    };
    if lacking { error.errno } else { None }
}

/// A descriptor, which may be none that is open, and where calls on it are recorded.
struct On {
    fd: RawFd,
    calls: Calls,
}

impl On {
    fn file(file: &File) -> Self {
        Self { fd: file.as_raw_fd(), calls: file.calls().clone() }
    }
}

/// The kernel checks the memory, whatever it is.
fn pread(on: &On, start: *mut c_void, bytes: usize, offset: u64) -> std::result::Result<usize, Errno> {
    // SAFETY: `start` is memory of this module's for `bytes` bytes, or an address that can never be anybody's.
    unsafe { on.calls.transfer(on.fd, Kind::Read, start, bytes, offset, 0) }
}

fn pwrite(on: &On, start: *mut c_void, bytes: usize, offset: u64) -> std::result::Result<usize, Errno> {
    // SAFETY: the kernel only reads, and says EFAULT where it can't.
    unsafe { on.calls.transfer(on.fd, Kind::Write, start, bytes, offset, 0) }
}

fn map(bytes: usize, protection: i32, file: Option<&File>) -> Result<Mapping> {
    let flags = if file.is_some() { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    Mapping::new(bytes, protection, flags, file.map(AsFd::as_fd), 0)
        .map_err(|errno| Error::new(Step::Buffers, format!("{bytes} bytes cannot be mapped")).errno(errno))
}

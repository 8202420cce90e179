//! Kinds of memory.

use std::os::fd::BorrowedFd;

use super::page_bytes;
use crate::error::{Errno, Error, Result, Step};
use crate::sys::{self, Calls};

/// What the memory of a [`Pool`] is, for tests of what the kernel does with pages that others have too.
#[derive(Clone, Copy, Debug)]
pub enum Memory<'file> {
    /// Anonymous, private, and not inherited by children.
    Private,
    /// Anonymous and private; children inherit it, copy-on-write.
    Inherited,
    /// Anonymous and shared with children.
    Shared,
    /// The page cache of a file from its start on, shared with everyone; a shorter file is made longer.
    File(BorrowedFd<'file>),
    /// Reserved huge pages (hugetlb), shared with children.
    Huge,
    /// As `Private`, and the kernel is asked for transparent huge pages.
    TransparentHuge,
}

/// A number of bytes from one of the kernel's files; `None` where there is no such file or line.
fn kernel_number(path: &str, key: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let mut words = line.split_whitespace();
    let number: usize = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") { number << 10 } else { number })
}

impl Memory<'_> {
    /// The unit in bytes, a power of two, that the kernel maps it in.
    pub(super) fn unit(self) -> usize {
        let unit = match self {
            Self::Huge => kernel_number("/proc/meminfo", "Hugepagesize:"),
            Self::TransparentHuge => kernel_number("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", ""),
            _ => None,
        };
        unit.filter(|unit| unit.is_power_of_two()).unwrap_or(1).max(page_bytes())
    }

    /// Flags for `mmap(2)`.
    pub(super) fn flags(self) -> i32 {
        match self {
            Self::Private | Self::Inherited | Self::TransparentHuge => libc::MAP_PRIVATE | libc::MAP_NORESERVE,
            Self::Shared => libc::MAP_SHARED | libc::MAP_NORESERVE,
            Self::Huge => libc::MAP_SHARED | libc::MAP_HUGETLB,
            Self::File(_) => libc::MAP_SHARED,
        }
    }
}

/// Memory behind a file's end must not be touched.
pub(super) fn lengthen(file: BorrowedFd<'_>, bytes: u64) -> Result<()> {
    let failed = |message: &str, errno| Error::new(Step::Buffers, message.to_owned()).errno(errno);
    let metadata = file.try_clone_to_owned().and_then(|file| std::fs::File::from(file).metadata());
    let size = metadata.map_err(|error| failed("The size of the file to map cannot be learnt", Errno::from(&error)))?.len();
    if size < bytes {
        let longer = sys::truncate(&Calls::on(file), file, bytes);
        longer.map_err(|errno| failed("The file to map cannot be made longer", errno))?;
    }
    Ok(())
}

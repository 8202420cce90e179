//! A second hand in a pool's memory.

use std::ptr::NonNull;
use std::sync::Arc;

use super::Arena;
use crate::error::{Errno, Error, Result, Step};

/// The memory of a pool for somebody who changes it while the kernel has it: what some tests are about. It keeps the memory mapped
/// and gives no reference to it; who has one must take care that nobody else has.
#[derive(Debug)]
pub struct Window {
    pub(super) start: NonNull<u8>,
    pub(super) bytes: usize,
    pub(super) _arena: Arc<Arena>,
}

// SAFETY: it gives no access to the memory but by pointer.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Where it starts.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// An error of step "buffers" where none of it is in a transparent huge page, though it has been written to: the kernel gives
    /// small pages without a word, and a test of huge ones would be one of these.
    pub fn require_huge_pages(&self) -> Result<()> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").map_err(|error| {
            Error::new(Step::Buffers, "The kernel does not say which memory is in huge pages").errno(Errno::from(&error))
        })?;
        let start = self.start.as_ptr() as u64;
        if huge_bytes(&smaps, start..start + self.bytes as u64) > 0 {
            return Ok(());
        }
        let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        let why = if setting.is_empty() {
            "this kernel has none"
        } else if setting.contains("[never]") {
            "run: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        } else {
            "memory is too fragmented, or they are forbidden to this process (PR_SET_THP_DISABLE)"
        };
        let message = format!("The kernel gave no transparent huge page for this memory: {why}");
        Err(Error::new(Step::Buffers, message).errno(Errno(libc::ENOMEM)))
    }
}

/// Bytes in transparent huge pages, in the mappings that touch `range`, by the text of `/proc/self/smaps` (`proc_pid_smaps(5)`).
fn huge_bytes(smaps: &str, range: std::ops::Range<u64>) -> u64 {
    let mut inside = false;
    let mut found = 0;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or("");
        if let Some((start, end)) = first.split_once('-') {
            let (start, end) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16));
            inside = matches!((start, end), (Ok(start), Ok(end)) if start < range.end && range.start < end);
        } else if inside && first == "AnonHugePages:" {
            let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
            found += kilobytes.unwrap_or(0) << 10;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Align, Pool, page_bytes};
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn huge_pages_are_counted_and_not_believed_in() {
        let smaps = "7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \nRss: 4096 kB\nAnonHugePages:      2048 kB\n\
             7f0000400000-7f0000600000 rw-p 00000000 00:00 0 \nAnonHugePages:         0 kB\n";
        assert_eq!(huge_bytes(smaps, 0x7f00_0030_0000..0x7f00_0040_0000), 2 << 20);
        assert_eq!(huge_bytes(smaps, 0x7f00_0040_0000..0x7f00_0060_0000), 0);
        let page = NonZeroUsize::new(page_bytes()).expect("not 0");
        let mut small = Pool::new(1, page, Align::Offset(0)).expect("memory");
        small.buffers[0].fill(1);
        let error = small.window().expect("one").require_huge_pages().expect_err("a small page");
        assert_eq!((error.step, error.errno), (Step::Buffers, Some(Errno(libc::ENOMEM))));
    }
}

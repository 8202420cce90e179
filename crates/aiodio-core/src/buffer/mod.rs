//! Memory for I/O with a deliberately chosen alignment.
//!
//! Alignment in memory decides which path a filesystem takes: btrfs, for one, sends a direct transfer from memory that is not
//! aligned to its block through the page cache, and that is how seed 004 happened. So where a buffer lies inside its page is an
//! option, never an accident of an allocator.
//!
//! A [`Buffer`] is a value with one holder. Submitting moves it into the queue, reaping moves it out again: code that would touch
//! a buffer while the kernel may be transferring into or out of it does not compile.
//!
//! Some tests are about memory that others have too: children, a second thread through a [`Window`], everybody who has a file open.
//! Of that there are no slices, which promise that it does not change by itself; [`Buffer::store`] writes to it, and its address can
//! be given to the kernel.

mod memory;
mod window;

use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

pub use self::memory::Memory;
use self::memory::lengthen;
pub use self::window::Window;
use crate::error::{Error, Result, Step};
use crate::sys::mapping::Mapping;

/// The kernel's page size in bytes: 4 KiB to 256 KiB, a power of two.
pub fn page_bytes() -> usize {
    // SAFETY: sysconf has no memory effects. It cannot fail for the page size.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Where in memory the buffers of a [`Pool`] start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub enum Align {
    /// Buffer `i` starts at `i * bytes` modulo the page size: consecutive buffers walk through every alignment that the device
    /// allows. LTP gets the same from `posix_memalign(512)`: three of four 4 KiB buffers straddle two pages.
    Step(NonZeroUsize),
    /// Every buffer starts at this offset inside a page; 0 is page alignment.
    Offset(usize),
}

impl Align {
    /// The offset inside a page at which buffer `index` starts.
    fn offset_in_page(self, index: usize, page: usize) -> usize {
        match self {
            Self::Step(step) => index.wrapping_mul(step.get()) % page,
            Self::Offset(offset) => offset,
        }
    }
}

/// The kernel refuses to register a buffer of more than this many bytes (`io_uring_register_buffers(3)`).
const REGISTRATION_BYTES_MAX: usize = 1 << 30;

/// Larger pools are faulted in as they are used: most of a pool of 70,000 buffers never is.
const POPULATE_BYTES_MAX: usize = 256 << 20;

/// One mapping that all buffers of a pool share; unmapped when the last of them is gone.
struct Arena {
    /// Dropped by hand, for the sake of the quarantine.
    mapping: ManuallyDrop<Mapping>,
    /// Others may change it: by its kind, or since there is a window.
    shared: AtomicBool,
    #[cfg(test)]
    quarantine: Option<Arc<crate::engine::drop_tests::Quarantine>>,
}

impl Drop for Arena {
    fn drop(&mut self) {
        #[cfg(test)]
        if let Some(quarantine) = &self.quarantine {
            quarantine.take(self.mapping.start().cast(), self.mapping.bytes());
            return;
        }
        // SAFETY: no buffer refers to it any more, and nothing comes after this.
        unsafe { ManuallyDrop::drop(&mut self.mapping) };
    }
}

/// A piece of memory for one operation at a time. Not clonable.
pub struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
    registration: u16,
    arena: Arc<Arena>,
}

// SAFETY: a buffer is the only access to its part of the arena.
unsafe impl Send for Buffer {}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({} bytes)", self.mapping.bytes())
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({:p}, {} bytes of an arena of {})", self.start, self.bytes, self.arena.mapping.bytes())
    }
}

impl Buffer {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it is of no use.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Where it starts.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Which of the pool's [`Registration`]s covers it.
    pub fn registration(&self) -> u16 {
        self.registration
    }
}

impl Buffer {
    /// Writes to memory that others may be looking at or changing.
    ///
    /// # Panics
    /// When the bytes do not fit.
    pub fn store(&mut self, at: usize, bytes: &[u8]) {
        assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= self.bytes), "what is stored must fit the buffer");
        for (index, byte) in bytes.iter().enumerate() {
            let place = self.start.as_ptr().wrapping_add(at + index);
            // SAFETY: inside the buffer. Volatile: somebody else may be looking, so no store may be left out or made twice.
            unsafe { place.write_volatile(*byte) };
        }
    }

    fn assert_exclusive(&self) {
        assert!(!self.arena.shared.load(Ordering::Relaxed), "memory that others may change is no slice");
    }
}

/// Panics for memory that others may change: shared, a file's, huge pages, or any after [`Pool::window`].
impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.assert_exclusive();
        // SAFETY: mapped, initialised (what the kernel maps is), owned by this value, and nobody else's.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.assert_exclusive();
        // SAFETY: as above, and `&mut self` excludes any other access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

/// A stretch of memory for `io_uring_register_buffers(3)`. Covers one or more whole buffers.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// Where it starts.
    pub start: *mut u8,
    /// Its length in bytes.
    pub bytes: usize,
}

/// The buffers of one workload, all from one mapping.
#[derive(Debug)]
pub struct Pool {
    /// In the order of their addresses.
    pub buffers: Vec<Buffer>,
    /// For engines with fixed buffers.
    pub registrations: Vec<Registration>,
}

impl Pool {
    /// Maps `count` buffers of `bytes` each, packed as tightly as `align` allows, and (up to `POPULATE_BYTES_MAX`) has the kernel
    /// fault them in, so that no page fault falls into the timed part of a workload. Children made by `fork(2)` do not get them.
    pub fn new(count: usize, bytes: NonZeroUsize, align: Align) -> Result<Self> {
        Self::of(Memory::Private, count, bytes, align)
    }

    /// The same of any kind of memory.
    pub fn of(memory: Memory<'_>, count: usize, bytes: NonZeroUsize, align: Align) -> Result<Self> {
        Self::map(memory, count, bytes, align, true)
    }

    /// One buffer at the start of a page of which nothing is there yet: each page is fetched at its first use.
    pub fn unpopulated(memory: Memory<'_>, bytes: NonZeroUsize) -> Result<Buffer> {
        Ok(Self::map(memory, 1, bytes, Align::Offset(0), false)?.buffers.remove(0))
    }

    fn map(memory: Memory<'_>, count: usize, bytes: NonZeroUsize, align: Align, populated: bool) -> Result<Self> {
        let page = page_bytes();
        if let Align::Offset(offset) = align
            && offset >= page
        {
            return Err(Error::new(
                Step::Options,
                format!("The buffers' offset inside a page, {offset}, must be less than the page size of {page} bytes"),
            ));
        }
        let too_big = || Error::new(Step::Buffers, format!("{count} buffers of {bytes} bytes are more than the address space"));
        let mut starts = Vec::new();
        starts.try_reserve_exact(count).map_err(|_| too_big())?;
        let mut end = 0_usize;
        for index in 0..count {
            let offset = align.offset_in_page(index, page);
            let gap = (page + offset - end % page) % page;
            let start = end.checked_add(gap).ok_or_else(too_big)?;
            end = start.checked_add(bytes.get()).ok_or_else(too_big)?;
            starts.push(start);
        }
        let unit = memory.unit();
        // Room to begin at a multiple of the unit, which the kernel does by itself for reserved huge pages only.
        let slack = if matches!(memory, Memory::TransparentHuge) { unit - page } else { 0 };
        let total = end.max(1).checked_next_multiple_of(unit).and_then(|total| total.checked_add(slack)).ok_or_else(too_big)?;
        if let Memory::File(file) = memory {
            lengthen(file, total as u64)?;
        }
        let populate = if populated && total <= POPULATE_BYTES_MAX && !matches!(memory, Memory::TransparentHuge) {
            libc::MAP_POPULATE
        } else {
            0
        };
        let file = if let Memory::File(file) = memory { Some(file) } else { None };
        let mapping = Mapping::new(total, libc::PROT_READ | libc::PROT_WRITE, memory.flags() | populate, file, 0);
        let mapping = mapping.map_err(|errno| {
            let message = match memory {
                Memory::Huge => "Not enough huge pages are reserved: raise vm.nr_hugepages".to_owned(),
                _ => format!("No memory for {count} buffers of {bytes} bytes: use fewer control blocks or smaller blocks"),
            };
            Error::new(Step::Buffers, message).errno(errno)
        })?;
        // Where the kernel does not pin pages while it transfers (older kernels), a fork during a direct read can leave the data in
        // a page that only the child has: open(2), "O_DIRECT I/Os should never be run concurrently with fork(2)". Node forks to
        // start processes, so children do not get this memory at all, unless that is what is tested.
        if matches!(memory, Memory::Private | Memory::TransparentHuge) {
            let (Ok(()) | Err(_)) = mapping.advise(libc::MADV_DONTFORK);
        }
        let mut lead = 0;
        if matches!(memory, Memory::TransparentHuge) {
            let start = mapping.start().as_ptr() as usize;
            lead = start.next_multiple_of(unit) - start;
            // Where it is refused the pages are small ones.
            let (Ok(()) | Err(_)) = mapping.advise(libc::MADV_HUGEPAGE);
        }
        let arena = Arc::new(Arena {
            mapping: ManuallyDrop::new(mapping),
            shared: AtomicBool::new(matches!(memory, Memory::Shared | Memory::Huge | Memory::File(_))),
            #[cfg(test)]
            quarantine: crate::engine::drop_tests::current_quarantine(),
        });
        let mut pool = Self { buffers: Vec::with_capacity(count), registrations: Vec::new() };
        for start in starts {
            // SAFETY: `lead + start + bytes <= total`.
            let start = unsafe { arena.mapping.start().cast().add(lead + start) };
            pool.buffers.push(Buffer { start, bytes: bytes.get(), registration: 0, arena: Arc::clone(&arena) });
        }
        pool.register();
        Ok(pool)
    }

    /// The memory from the first buffer to the last, for a second hand in it: from now on the buffers are no slices any more, for good.
    pub fn window(&mut self) -> Option<Window> {
        let (first, last) = (self.buffers.first()?, self.buffers.last()?);
        first.arena.shared.store(true, Ordering::Relaxed);
        let bytes = last.start.as_ptr() as usize + last.bytes - first.start.as_ptr() as usize;
        Some(Window { start: first.start, bytes, _arena: Arc::clone(&first.arena) })
    }

    /// Groups neighbouring buffers into as few registrations as the kernel's limit on their size allows.
    fn register(&mut self) {
        for buffer in &mut self.buffers {
            let end = buffer.start.as_ptr() as usize + buffer.bytes;
            if let Some(last) = self.registrations.last_mut()
                && end - last.start as usize <= REGISTRATION_BYTES_MAX
            {
                last.bytes = end - last.start as usize;
            } else {
                self.registrations.push(Registration { start: buffer.start.as_ptr(), bytes: buffer.bytes });
            }
            buffer.registration = u16::try_from(self.registrations.len() - 1).unwrap_or(u16::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize, bytes: usize, align: Align) -> Pool {
        Pool::new(count, NonZeroUsize::new(bytes).expect("not 0"), align).expect("memory")
    }

    #[test]
    fn logical_alignment_makes_most_4k_buffers_straddle_pages_as_in_ltp() {
        let page = page_bytes();
        let pool = pool(8, page, Align::Step(NonZeroUsize::new(512).expect("not 0")));
        for (index, buffer) in pool.buffers.iter().enumerate() {
            assert_eq!(buffer.as_ptr() as usize % page, index * 512 % page);
        }
        let straddling = pool.buffers.iter().filter(|buffer| !(buffer.as_ptr() as usize).is_multiple_of(page)).count();
        assert_eq!(straddling, if page == 4096 { 7 } else { 8 - 8_usize.div_ceil(page / 512) });
    }

    #[test]
    fn offset_alignment_holds_for_every_buffer_and_buffers_do_not_overlap() {
        let page = page_bytes();
        for (bytes, offset) in [(1, 0), (700, 24), (page, 8), (3 * page + 5, page - 1)] {
            let pool = pool(9, bytes, Align::Offset(offset));
            let mut end = 0;
            for buffer in &pool.buffers {
                assert_eq!(buffer.as_ptr() as usize % page, offset);
                assert!(buffer.as_ptr() as usize >= end);
                end = buffer.as_ptr() as usize + buffer.len();
            }
        }
    }

    #[test]
    fn memory_stays_mapped_until_the_last_buffer_is_gone() {
        let mut pool = pool(2, 4096, Align::Offset(0));
        let mut kept = pool.buffers.pop().expect("two");
        drop(pool);
        kept.fill(7);
        assert!(kept.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn every_kind_of_memory_holds_what_is_written_and_starts_where_it_should() {
        let file = tempfile::tempfile().expect("file");
        let bytes = NonZeroUsize::new(3 * page_bytes()).expect("not 0");
        let kinds = [Memory::Inherited, Memory::Shared, Memory::File(std::os::fd::AsFd::as_fd(&file)), Memory::TransparentHuge];
        for memory in kinds {
            let mut pool = Pool::of(memory, 3, bytes, Align::Offset(512)).expect("memory");
            for (index, buffer) in pool.buffers.iter_mut().enumerate() {
                assert_eq!(buffer.as_ptr() as usize % page_bytes(), 512);
                buffer.store(0, &vec![index as u8 + 1; bytes.get()]);
            }
            let window = pool.window().expect("buffers");
            assert_eq!(window.as_ptr(), pool.buffers[0].as_ptr());
            assert_eq!(window.as_ptr() as usize + window.len(), pool.buffers[2].as_ptr() as usize + bytes.get());
            drop(pool);
            // SAFETY: the window keeps the memory, and nobody else has it.
            let kept = unsafe { std::slice::from_raw_parts(window.as_ptr(), window.len()) };
            assert_eq!((kept[0], kept[window.len() - 1]), (1, 3));
        }
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 512).expect("the file was made long enough");
        assert_eq!(byte, [1]);
    }

    #[test]
    fn an_offset_beyond_the_page_is_refused() {
        let error = Pool::new(1, NonZeroUsize::MIN, Align::Offset(page_bytes())).expect_err("must be refused");
        assert_eq!(error.step, Step::Options);
    }

    #[test]
    fn memory_that_others_may_change_is_no_slice() {
        let is_slice = |buffer: &Buffer| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| buffer.first().copied())).is_ok();
        let bytes = NonZeroUsize::new(100).expect("not 0");
        let file = tempfile::tempfile().expect("file");
        for (memory, slice) in [
            (Memory::Private, true),
            (Memory::Inherited, true),
            (Memory::Shared, false),
            (Memory::File(std::os::fd::AsFd::as_fd(&file)), false),
        ] {
            let mut pool = Pool::of(memory, 2, bytes, Align::Offset(0)).expect("memory");
            assert_eq!(is_slice(&pool.buffers[1]), slice, "{memory:?}");
            pool.buffers[1].store(98, b"xy");
            // SAFETY: inside the buffer.
            assert_eq!(unsafe { pool.buffers[1].as_ptr().wrapping_add(99).read_volatile() }, b'y');
            pool.window().expect("one");
            assert!(!is_slice(&pool.buffers[1]), "{memory:?}");
        }
    }
}

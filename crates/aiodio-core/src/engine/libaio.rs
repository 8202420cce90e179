//! Linux's native AIO, `io_setup(2)` and its relatives, without the libaio library: its wrappers hide errno conventions and are one
//! more thing that a machine may lack.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::{c_long, c_ulong};

use super::{Engine, Event, Op, Request, probe};
use crate::error::{Errno, Error, Result, Step};
use crate::recorder::Interface;

/// `struct iocb` of `include/uapi/linux/aio_abi.h`. The fields are 64 bits wide on every architecture; only `key` and `rw_flags`
/// change places with the byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Iocb {
    pub(crate) data: u64,
    #[cfg(target_endian = "little")]
    pub(crate) key: u32,
    pub(crate) rw_flags: u32,
    #[cfg(target_endian = "big")]
    pub(crate) key: u32,
    pub(crate) opcode: u16,
    pub(crate) reqprio: i16,
    pub(crate) fildes: u32,
    pub(crate) buf: u64,
    pub(crate) nbytes: u64,
    pub(crate) offset: i64,
    pub(crate) reserved2: u64,
    pub(crate) flags: u32,
    pub(crate) resfd: u32,
}

pub(crate) const IOCB_CMD_PREAD: u16 = 0;
pub(crate) const IOCB_CMD_PWRITE: u16 = 1;

/// `struct io_event` of the same header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IoEvent {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

/// `struct aio_ring` of `fs/aio.c`: what an `aio_context_t` points to. The kernel keeps this layout for programs that reap in user
/// space, and `compat_features`, `incompat_features` and `magic` tell whether it still does.
#[repr(C, align(8))]
#[derive(Debug)]
struct Ring {
    id: u32,
    nr: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
    compat_features: u32,
    incompat_features: u32,
    header_bytes: u32,
}

const RING_MAGIC: u32 = 0xa10a_10a1;
const RING_HEADER_BYTES: u32 = 32;

/// Contexts without operations, with their depths, for the next engine of the same depth: `io_destroy(2)` waits for two RCU grace
/// periods (`free_ioctx_users()` in `fs/aio.c`), tens of milliseconds in which nothing else happens.
static IDLE: Mutex<Vec<(usize, c_ulong)>> = Mutex::new(Vec::new());
/// So few that `fs.aio-max-nr`, 65536 by default, hardly feels them.
const IDLE_CONTEXTS_MAX: usize = 8;
const IDLE_DEPTH_MAX: usize = 256;

/// An AIO context.
#[derive(Debug)]
pub struct LibaioEngine {
    context: c_ulong,
    depth: usize,
    /// Submitted and not reaped.
    with_kernel: usize,
    /// The kernel reads these only during `io_submit(2)`, so one set serves all submissions.
    iocbs: Vec<Iocb>,
    pointers: Vec<*mut Iocb>,
    events: Vec<IoEvent>,
    ring_is_readable: bool,
}

impl LibaioEngine {
    /// A context for `depth` operations: one that an earlier engine left, or `io_setup(2)`.
    pub fn new(depth: NonZeroUsize) -> Result<Self> {
        let depth = depth.get();
        let context = match take_idle(depth) {
            Some(context) => context,
            None => setup(depth)?,
        };
        let mut iocbs = vec![Iocb::default(); depth];
        let start = iocbs.as_mut_ptr();
        let mut engine = Self {
            context,
            depth,
            with_kernel: 0,
            pointers: (0..depth).map(|index| start.wrapping_add(index)).collect(),
            iocbs,
            events: vec![IoEvent::default(); depth],
            ring_is_readable: false,
        };
        let ring = engine.ring();
        engine.ring_is_readable = ring.magic == RING_MAGIC && ring.incompat_features == 0 && ring.header_bytes == RING_HEADER_BYTES;
        Ok(engine)
    }

    fn ring_start(&self) -> *const Ring {
        std::ptr::with_exposed_provenance(self.context as usize)
    }

    fn ring(&self) -> &Ring {
        // SAFETY: the kernel mapped the ring at the address that identifies the context, for as long as the context lives. What the
        // kernel changes in it is atomic here.
        unsafe { &*self.ring_start() }
    }

    /// Takes events out of the mapped ring when at least `min` are there, without a system call. The kernel supports this beside its
    /// own reading: it recomputes the free places from `head` (`user_refill_reqs_available()` in `fs/aio.c`, since Linux 3.17).
    fn reap_ring(&self, min: usize, events: &mut Vec<Event>) -> bool {
        if !self.ring_is_readable {
            return false;
        }
        let ring = self.ring();
        let mut head = ring.head.load(Ordering::Relaxed);
        // Pairs with the kernel's write barrier between storing an event and publishing the tail.
        let tail = ring.tail.load(Ordering::Acquire);
        let nr = ring.nr;
        if nr == 0 || head >= nr || tail >= nr {
            return false;
        }
        let ready = (tail + nr - head) % nr;
        if (ready as usize) < min {
            return false;
        }
        let first = self.ring_start().wrapping_add(1).cast::<IoEvent>();
        while head != tail {
            // SAFETY: `head < nr`, and the kernel has published this event and will not overwrite it before `head` passes it.
            let event = unsafe { first.wrapping_add(head as usize).read_volatile() };
            events.push(Event { slot: event.data, result: event.res });
            head = (head + 1) % nr;
        }
        // The events have been read before the kernel may reuse their places.
        ring.head.store(head, Ordering::Release);
        true
    }
}

fn take_idle(depth: usize) -> Option<c_ulong> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let index = idle.iter().position(|(of, _)| *of == depth)?;
    Some(idle.remove(index).1)
}

fn setup(depth: usize) -> Result<c_ulong> {
    // Of a larger number the kernel would take the lower half.
    if u32::try_from(depth).is_err() {
        return Err(setup_error(depth, Errno(libc::EINVAL)));
    }
    loop {
        let mut context: c_ulong = 0;
        // SAFETY: `context` outlives the call.
        if unsafe { libc::syscall(libc::SYS_io_setup, depth as c_long, &raw mut context) } == 0 {
            return Ok(context);
        }
        let errno = Errno::last();
        let idle = std::mem::take(&mut *IDLE.lock().unwrap_or_else(PoisonError::into_inner));
        if errno.0 != libc::EAGAIN || idle.is_empty() {
            return Err(setup_error(depth, errno));
        }
        // What is kept here counts against the limit too.
        for (_, context) in idle {
            destroy(context);
        }
    }
}

fn destroy(context: c_ulong) {
    // SAFETY: the context is this process's own and nobody uses it any more. The call waits for operations in flight.
    unsafe { libc::syscall(libc::SYS_io_destroy, context) };
}

// SAFETY: events are the kernel's, of control blocks that it accepted; dropping waits in `io_destroy(2)`.
unsafe impl Engine for LibaioEngine {
    fn interface(&self) -> Interface {
        Interface::Libaio
    }

    fn capacity(&self) -> usize {
        self.depth
    }

    unsafe fn submit(&mut self, requests: &[Request]) -> std::result::Result<usize, Errno> {
        let count = requests.len().min(self.iocbs.len());
        for (iocb, request) in self.iocbs.iter_mut().zip(requests) {
            *iocb = Iocb {
                data: u64::from(request.slot),
                opcode: if request.op == Op::Write { IOCB_CMD_PWRITE } else { IOCB_CMD_PREAD },
                fildes: request.fd as u32,
                buf: request.start.expose_provenance() as u64,
                nbytes: request.bytes as u64,
                offset: request.offset as i64,
                ..Iocb::default()
            };
        }
        // SAFETY: `count` pointers to initialised control blocks; the caller vouches for the memory they name.
        let taken = unsafe { libc::syscall(libc::SYS_io_submit, self.context, count as c_long, self.pointers.as_mut_ptr()) };
        let taken = usize::try_from(taken).map_err(|_| Errno::last())?;
        self.with_kernel += taken;
        Ok(taken)
    }

    fn reap(&mut self, min: usize, events: &mut Vec<Event>) -> std::result::Result<(), Errno> {
        let before = events.len();
        if self.reap_ring(min.max(1), events) {
            self.with_kernel = self.with_kernel.saturating_sub(events.len() - before);
            return Ok(());
        }
        // SAFETY: room for as many events as are asked for; no timeout.
        let count = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                min as c_long,
                self.events.len() as c_long,
                self.events.as_mut_ptr(),
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        let count = usize::try_from(count).map_err(|_| Errno::last())?;
        self.with_kernel = self.with_kernel.saturating_sub(count);
        events.extend(self.events[..count].iter().map(|event| Event { slot: event.data, result: event.res }));
        Ok(())
    }
}

impl Drop for LibaioEngine {
    fn drop(&mut self) {
        if self.with_kernel > 0 || self.depth > IDLE_DEPTH_MAX {
            return destroy(self.context);
        }
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((self.depth, self.context));
        let oldest = (idle.len() > IDLE_CONTEXTS_MAX).then(|| idle.remove(0).1);
        drop(idle);
        if let Some(context) = oldest {
            destroy(context);
        }
    }
}

/// Why this process has no AIO, if it has none: asks for a context of no operations, which is EINVAL wherever AIO is, and makes none.
pub(crate) fn absent() -> Option<Error> {
    let mut context: c_ulong = 0;
    // SAFETY: `context` outlives the call.
    unsafe { libc::syscall(libc::SYS_io_setup, 0 as c_long, &raw mut context) };
    let errno = Errno::last();
    (errno.0 != libc::EINVAL).then(|| setup_error(0, errno))
}

fn setup_error(depth: usize, errno: Errno) -> Error {
    let message = match errno.0 {
        libc::EAGAIN => {
            let limits = probe::aio();
            let number = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
            format!(
                "An AIO context for {depth} operations is more than the system has left (fs.aio-nr is {}, fs.aio-max-nr is {}): \
                 use fewer control blocks, or run: sysctl -w fs.aio-max-nr={}",
                number(limits.in_use),
                number(limits.max),
                (limits.in_use.unwrap_or(0) + depth as u64).next_power_of_two().max(1 << 20),
            )
        }
        libc::EINVAL => format!("An AIO context for {depth} operations is larger than Linux can make one"),
        libc::ENOSYS => "The kernel has no AIO (CONFIG_AIO): use the engine io_uring or sync".to_owned(),
        libc::EPERM | libc::EACCES => {
            "AIO is forbidden here, by a container's seccomp filter or a security module: use the engine io_uring or sync"
                .to_owned()
        }
        _ => format!("An AIO context for {depth} operations could not be made"),
    };
    Error::new(Step::Setup, message).errno(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_block_has_the_kernels_layout() {
        assert_eq!(size_of::<Iocb>(), 64);
        assert_eq!(std::mem::offset_of!(Iocb, opcode), 16);
        assert_eq!(std::mem::offset_of!(Iocb, buf), 24);
        assert_eq!(std::mem::offset_of!(Iocb, rw_flags), if cfg!(target_endian = "little") { 12 } else { 8 });
        assert_eq!(size_of::<IoEvent>(), 32);
        assert_eq!(size_of::<Ring>(), RING_HEADER_BYTES as usize);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_depth_of_which_the_kernel_would_take_the_lower_half_is_refused() {
        let error = LibaioEngine::new(NonZeroUsize::new((1 << 32) + 1).expect("not zero")).expect_err("too deep");
        assert_eq!((error.step, error.errno), (Step::Setup, Some(Errno(libc::EINVAL))));
    }

    /// A depth that no other test uses, so that they do not take each other's contexts.
    fn engine() -> LibaioEngine {
        LibaioEngine::new(NonZeroUsize::new(251).expect("not zero")).expect("AIO is there")
    }

    #[test]
    fn a_context_is_used_again_only_when_nothing_is_left_in_it() {
        let mut first = engine();
        let context = first.context;
        // As if an operation had not been reaped: its event would come to the next engine, for a buffer of its own.
        first.with_kernel = 1;
        drop(first);
        let held = engine();
        assert!(!IDLE.lock().expect("no test panics while it holds this").iter().any(|(_, idle)| *idle == context));
        let context = held.context;
        drop(held);
        assert_eq!(engine().context, context);
    }
}

//! A storm of signals at chosen threads, handled without `SA_RESTART`, so that it interrupts whatever sleep of theirs can be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use crate::error::{Errno, Error, Result, Step};

/// By default it does nothing, so one that comes late harms nobody; Node does not use it.
const SIGNAL: libc::c_int = libc::SIGURG;
/// Between two signals. One thread gets each, in turn.
const PAUSE: Duration = Duration::from_micros(50);

extern "C" fn handle(_signal: libc::c_int) {}

/// Installs the handler for the rest of the process's life: it must be there for as long as a signal may be on its way.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: all zeros is a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing. The call cannot fail for this signal.
        unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) };
    });
}

/// The threads that are signalled.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(Arc<Mutex<Vec<libc::pid_t>>>);

/// Signals the thread that made it until it is dropped.
#[derive(Debug)]
pub(super) struct Target {
    targets: Targets,
    thread: libc::pid_t,
}

impl Targets {
    fn lock(&self) -> MutexGuard<'_, Vec<libc::pid_t>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the calling thread.
    pub(super) fn add(&self) -> Target {
        // SAFETY: no arguments.
        let thread = unsafe { libc::gettid() };
        self.lock().push(thread);
        Target { targets: self.clone(), thread }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Under the lock, so that nobody signals a thread that is gone: its number may be another's by then.
        self.targets.lock().retain(|thread| *thread != self.thread);
    }
}

/// Blows until it is dropped.
#[derive(Debug)]
pub(super) struct Storm {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    pub(super) fn start(targets: Targets) -> Result<Self> {
        install();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let process = std::process::id() as libc::pid_t;
        let storm = move || {
            let mut next = 0_usize;
            while !stopped.load(Ordering::Relaxed) {
                let threads = targets.lock();
                if !threads.is_empty() {
                    next = (next + 1) % threads.len();
                    // SAFETY: signals a thread of this process that lives while the lock is held.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, threads[next], SIGNAL) };
                    count.fetch_add(1, Ordering::Relaxed);
                }
                drop(threads);
                std::thread::sleep(PAUSE);
            }
        };
        let thread = std::thread::Builder::new().name("storm".to_owned()).spawn(storm).map_err(|error| {
            Error::new(Step::Setup, "The thread that sends the signals could not be made").errno(Errno::from(&error))
        })?;
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// Signals sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

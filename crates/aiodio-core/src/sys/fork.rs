//! Children of a process with threads: no signal's handler runs in them, they hold none of its descriptors, and they do not outlive
//! whoever made them.

use crate::error::{Errno, Error, Result, Step};

/// Forks a child that runs `body`, which is given its parent's process ID, and ends. The child dies with the thread that forked it.
///
/// # Safety
/// `body` may use memory and atomics and make system calls that are async-signal-safe; it must not allocate, lock or panic.
pub(crate) unsafe fn fork(body: impl FnOnce(libc::pid_t)) -> Result<Child> {
    // SAFETY: getpid has no conditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: all zeros is a signal set.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(&raw mut all) };
    // Node's handlers would run in the child and write to pipes that it shares with its parent.
    // SAFETY: two sets that outlive the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    // SAFETY: what the child does is the caller's promise.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it makes system calls only.
        unsafe { become_child(parent) };
        body(parent);
        // SAFETY: ends this process without a look at its parent's state.
        unsafe { libc::_exit(0) };
    }
    let errno = Errno::last();
    // SAFETY: the set that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    if child < 0 {
        return Err(Error::new(Step::Setup, "No child process could be made").errno(errno));
    }
    Ok(Child(child))
}

/// # Safety
/// Only in a child that has nothing to lose.
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "four system calls with one reason")]
unsafe fn become_child(parent: libc::pid_t) {
    // SAFETY: system calls without memory.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        // No pipe of the parent must stay open because of the child. Linux 5.9; before that they do until it ends.
        libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32);
        // It was gone before it could be watched.
        if libc::getppid() != parent {
            libc::_exit(0);
        }
    }
}

/// A child made by [`fork`]. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub(crate) struct Child(pub(crate) libc::pid_t);

impl Child {
    /// Waits until it has ended by itself. Its exit status; `None` when a signal ended it.
    pub(crate) fn wait(self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: a child of ours, and room for the answer.
        while unsafe { libc::waitpid(self.0, &raw mut status, 0) } < 0 && Errno::last() == Errno(libc::EINTR) {}
        std::mem::forget(self);
        libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of ours that nobody else waits for, so the number is still its own.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: as above.
        while unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) } < 0 && Errno::last() == Errno(libc::EINTR) {}
    }
}

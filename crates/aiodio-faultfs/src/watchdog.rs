//! Sees to it that a server dies before its mount goes, whoever is killed.
//!
//! The last reference to a mount namespace unmounts what is mounted there, and with `fuseblk` that waits for the server's answer
//! (`fuse_send_destroy`). It comes before a dying process closes its files, its end of a pipe included, and before its parent is
//! told: a server that has been stopped, or hangs, would never learn that it is to end. So the watchdog holds the namespace, without
//! being in it, until the server is dead. The kernel has aborted the connection by then, and nobody waits.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::parent_id;

use rustix::process::{PidfdFlags, getpid, pidfd_open};

/// How long the server may take to end after its standard input.
const PATIENCE_MS: libc::c_int = 5_000;

/// Starts the watchdog of this process: a child that kills it when it is still there five seconds after the end of its standard
/// input, and that ends with it otherwise. It keeps the mount namespace of whoever has started this process until then. To be called
/// before a filesystem is served, so that the child has none of it open.
pub(crate) fn start() -> io::Result<()> {
    let namespace = File::open(format!("/proc/{}/ns/mnt", parent_id()))?;
    let server = pidfd_open(getpid(), PidfdFlags::empty())?;
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // No handler of this process may run in the child.
    // SAFETY: a set that is filled, and room for another.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: the child makes system calls only, which may follow a fork of a process with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        watch(server.as_raw_fd(), namespace.as_raw_fd());
    }
    let failure = io::Error::last_os_error();
    // SAFETY: the set that was in force before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    if child < 0 { Err(failure) } else { Ok(()) }
}

/// What the child does. Nothing here may allocate, lock or panic.
fn watch(server: RawFd, namespace: RawFd) -> ! {
    // SAFETY: a name of less than 16 bytes, with its end.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"faultfs-watch".as_ptr()) };
    // Whatever else it inherited it must not keep open: standard input and these two are what it needs.
    let (low, high) = (server.min(namespace) as libc::c_uint, server.max(namespace) as libc::c_uint);
    close_range(1, low - 1);
    close_range(low + 1, high - 1);
    close_range(high + 1, libc::c_uint::MAX);
    // Hanging up is told without being asked for.
    let input = libc::pollfd { fd: libc::STDIN_FILENO, events: 0, revents: 0 };
    let end = libc::pollfd { fd: server, events: libc::POLLIN, revents: 0 };
    let mut both = [input, end];
    loop {
        // SAFETY: two complete entries.
        let ready = unsafe { libc::poll(both.as_mut_ptr(), 2, -1) };
        if ready > 0 {
            break;
        }
    }
    if both[1].revents == 0 {
        let mut server_only = end;
        // SAFETY: one complete entry.
        unsafe { libc::poll(&raw mut server_only, 1, PATIENCE_MS) };
        // SAFETY: a system call whose pointer may be null; that the server is gone already is an error that matters to nobody.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, server, libc::SIGKILL, std::ptr::null::<libc::siginfo_t>(), 0) };
        // The namespace goes with this process, and that must not be before the server's files are closed.
        // SAFETY: one complete entry.
        unsafe { libc::poll(&raw mut server_only, 1, -1) };
    }
    // SAFETY: nothing of this process has to be tidied up by its own hand.
    unsafe { libc::_exit(0) }
}

/// Closes these and all between; kernels before 5.9 keep them open.
fn close_range(first: libc::c_uint, last: libc::c_uint) {
    if first <= last {
        // SAFETY: nobody in this process uses them any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

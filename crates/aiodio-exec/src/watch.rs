//! A Node process, what it tells, and how it ends; and the signals that end a run.

use std::ffi::OsString;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

/// One Ctrl-C may arrive twice: from the terminal, and forwarded by npx. Only a later one is meant as another.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// What has happened.
pub(crate) enum News {
    /// A line that the process told.
    Fact(String),
    /// It is gone, and all that it told has been heard.
    Ended(ExitStatus),
    /// The time is over.
    Late,
    /// Somebody ends the run.
    Interrupted,
    /// And again: now.
    InterruptedAgain,
}

/// The signals that this process waits for.
pub(crate) struct Signals {
    interrupts: UnixStream,
    children: UnixStream,
    first: Option<Instant>,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupts: stream_of(&[SIGINT, SIGTERM, SIGHUP])?, children: stream_of(&[SIGCHLD])?, first: None })
    }

    /// Whether there was one that is meant: the first, or a later one.
    fn interrupted(&mut self) -> Option<News> {
        if !drained(&mut self.interrupts) {
            return None;
        }
        match self.first {
            None => {
                self.first = Some(Instant::now());
                Some(News::Interrupted)
            }
            Some(first) if first.elapsed() > SAME_SIGNAL => Some(News::InterruptedAgain),
            Some(_) => None,
        }
    }
}

fn stream_of(signals: &[i32]) -> std::io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// Takes what is there; whether that is anything.
fn drained(stream: &mut UnixStream) -> bool {
    let mut bytes = [0; 64];
    let mut any = false;
    while stream.read(&mut bytes).is_ok_and(|got| got > 0) {
        any = true;
    }
    any
}

/// A Node process that is watched.
pub(crate) struct Watch {
    child: Child,
    ended: Option<ExitStatus>,
    facts: PipeReader,
    /// Text that is no whole line yet.
    heard: Vec<u8>,
    told_all: bool,
    /// Its end is how the process learns that nobody watches it any more.
    _life: PipeWriter,
}

impl Watch {
    /// Starts `script` in a session of its own, so that Ctrl-C reaches this process only and one signal ends it with its children. Its
    /// arguments are the descriptors of two pipes (the one that ends with this process, the one for what it tells), `facts`, and then
    /// `arguments`; it inherits the `held` files.
    pub(crate) fn start(
        node: &OsString,
        script: &Path,
        facts: &[String],
        arguments: &[OsString],
        held: &[&OwnedFd],
        shielded: bool,
    ) -> std::io::Result<Self> {
        let (life_end, life) = std::io::pipe()?;
        let (told, tell) = std::io::pipe()?;
        rustix::fs::fcntl_setfl(&told, OFlags::NONBLOCK)?;
        let mut inherited: Vec<RawFd> = held.iter().map(|file| file.as_raw_fd()).collect();
        inherited.extend([life_end.as_raw_fd(), tell.as_raw_fd()]);
        let mut command = Command::new(node);
        command.arg(script).args([life_end.as_raw_fd().to_string(), tell.as_raw_fd().to_string()]);
        command.args(facts).args(arguments).stdin(Stdio::null());
        // SAFETY: it makes system calls only, and takes no memory.
        unsafe { command.pre_exec(move || become_watched(&inherited, shielded)) };
        let child = command.spawn()?;
        Ok(Self { child, ended: None, facts: told, heard: Vec::new(), told_all: false, _life: life })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL to it and all its children.
    pub(crate) fn kill(&self) {
        if self.ended.is_none()
            && let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits for what happens next, but not beyond `until`.
    pub(crate) fn next(&mut self, signals: &mut Signals, until: Option<Instant>) -> std::io::Result<News> {
        loop {
            // In this order: what was told before its end is heard, and what happens from here on ends the poll.
            drained(&mut signals.children);
            if self.ended.is_none() {
                self.ended = self.child.try_wait()?;
            }
            self.hear();
            if let Some(fact) = self.line() {
                return Ok(News::Fact(fact));
            }
            if let Some(status) = self.ended {
                return Ok(News::Ended(status));
            }
            if let Some(news) = signals.interrupted() {
                return Ok(news);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let files = [signals.interrupts.as_fd(), signals.children.as_fd(), self.facts.as_fd()];
            let mut files = files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN));
            // The end of a stream that has ended is no news.
            let watched = if self.told_all { 2 } else { 3 };
            match rustix::event::poll(&mut files[..watched], timeout.as_ref()) {
                Ok(0) => return Ok(News::Late),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What it told and nobody has asked for.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.hear();
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Reads what is there.
    fn hear(&mut self) {
        let mut bytes = [0; 4096];
        while !self.told_all {
            match self.facts.read(&mut bytes) {
                Ok(0) => self.told_all = true,
                Ok(got) => self.heard.extend_from_slice(&bytes[..got]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let line = self.heard.drain(..=end).take(end).collect::<Vec<_>>();
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

/// What the child does before it becomes Node.
fn become_watched(inherited: &[RawFd], shielded: bool) -> std::io::Result<()> {
    rustix::process::setsid()?;
    for fd in inherited {
        // SAFETY: the parent has it open until the child has been made.
        let file = unsafe { BorrowedFd::borrow_raw(*fd) };
        rustix::io::fcntl_setfd(file, FdFlags::empty())?;
    }
    if shielded {
        set_oom_score(b"0");
    }
    Ok(())
}

/// This process is not to be killed when memory is short: the testcase is, and what it starts. Only root may ask for that; where it
/// can't be had, all goes on without.
pub(crate) fn shield_from_oom() -> bool {
    rustix::process::geteuid().is_root() && set_oom_score(b"-1000")
}

/// Makes system calls only, since a child calls it before it becomes another program.
fn set_oom_score(score: &[u8]) -> bool {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty()).and_then(|file| rustix::io::write(file, score)).is_ok()
}

//! Serves the filesystem and takes orders on a socket.
//!
//! **Nothing waits for itself.** Whoever wants the filesystem mounted mounts it in its own mount namespace and hands the server the
//! other end ([`Client::mount`]). The server must be in another one: the last process that leaves a namespace unmounts what is there
//! and waits for the server's answer (`fuse_send_destroy` of Linux, for `fuseblk`), so a server that is the last could not die.
//!
//! Orders and answers are lines. An order is one line, for `rules` followed by the lines that it announces; the answer is `ok` with a
//! number of lines that follow, or `error` with the reason.
//!
//! | order | what it does | lines of the answer |
//! |---|---|---|
//! | `device` | | the block device for the mount to lie on, where there is one |
//! | `serve` | takes the file of `/dev/fuse` that comes behind it, which is mounted; from the second time on that is a remount | |
//! | `rules N` | replaces the rules by those in the next N lines; counting starts anew | |
//! | `fired` | | `count TIMES` for each rule in order, then `did RULE OFFSET LENGTH PATH` for the first faults applied |

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use aiodio_core::error::{Errno, Error, Result, Step};
use aiodio_core::mount::{self, Mount};
use fuser::{Config, Session, SessionACL};

use crate::faults::Fired;
use crate::filesystem::Mounted;
use crate::rule::Rule;
use crate::store::Store;
use crate::tree::{BLOCK_BYTES, Owner};
use crate::{handover, watchdog};

const FUSE_DEVICE: &str = "/dev/fuse";
/// Requests answered at the same time. What a rule delays takes none of them.
const THREADS: usize = 4;
/// A line longer than this is no order.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the socket for orders is made.
    pub control: PathBuf,
    /// A block device for the mount to lie on, which is never read nor written: programs that look for the device of a filesystem find
    /// one, with its logical block size. Without it they find none.
    pub device: Option<PathBuf>,
    /// How much can be stored, in bytes.
    pub capacity_bytes: u64,
    /// From the beginning.
    pub rules: Vec<Rule>,
}

struct Server {
    store: Arc<Store>,
    device: Option<PathBuf>,
    mounts: u64,
}

/// Starts the server: threads of this process that live as long as it does, and a watchdog that kills it when it outlives its standard
/// input by five seconds. Nothing is mounted yet.
///
/// This process must not use the mounted filesystem, nor be in a mount namespace where it is mounted: killed while one of its threads
/// waits for another of them, it could not die.
pub fn serve(options: Options) -> Result<()> {
    let failed =
        |message: &str, error: &io::Error, path: &Path| Error::new(Step::Setup, message).errno(Errno::from(error)).path(path);
    if let Err(error) = open_fuse() {
        let message = "There is no FUSE: it needs CONFIG_FUSE_FS (modprobe fuse) and access to this device";
        return Err(failed(message, &error, Path::new(FUSE_DEVICE)));
    }
    let control = &options.control;
    watchdog::start().map_err(|error| failed("The server's watchdog cannot be started", &error, control))?;
    let listener = UnixListener::bind(control).map_err(|error| failed("The socket for orders cannot be made", &error, control))?;
    let threads = |error: &io::Error| failed("A thread cannot be started", error, control);
    let store = Store::new(options.capacity_bytes).map_err(|error| threads(&error))?;
    store.set_rules(options.rules);
    raise_descriptor_limit();
    let mut server = Server { store: Arc::new(store), device: options.device, mounts: 0 };
    let listen = move || {
        for stream in listener.incoming().flatten() {
            // One order at a time; a client that goes away in the middle concerns nobody else.
            let _ = server.attend(&stream);
        }
    };
    thread::Builder::new().name("faultfs-control".to_owned()).spawn(listen).map_err(|error| threads(&error))?;
    Ok(())
}

fn open_fuse() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(FUSE_DEVICE)
}

/// Each file needs a descriptor.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the answer.
    if unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: a complete request. That it fails is no reason to give up.
        unsafe { libc::setrlimit64(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

impl Server {
    fn attend(&mut self, stream: &UnixStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream);
        while let Some(order) = line(&mut lines)? {
            // The file comes behind the answer, so that nothing of it can be in the reader's buffer.
            let answer = match self.obey(&order, stream, &mut lines) {
                Ok(answer) => format!("ok {}\n{}", answer.len(), answer.concat()),
                Err(reason) => format!("error {}\n", reason.replace('\n', " ")),
            };
            let mut stream = stream;
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    fn obey(&mut self, order: &str, mut stream: &UnixStream, lines: &mut impl BufRead) -> std::result::Result<Vec<String>, String> {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("device", "") => Ok(self.device.iter().map(|device| format!("{}\n", device.display())).collect()),
            ("serve", "") => {
                let mut take = || {
                    stream.write_all(b"ok 0\n")?;
                    handover::receive(stream)
                };
                take().and_then(|fuse| self.serve(fuse)).map_err(|error| error.to_string()).map(|()| Vec::new())
            }
            ("rules", count) => {
                let count: usize = count.parse().map_err(|_| format!("'{count}' is no number"))?;
                let mut rules = Vec::new();
                for _ in 0..count {
                    rules.push(line(lines).map_err(|error| error.to_string())?.ok_or("a rule is missing")?);
                }
                let rules = rules.iter().map(|rule| rule.parse()).collect::<std::result::Result<_, crate::BadRule>>();
                self.store.set_rules(rules.map_err(|error| error.to_string())?);
                Ok(Vec::new())
            }
            ("fired", "") => {
                let (counts, log) = self.store.fired();
                let did = log.into_iter().map(|Fired { rule, path, offset, length }| {
                    format!("did {rule} {offset} {length} {}\n", path.replace('\n', "?"))
                });
                Ok(counts.into_iter().map(|count| format!("count {count}\n")).chain(did).collect())
            }
            _ => Err(format!("there is no order '{order}'")),
        }
    }

    /// Serves what is mounted with this file of `/dev/fuse`.
    fn serve(&mut self, fuse: OwnedFd) -> io::Result<()> {
        if self.mounts > 0 {
            self.store.remounted()?;
        }
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let session = Session::from_fd(Mounted(Arc::clone(&self.store)), fuse, SessionACL::All, config)?;
        // It ends when the filesystem is unmounted.
        thread::Builder::new().name("faultfs".to_owned()).spawn(move || session.run())?;
        self.mounts += 1;
        Ok(())
    }
}

/// The next line without its end; `None` when there is none.
fn line(lines: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    lines.take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(line.strip_suffix('\n').map(str::to_owned))
}

/// What the rules have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How often each rule has fired, in the order in which they were set.
    pub counts: Vec<u64>,
    /// The first 4096 faults that were applied.
    pub fired: Vec<Fired>,
}

/// Gives orders to a server.
#[derive(Clone, Debug)]
pub struct Client {
    control: PathBuf,
}

impl Client {
    /// For the server with that socket.
    pub fn new(control: &Path) -> Self {
        Self { control: control.to_owned() }
    }

    /// Mounts the filesystem in the mount namespace of the calling thread; unmounting is `umount(2)`. The first time, it is empty.
    ///
    /// Fails where the server is in that namespace, too.
    pub fn mount(&self, target: &Path) -> Result<()> {
        let mut stream = UnixStream::connect(&self.control).map_err(|error| self.silent(&error))?;
        self.refuse_own_namespace(&stream)?;
        let device = self.talk(&mut stream, "device\n")?.pop().map(PathBuf::from);
        let failed = |error: &io::Error| Error::new(Step::Mount, "FUSE failed").errno(Errno::from(error)).path(target);
        let fuse = open_fuse().map_err(|error| failed(&error))?;
        let (kind, source) = match &device {
            Some(device) => ("fuseblk", device.clone()),
            None => ("fuse", PathBuf::from("aiodio-faultfs")),
        };
        let Owner { user, group } = Owner::of_this_process();
        let mut options = format!(
            "fd={},rootmode=40000,user_id={user},group_id={group},default_permissions,allow_other,nosuid,nodev",
            fuse.as_raw_fd()
        );
        if device.is_some() {
            options = format!("{options},blksize={BLOCK_BYTES}");
        }
        mount::mount(&Mount { source, target: target.to_owned(), kind: kind.to_owned(), options })?;
        self.hand_over(&mut stream, &fuse).inspect_err(|_| {
            // Whoever looked at it would wait for an answer.
            drop(fuse);
            let _ = mount::unmount(target, std::time::Duration::ZERO);
        })
    }

    fn hand_over(&self, stream: &mut UnixStream, fuse: &File) -> Result<()> {
        self.talk(stream, "serve\n")?;
        handover::send(stream, fuse.as_fd()).map_err(|error| self.silent(&error))?;
        self.answer(stream).map(drop)
    }

    /// A server that holds the last reference to its own mount waits for itself.
    fn refuse_own_namespace(&self, stream: &UnixStream) -> Result<()> {
        let server = server_of(stream).map_err(|error| self.silent(&error))?;
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).map_err(|error| self.silent(&error));
        if namespace(&server.to_string())? == namespace("thread-self")? {
            return Err(self.error("The faultfs server is in the mount namespace that it would be mounted in: it could not die"));
        }
        Ok(())
    }

    /// Replaces the rules; counting starts anew.
    pub fn set_rules(&self, rules: &[Rule]) -> Result<()> {
        let rules: String =
            std::iter::once(format!("rules {}\n", rules.len())).chain(rules.iter().map(|rule| format!("{rule}\n"))).collect();
        self.order(&rules).map(drop)
    }

    /// What the rules have done since they were set.
    pub fn fired(&self) -> Result<Report> {
        let mut report = Report::default();
        for line in self.order("fired\n")? {
            let unknown = || self.error("The server's answer is not understood");
            match line.split_once(' ').ok_or_else(unknown)? {
                ("count", count) => report.counts.push(count.parse().map_err(|_| unknown())?),
                ("did", rest) => report.fired.push(did(rest).ok_or_else(unknown)?),
                _ => return Err(unknown()),
            }
        }
        Ok(report)
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(Step::Setup, message).path(&self.control)
    }

    fn silent(&self, error: &io::Error) -> Error {
        self.error("The faultfs server does not answer").errno(Errno::from(error))
    }

    fn order(&self, order: &str) -> Result<Vec<String>> {
        let mut stream = UnixStream::connect(&self.control).map_err(|error| self.silent(&error))?;
        self.talk(&mut stream, order)
    }

    fn talk(&self, stream: &mut UnixStream, order: &str) -> Result<Vec<String>> {
        stream.write_all(order.as_bytes()).map_err(|error| self.silent(&error))?;
        self.answer(stream)
    }

    /// The lines of one answer, which nothing comes behind unasked.
    fn answer(&self, stream: &mut UnixStream) -> Result<Vec<String>> {
        let read = || -> io::Result<std::result::Result<Vec<String>, String>> {
            let mut lines = BufReader::new(&*stream);
            let gone = || io::Error::from_raw_os_error(libc::ECONNRESET);
            let head = line(&mut lines)?.ok_or_else(gone)?;
            let Some(count) = head.strip_prefix("ok ").and_then(|count| count.parse().ok()) else {
                return Ok(Err(head.strip_prefix("error ").unwrap_or(&head).to_owned()));
            };
            (0..count).map(|_| line(&mut lines)?.ok_or_else(gone)).collect::<io::Result<_>>().map(Ok)
        };
        read().map_err(|error| self.silent(&error))?.map_err(|reason| self.error(reason))
    }
}

/// The process at the other end: the one that listens.
fn server_of(stream: &UnixStream) -> io::Result<libc::pid_t> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: room for the answer, and its length.
    let result = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut length)
    };
    if result == 0 { Ok(peer.pid) } else { Err(io::Error::last_os_error()) }
}

fn did(text: &str) -> Option<Fired> {
    let mut words = text.splitn(4, ' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (rule, offset, length) = (number()? as usize, number()?, number()?);
    Some(Fired { rule, path: words.next()?.to_owned(), offset, length })
}

/// Leaves the mount namespace of whoever started this process, for a private copy. For a process that has no other thread yet.
pub fn leave_mount_namespace() -> Result<()> {
    let failed = |message: &str| Error::new(Step::Setup, message).errno(Errno::last());
    // SAFETY: this concerns the calling thread, which is the only one.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(failed("A mount namespace of its own needs root"));
    }
    let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: NUL-terminated or null strings.
    if unsafe { libc::mount(none, c"/".as_ptr(), none, flags, none.cast()) } != 0 {
        return Err(failed("Its mounts cannot be made private"));
    }
    Ok(())
}

/// Returns when standard input ends: when whoever started this process is gone.
pub fn wait_for_end_of_input() {
    let mut input = io::stdin().lock();
    let mut nothing = [0; 64];
    while matches!(input.read(&mut nothing), Ok(1..)) {}
}

//! A real mount for each test, in a mount namespace of the test's thread, served by a process of its own.
#![allow(
    dead_code,
    clippy::unwrap_used,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part; a panic is how a test fails"
)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aiodio_core::mount;
use aiodio_faultfs::{Client, Rule};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A mounted fault filesystem.
#[derive(Debug)]
pub struct Mounted {
    place: tempfile::TempDir,
    server: Child,
    pub client: Client,
}

fn check(result: libc::c_int, what: &str) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("{what}: {}", std::io::Error::last_os_error())) }
}

/// From now on, what this thread mounts is nobody else's.
fn private_namespace() -> Result<(), String> {
    // SAFETY: this concerns the calling thread only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }, "unshare")?;
    let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: NUL-terminated or null strings.
    check(unsafe { libc::mount(none, c"/".as_ptr(), none, flags, none.cast()) }, "mount --make-rprivate /")
}

impl Mounted {
    /// `None` where there can be none: without root or /dev/fuse. In CI that is a failure.
    pub fn with(rules: &[&str]) -> Option<Self> {
        let possible = private_namespace().and_then(|()| {
            let fuse = std::fs::metadata("/dev/fuse");
            fuse.map(drop).map_err(|error| format!("/dev/fuse: {error}"))
        });
        if let Err(reason) = possible {
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            eprintln!("not tested: {reason}");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let control = place.path().join("control");
        let mut server = Command::new(env!("CARGO_BIN_EXE_aiodio-faultfs"))
            .args(["--control".as_ref(), control.as_os_str()])
            .args(rules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut word).unwrap();
        assert_eq!(word, "ready\n");
        let client = Client::new(&control);
        client.mount(&root).unwrap();
        Some(Self { place, server, client })
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn server(&self) -> i32 {
        self.server.id() as i32
    }

    pub fn set(&self, rules: &[&str]) {
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        self.client.set_rules(&rules).unwrap();
    }

    /// How often each rule has fired.
    pub fn counts(&self) -> Vec<u64> {
        self.client.fired().unwrap().counts
    }

    /// Rule, offset and length of each fault applied.
    pub fn fired(&self) -> Vec<(usize, u64, u64)> {
        self.client.fired().unwrap().fired.into_iter().map(|fired| (fired.rule, fired.offset, fired.length)).collect()
    }

    pub fn remount(&self) {
        mount::unmount(&self.root(), PATIENCE).unwrap();
        self.client.mount(&self.root()).unwrap();
    }

    /// A file opened for everything, made if need be.
    pub fn open(&self, name: &str, direct: bool) -> File {
        let flags = if direct { libc::O_DIRECT } else { 0 };
        OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(flags).open(self.path(name)).unwrap()
    }

    /// The whole file, by direct reads of at most 64 KiB.
    pub fn direct(&self, name: &str) -> Vec<u8> {
        whole(&self.open(name, true))
    }

    /// The whole file, through the page cache, from a new open file.
    pub fn cached(&self, name: &str) -> Vec<u8> {
        whole(&self.open(name, false))
    }

    /// What the verification level `disk` reads: after dropping the page cache.
    pub fn disk(&self, name: &str) -> Vec<u8> {
        let file = self.open(name, false);
        file.sync_data().unwrap();
        // SAFETY: advice about an open file.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) }, 0);
        self.direct(name)
    }

    pub fn write(&self, name: &str, direct: bool, offset: u64, bytes: &[u8]) {
        self.open(name, direct).write_all_at(bytes, offset).unwrap();
    }
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read_at(&mut piece, bytes.len() as u64).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = mount::unmount(&self.root(), PATIENCE);
        // The end of its standard input.
        drop(self.server.stdin.take());
        let status = self.server.wait().unwrap();
        if !std::thread::panicking() {
            unmounted.unwrap();
            assert!(status.success(), "{status}");
        }
    }
}

/// Where two contents differ.
pub fn differences(a: &[u8], b: &[u8]) -> Vec<std::ops::Range<u64>> {
    assert_eq!(a.len(), b.len());
    let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
    for at in (0..a.len()).filter(|at| a[*at] != b[*at]).map(|at| at as u64) {
        match ranges.last_mut() {
            Some(range) if range.end == at => range.end += 1,
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

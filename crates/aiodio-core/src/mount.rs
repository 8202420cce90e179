//! `mount(2)` and `umount2(2)`, with errors that say what the kernel says.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{Errno, Error, Result, Step};
use crate::storage::c_path;
use crate::sys::ioctl::{BLKFLSBUF, ioctl};

/// A filesystem and its place.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "MountOptions"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// The device; any word where the filesystem has none.
    pub source: PathBuf,
    /// The directory.
    pub target: PathBuf,
    /// As in `/proc/filesystems`.
    #[serde(rename = "type")]
    pub kind: String,
    /// As for `mount -o`: separated by commas.
    pub options: String,
}

/// The options that are flags of the call. What is not here is for the filesystem to understand.
const FLAGS: &[(&str, libc::c_ulong)] = &[
    ("defaults", 0),
    ("rw", 0),
    ("ro", libc::MS_RDONLY),
    ("nosuid", libc::MS_NOSUID),
    ("nodev", libc::MS_NODEV),
    ("noexec", libc::MS_NOEXEC),
    ("sync", libc::MS_SYNCHRONOUS),
    ("dirsync", libc::MS_DIRSYNC),
    ("noatime", libc::MS_NOATIME),
    ("nodiratime", libc::MS_NODIRATIME),
    ("relatime", libc::MS_RELATIME),
    ("strictatime", libc::MS_STRICTATIME),
    ("lazytime", libc::MS_LAZYTIME),
];

fn flags_and_data(options: &str) -> (libc::c_ulong, String) {
    let mut flags = 0;
    let mut data = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match FLAGS.iter().find(|(name, _)| *name == option) {
            Some((_, flag)) => flags |= flag,
            None => data.push(option),
        }
    }
    (flags, data.join(","))
}

/// Mounts it. What the kernel logs about a failure is part of the error's message.
pub fn mount(mount: &Mount) -> Result<()> {
    let (flags, data) = flags_and_data(&mount.options);
    let source = c_path(&mount.source)?;
    let target = c_path(&mount.target)?;
    let kind = c_string(&mount.kind)?;
    let data = c_string(&data)?;
    let log = KernelLog::open();
    // SAFETY: four NUL-terminated strings.
    let failed = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) } != 0;
    if !failed {
        return Ok(());
    }
    let errno = Errno::last();
    let mut message = match errno.0 {
        libc::ENODEV => format!("The kernel has no filesystem {}", mount.kind),
        libc::EBUSY => format!("{} is in use already", mount.source.display()),
        libc::EPERM | libc::EACCES => "Mounting is not permitted: it needs root (CAP_SYS_ADMIN)".to_owned(),
        libc::EINVAL => format!("The kernel does not accept this {} or its mount options", mount.kind),
        _ => format!("This {} cannot be mounted", mount.kind),
    };
    let words = log.map(|log| log.about(mount)).unwrap_or_default();
    if !words.is_empty() {
        message = format!("{message}. Kernel log: {}", words.join(" / "));
    }
    Err(Error::new(Step::Mount, message).errno(errno).path(&mount.target))
}

const BUSY_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Unmounts what is mounted there. Files whose last descriptor was closed a moment ago, by an exiting process or an AIO context, may
/// still be in use: EBUSY is an error only when it lasts as long as `patience`.
pub fn unmount(target: &Path, patience: Duration) -> Result<()> {
    let c = c_path(target)?;
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        // SAFETY: a NUL-terminated path.
        if unsafe { libc::umount2(c.as_ptr(), libc::UMOUNT_NOFOLLOW) } == 0 {
            return Ok(());
        }
        let errno = Errno::last();
        if errno.0 != libc::EBUSY || Instant::now() >= deadline {
            let message = match errno.0 {
                libc::EBUSY => "The filesystem is still in use, so it cannot be unmounted",
                libc::EINVAL => "Nothing is mounted there",
                libc::EPERM => "Unmounting is not permitted: it needs root (CAP_SYS_ADMIN)",
                _ => "The filesystem cannot be unmounted",
            };
            return Err(Error::new(Step::Unmount, message).errno(errno).path(target));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(BUSY_PAUSE_MAX);
    }
}

/// Writes back and forgets what the page cache holds of a block device that is not mounted. Closing the last descriptor does that by
/// itself, but whoever keeps a loop device keeps a descriptor.
pub fn flush_device(device: &Path) -> Result<()> {
    let failed = |errno| Error::new(Step::Unmount, "The device's page cache cannot be dropped").errno(errno).path(device);
    let file = File::open(device).map_err(|error| failed(Errno::from(&error)))?;
    // SAFETY: this request has no argument.
    unsafe { ioctl(file.as_fd(), BLKFLSBUF, std::ptr::null::<()>()) }.map(drop).map_err(failed)
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::new(Step::Options, "A mount option must not contain a NUL byte").errno(Errno(libc::EINVAL)))
}

/// Warnings and worse shown of the kernel log.
const WORDS_MAX: usize = 3;
/// `KERN_WARNING`.
const LEVEL_MAX: u32 = 4;

/// The kernel log from now on, as `Documentation/ABI/testing/dev-kmsg` describes it.
struct KernelLog(File);

impl KernelLog {
    /// None where the log may not be read.
    fn open() -> Option<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self(file))
    }

    /// The last warnings about the mount.
    fn about(mut self, mount: &Mount) -> Vec<String> {
        let Some(device) = mount.source.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
        let mut words = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(bytes) if bytes > 0 => {
                    words.extend(warning_about(device, &mount.kind, &String::from_utf8_lossy(&record[..bytes])));
                }
                // EPIPE: records were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                _ => break,
            }
        }
        words.split_off(words.len().saturating_sub(WORDS_MAX))
    }
}

/// `priority,sequence,time,flags[,…];text`, and then lines of properties. The text names the device; when an option is unknown, only
/// the kind of filesystem.
fn warning_about(device: &str, kind: &str, record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let text = text.lines().next()?;
    // loop1 is not loop10.
    let named =
        text.match_indices(device).any(|(at, _)| !text[at + device.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()));
    let named = named || text.strip_prefix(kind).is_some_and(|rest| rest.starts_with(": "));
    (priority & 7 <= LEVEL_MAX && named).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_options_become_flags_and_the_others_stay_as_they_are() {
        assert_eq!(flags_and_data(""), (0, String::new()));
        assert_eq!(flags_and_data("defaults,noatime,data=journal,ro"), (libc::MS_NOATIME | libc::MS_RDONLY, "data=journal".into()));
        assert_eq!(flags_and_data("compress=zstd:3,,nodatacow"), (0, "compress=zstd:3,nodatacow".into()));
    }

    #[test]
    fn of_the_kernel_log_only_warnings_about_the_device_are_words() {
        let record = "3,339,5140900,-;EXT4-fs (loop1): bad block size 65536\n SUBSYSTEM=block\n";
        let about = |device, record| warning_about(device, "ext4", record);
        assert_eq!(about("loop1", record).as_deref(), Some("EXT4-fs (loop1): bad block size 65536"));
        assert_eq!(about("loop", record), None);
        assert_eq!(about("loop10", record), None);
        assert_eq!(about("loop1", "6,1,1,-;EXT4-fs (loop1): mounted filesystem"), None);
        assert_eq!(about("loop1", "3,1,1,-;ext4: Unknown parameter 'x'").as_deref(), Some("ext4: Unknown parameter 'x'"));
        assert_eq!(about("loop1", "torn"), None);
    }

    #[test]
    fn what_is_not_mounted_cannot_be_unmounted() {
        let place = tempfile::tempdir().expect("directory");
        let error = unmount(place.path(), Duration::ZERO).expect_err("nothing there");
        assert!(matches!(error.errno, Some(Errno(libc::EINVAL | libc::EPERM))), "{error}");
        assert_eq!(error.step, Step::Unmount);
    }

    #[test]
    fn an_unknown_filesystem_is_named() {
        let place = tempfile::tempdir().expect("directory");
        let nothing =
            Mount { source: "none".into(), target: place.path().into(), kind: "no-such-fs".into(), options: String::new() };
        let error = mount(&nothing).expect_err("unknown");
        assert!(matches!(error.errno, Some(Errno(libc::ENODEV | libc::EPERM))), "{error}");
    }
}

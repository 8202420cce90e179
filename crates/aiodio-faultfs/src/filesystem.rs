//! Answers the kernel's requests.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::contents::Contents;
use crate::faults::{Rules, Written};
use crate::rule::{self, Io, Operation};
use crate::store::Store;
use crate::tree::{BLOCK_BYTES, Kind, NAME_MAX, Node, Owner};

/// Attributes are asked for each time, since a rule may change them; names change by the kernel's own requests only.
const ATTRIBUTES_LAST: Duration = Duration::ZERO;
const NAMES_LAST: Duration = Duration::from_secs(3600);
/// What one request carries at most; the kernel's own limit (`fs.fuse.max_pages_limit`) is 1 MiB on 4 KiB pages.
const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// Asynchronous requests that the kernel hands over before it makes others wait.
const IN_FLIGHT: u16 = 512;

/// One mount of a store.
#[derive(Debug)]
pub(crate) struct Mounted(pub(crate) Arc<Store>);

type Answer<T> = Result<T, Errno>;

/// Answers with what a function returns.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $sent:expr) => {
        match $result {
            Ok($value) => $sent,
            Err(error) => $reply.error(Errno::from(error)),
        }
    };
}

impl Mounted {
    fn node(&self, number: INodeNo) -> Answer<Arc<Node>> {
        self.0.tree.lock().node(number.0)
    }

    fn make(&self, parent: INodeNo, name: &OsStr, kind: Kind, mode: u32, device: u32, request: &Request) -> Answer<Arc<Node>> {
        let owner = Owner { user: request.uid(), group: request.gid() };
        self.0.tree.lock().make(parent.0, name, kind, (mode & 0o7777) as u16, device, owner)
    }

    /// What rules know of a request; `None` when there are no rules.
    fn with_rules<T>(
        &self,
        number: INodeNo,
        operation: Operation,
        direct: bool,
        range: std::ops::Range<u64>,
        run: impl FnOnce(&Rules, &rule::Request<'_>) -> T,
    ) -> Option<T> {
        let rules = self.0.rules();
        if rules.is_empty() {
            return None;
        }
        let path = self.0.tree.lock().path(number.0);
        let io = if direct { Io::Direct } else { Io::Cached };
        Some(run(&rules, &rule::Request { path: &path, operation, io, range }))
    }

    /// The flags of a new open file.
    fn open_flags(&self, number: INodeNo, flags: i32) -> FopenFlags {
        let rules = self.0.rules();
        if rules.is_empty() {
            return FopenFlags::FOPEN_KEEP_CACHE;
        }
        let path = self.0.tree.lock().path(number.0);
        let mut answer = FopenFlags::FOPEN_KEEP_CACHE;
        answer.set(FopenFlags::FOPEN_KEEP_CACHE, !rules.shows_in_reads(&path));
        // Without it, the kernel does the rest of a short direct transfer through the page cache (`generic_file_read_iter`,
        // `direct_write_fallback`).
        answer.set(FopenFlags::FOPEN_DIRECT_IO, flags & libc::O_DIRECT != 0 && rules.shortens(&path));
        answer
    }

    fn allocate(&self, number: INodeNo, range: std::ops::Range<u64>, mode: i32) -> Answer<()> {
        const KNOWN: i32 = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        if mode & !KNOWN != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(refused) = self.with_rules(number, Operation::Allocate, false, range.clone(), Rules::refuse) {
            refused?;
        }
        let node = self.node(number)?;
        let contents = node.contents()?;
        let state = &mut *contents.state.write();
        if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 {
            contents.punch(state, range.clone())?;
        } else if range.end - range.start > self.0.capacity {
            return Err(Errno::ENOSPC);
        }
        if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && range.end > state.size {
            let end = range.end;
            contents.truncate(state, end)?;
        }
        node.touch();
        Ok(())
    }
}

/// Writes as told.
fn write_now(node: &Node, offset: u64, data: &[u8]) -> Answer<u64> {
    let contents = node.contents()?;
    let state = &mut *contents.state.write();
    contents.store(state, offset, data)?;
    state.size = state.size.max(offset + data.len() as u64);
    Ok(data.len() as u64)
}

/// What the kernel masks has been masked: it does so unless told not to.
fn special(mode: u32) -> Option<FileType> {
    match mode & libc::S_IFMT {
        libc::S_IFIFO => Some(FileType::NamedPipe),
        libc::S_IFSOCK => Some(FileType::Socket),
        libc::S_IFCHR => Some(FileType::CharDevice),
        libc::S_IFBLK => Some(FileType::BlockDevice),
        _ => None,
    }
}

fn time(given: TimeOrNow) -> SystemTime {
    match given {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Filesystem for Mounted {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What an older kernel does not have, it does without; only without FUSE_ASYNC_DIO (Linux 3.12) AIO is synchronous.
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        // With it, a short write becomes EIO (`fuse_get_res_by_io`).
        if !self.0.rules().shortens_writes() {
            let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        }
        let _ = config.set_max_write(REQUEST_BYTES_MAX);
        let _ = config.set_max_background(IN_FLIGHT);
        let _ = config.set_congestion_threshold(IN_FLIGHT);
        Ok(())
    }

    fn destroy(&mut self) {
        self.0.tree.lock().forget_all();
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.tree.lock().lookup(parent.0, name);
        answer!(reply, found, node => entry(reply, &node));
    }

    fn forget(&self, _request: &Request, number: INodeNo, times: u64) {
        self.0.tree.lock().forget(number.0, times);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        answer!(reply, self.node(number), node => reply.attr(&ATTRIBUTES_LAST, &node.attributes()));
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _macos: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = || -> Answer<Arc<Node>> {
            let node = self.node(number)?;
            if let Some(size) = size {
                let contents = node.contents()?;
                contents.truncate(&mut contents.state.write(), size)?;
                node.touch();
            }
            let mut meta = node.meta.lock();
            meta.permissions = mode.map_or(meta.permissions, |mode| (mode & 0o7777) as u16);
            meta.user = user.unwrap_or(meta.user);
            meta.group = group.unwrap_or(meta.group);
            meta.accessed = accessed.map_or(meta.accessed, time);
            meta.modified = modified.map_or(meta.modified, time);
            meta.changed = ctime.unwrap_or_else(SystemTime::now);
            drop(meta);
            Ok(node)
        };
        answer!(reply, set(), node => reply.attr(&ATTRIBUTES_LAST, &node.attributes()));
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        let target = self.0.tree.lock().target(number.0);
        answer!(reply, target, target => reply.data(target.as_os_str().as_bytes()));
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, device: u32, reply: ReplyEntry) {
        let make = || {
            let kind = match special(mode) {
                Some(kind) => Kind::Special(kind),
                None => Kind::File(Contents::new()?),
            };
            self.make(parent, name, kind, mode, device, request)
        };
        answer!(reply, make(), node => entry(reply, &node));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        answer!(reply, self.make(parent, name, Kind::Directory, mode, 0, request), node => entry(reply, &node));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.0.tree.lock().remove(parent.0, name, false);
        answer!(reply, removed, () => reply.ok());
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.0.tree.lock().remove(parent.0, name, true);
        answer!(reply, removed, () => reply.ok());
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.make(parent, name, Kind::Symlink(target.to_owned()), 0o777, 0, request);
        answer!(reply, made, node => entry(reply, &node));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.0.tree.lock().rename((parent.0, name), (new_parent.0, new_name), flags);
        answer!(reply, renamed, () => reply.ok());
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.0.tree.lock().link(number.0, parent.0, name);
        answer!(reply, linked, node => entry(reply, &node));
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), self.open_flags(number, flags.0));
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, flags: i32, reply: ReplyCreate) {
        let make = || self.make(parent, name, Kind::File(Contents::new()?), mode, 0, request);
        answer!(reply, make(), node => {
            let flags = self.open_flags(INodeNo(node.number), flags);
            reply.created(&ATTRIBUTES_LAST, &node.attributes(), Generation(0), FileHandle(0), flags);
        });
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || -> Answer<Vec<u8>> {
            let node = self.node(number)?;
            let contents = node.contents()?;
            let length = u64::from(size);
            let direct = flags.0 & libc::O_DIRECT != 0;
            let range = offset..offset.saturating_add(length);
            let by_rule = self.with_rules(number, Operation::Read, direct, range, |rules, request| rules.read(contents, request));
            Ok(by_rule.unwrap_or_else(|| contents.read(&contents.state.read(), offset, length))?)
        };
        answer!(reply, read(), bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = || -> Answer<(Arc<Node>, Written)> {
            let node = self.node(number)?;
            let length = data.len() as u64;
            let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(Errno::EFBIG)?;
            if !self.0.reserve(length) {
                return Err(Errno::ENOSPC);
            }
            let direct = flags.0 & libc::O_DIRECT != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
            let contents = node.contents()?;
            let by_rule = self
                .with_rules(number, Operation::Write, direct, offset..end, |rules, request| rules.write(contents, request, data));
            let written = match by_rule {
                Some(written) => written?,
                None => Written::Now(write_now(&node, offset, data)?),
            };
            node.touch();
            Ok((node, written))
        };
        answer!(reply, write(), (node, written) => match written {
            Written::Now(bytes) => reply.written(bytes as u32),
            Written::Later(delay, deferred) => self.0.later.after(delay, move || {
                let finished = node.contents().and_then(|contents| Ok(deferred.finish(contents)?));
                answer!(reply, finished, bytes => reply.written(bytes as u32));
            }),
        });
    }

    fn flush(&self, _request: &Request, _number: INodeNo, _handle: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, number: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let refused = self.with_rules(number, Operation::Fsync, false, 0..0, Rules::refuse);
        answer!(reply, refused.unwrap_or(Ok(())), () => reply.ok());
    }

    fn fsyncdir(&self, _request: &Request, _number: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _request: &Request, number: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = self.0.tree.lock().list(number.0);
        answer!(reply, list, list => {
            for (index, (number, kind, name)) in list.into_iter().enumerate().skip(offset as usize) {
                if reply.add(INodeNo(number), index as u64 + 1, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        let tree = self.0.tree.lock();
        let block = u64::from(BLOCK_BYTES);
        let free = self.0.capacity.saturating_sub(tree.allocated()) / block;
        let (blocks, nodes) = (self.0.capacity / block, tree.count());
        reply.statfs(blocks, free, free, nodes + free, free, BLOCK_BYTES, NAME_MAX, BLOCK_BYTES);
    }

    fn access(&self, _request: &Request, _number: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks permissions itself (`default_permissions`).
        reply.ok();
    }

    fn fallocate(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let range = offset..offset.saturating_add(length);
        answer!(reply, self.allocate(number, range, mode), () => reply.ok());
    }

    fn lseek(&self, _request: &Request, number: INodeNo, _handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let seek = || -> Answer<u64> {
            let node = self.node(number)?;
            let contents = node.contents()?;
            let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            let found = contents.seek(&contents.state.read(), offset, whence)?;
            Ok(found)
        };
        answer!(reply, seek(), found => reply.offset(found as i64));
    }
}

fn entry(reply: ReplyEntry, node: &Node) {
    reply.entry_with_ttls(&ATTRIBUTES_LAST, &NAMES_LAST, &node.attributes(), Generation(0));
}

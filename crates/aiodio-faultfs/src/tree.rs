//! Names and attributes: which files and directories there are. What files hold is in `contents.rs`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags};
use parking_lot::Mutex;

use crate::contents::Contents;

/// `st_blksize`, and the unit of statfs.
pub(crate) const BLOCK_BYTES: u32 = 4096;
/// Longest name of a directory entry, in bytes.
pub(crate) const NAME_MAX: u32 = 255;

type Answer<T> = Result<T, Errno>;

/// What a node is, besides its attributes.
#[derive(Debug)]
pub(crate) enum Kind {
    File(Contents),
    Directory,
    Symlink(PathBuf),
    /// A FIFO, socket or device: the kernel needs nothing but its attributes.
    Special(FileType),
}

/// A file, directory or whatever, with or without a name.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) meta: Mutex<Meta>,
}

#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) permissions: u16,
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) device: u32,
    pub(crate) links: u32,
    pub(crate) accessed: SystemTime,
    pub(crate) modified: SystemTime,
    pub(crate) changed: SystemTime,
}

impl Node {
    fn file_type(&self) -> FileType {
        match self.kind {
            Kind::File(_) => FileType::RegularFile,
            Kind::Directory => FileType::Directory,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::Special(kind) => kind,
        }
    }

    pub(crate) fn attributes(&self) -> FileAttr {
        let (size, allocated) = match &self.kind {
            Kind::File(contents) => (contents.state.read().size_seen(std::time::Instant::now()), contents.allocated()),
            Kind::Symlink(target) => (target.as_os_str().len() as u64, 0),
            Kind::Directory | Kind::Special(_) => (0, 0),
        };
        let meta = self.meta.lock();
        FileAttr {
            ino: INodeNo(self.number),
            size,
            blocks: allocated / 512,
            atime: meta.accessed,
            mtime: meta.modified,
            ctime: meta.changed,
            crtime: meta.changed,
            kind: self.file_type(),
            perm: meta.permissions,
            nlink: meta.links,
            uid: meta.user,
            gid: meta.group,
            rdev: meta.device,
            blksize: BLOCK_BYTES,
            flags: 0,
        }
    }

    /// The contents of a regular file.
    pub(crate) fn contents(&self) -> Answer<&Contents> {
        match &self.kind {
            Kind::File(contents) => Ok(contents),
            Kind::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Its data or names have changed.
    pub(crate) fn touch(&self) {
        let now = SystemTime::now();
        let mut meta = self.meta.lock();
        meta.modified = now;
        meta.changed = now;
    }
}

/// Who makes a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Owner {
    pub(crate) fn of_this_process() -> Self {
        // SAFETY: this call cannot fail.
        let user = unsafe { libc::geteuid() };
        // SAFETY: nor can this one.
        let group = unsafe { libc::getegid() };
        Self { user, group }
    }
}

struct Place {
    node: Arc<Node>,
    /// How often the kernel has been told its number and has not forgotten it.
    known: u64,
    /// The last name it got: for rules, which go by paths.
    parent: u64,
    name: OsString,
    /// Entries, for a directory.
    entries: BTreeMap<OsString, u64>,
}

/// All nodes.
pub(crate) struct Tree {
    places: HashMap<u64, Place>,
    /// Never used again, so that a number needs no generation.
    next: u64,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("nodes", &self.places.len()).finish_non_exhaustive()
    }
}

const ROOT: u64 = INodeNo::ROOT.0;

impl Tree {
    /// With nothing but the root, which everybody may write to, as to /tmp.
    pub(crate) fn new() -> Self {
        let mut tree = Self { places: HashMap::new(), next: ROOT };
        let owner = Owner::of_this_process();
        tree.place(ROOT, OsString::new(), Kind::Directory, 0o1777, 0, owner);
        tree
    }

    fn place(&mut self, parent: u64, name: OsString, kind: Kind, permissions: u16, device: u32, owner: Owner) -> Arc<Node> {
        let now = SystemTime::now();
        let number = self.next;
        self.next += 1;
        let links = if matches!(kind, Kind::Directory) { 2 } else { 1 };
        let meta =
            Meta { permissions, user: owner.user, group: owner.group, device, links, accessed: now, modified: now, changed: now };
        let node = Arc::new(Node { number, kind, meta: Mutex::new(meta) });
        self.places.insert(number, Place { node: Arc::clone(&node), known: 0, parent, name, entries: BTreeMap::new() });
        node
    }

    pub(crate) fn node(&self, number: u64) -> Answer<Arc<Node>> {
        self.places.get(&number).map(|place| Arc::clone(&place.node)).ok_or(Errno::ESTALE)
    }

    fn directory(&mut self, number: u64) -> Answer<&mut Place> {
        let place = self.places.get_mut(&number).ok_or(Errno::ESTALE)?;
        if matches!(place.node.kind, Kind::Directory) { Ok(place) } else { Err(Errno::ENOTDIR) }
    }

    fn child(&self, parent: u64, name: &OsStr) -> Answer<u64> {
        let place = self.places.get(&parent).ok_or(Errno::ESTALE)?;
        place.entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// From the root, with a `/` in front.
    pub(crate) fn path(&self, number: u64) -> String {
        let mut names = Vec::new();
        let mut at = number;
        while at != ROOT {
            let Some(place) = self.places.get(&at) else { break };
            names.push(place.name.to_string_lossy());
            at = place.parent;
        }
        names.iter().rev().flat_map(|name| ["/", name]).collect()
    }

    pub(crate) fn files(&self) -> Vec<Arc<Node>> {
        let mut files: Vec<_> =
            self.places.values().filter(|place| place.node.contents().is_ok()).map(|place| Arc::clone(&place.node)).collect();
        files.sort_by_key(|node| node.number);
        files
    }

    /// The kernel learns the number.
    pub(crate) fn lookup(&mut self, parent: u64, name: &OsStr) -> Answer<Arc<Node>> {
        self.directory(parent)?;
        let number = self.child(parent, name)?;
        self.learn(number)
    }

    fn learn(&mut self, number: u64) -> Answer<Arc<Node>> {
        let place = self.places.get_mut(&number).ok_or(Errno::ESTALE)?;
        place.known += 1;
        Ok(Arc::clone(&place.node))
    }

    /// The kernel forgets a number.
    pub(crate) fn forget(&mut self, number: u64, times: u64) {
        if let Some(place) = self.places.get_mut(&number) {
            place.known = place.known.saturating_sub(times);
        }
        self.drop_if_gone(number);
    }

    /// The kernel forgets all.
    pub(crate) fn forget_all(&mut self) {
        for place in self.places.values_mut() {
            place.known = 0;
        }
        self.places.retain(|number, place| *number == ROOT || place.node.meta.lock().links > 0);
    }

    fn drop_if_gone(&mut self, number: u64) {
        let gone = |place: &Place| place.known == 0 && place.node.meta.lock().links == 0;
        if self.places.get(&number).is_some_and(gone) {
            self.places.remove(&number);
        }
    }

    /// Makes a node with a name; the kernel learns its number.
    pub(crate) fn make(
        &mut self,
        parent: u64,
        name: &OsStr,
        kind: Kind,
        permissions: u16,
        device: u32,
        owner: Owner,
    ) -> Answer<Arc<Node>> {
        if name.len() > NAME_MAX as usize {
            return Err(Errno::ENAMETOOLONG);
        }
        let directory = self.directory(parent)?;
        if directory.node.meta.lock().links == 0 {
            return Err(Errno::ENOENT);
        }
        if directory.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let is_directory = matches!(kind, Kind::Directory);
        let node = self.place(parent, name.to_owned(), kind, permissions, device, owner);
        self.enter(parent, name, node.number, is_directory)?;
        self.learn(node.number)
    }

    fn enter(&mut self, parent: u64, name: &OsStr, number: u64, is_directory: bool) -> Answer<()> {
        let directory = self.directory(parent)?;
        directory.entries.insert(name.to_owned(), number);
        directory.node.touch();
        directory.node.meta.lock().links += u32::from(is_directory);
        Ok(())
    }

    fn leave(&mut self, parent: u64, name: &OsStr, is_directory: bool) -> Answer<()> {
        let directory = self.directory(parent)?;
        directory.entries.remove(name);
        directory.node.touch();
        directory.node.meta.lock().links -= u32::from(is_directory);
        Ok(())
    }

    pub(crate) fn link(&mut self, number: u64, parent: u64, name: &OsStr) -> Answer<Arc<Node>> {
        let node = self.node(number)?;
        if self.directory(parent)?.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        self.enter(parent, name, number, false)?;
        let mut meta = node.meta.lock();
        meta.links += 1;
        meta.changed = SystemTime::now();
        drop(meta);
        self.learn(number)
    }

    /// Removes a name; the node lives on while it has another or the kernel knows it.
    pub(crate) fn remove(&mut self, parent: u64, name: &OsStr, directory: bool) -> Answer<()> {
        let number = self.child(parent, name)?;
        let place = self.places.get(&number).ok_or(Errno::ESTALE)?;
        let is_directory = matches!(place.node.kind, Kind::Directory);
        match (directory, is_directory) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            (true, true) if !place.entries.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        let node = Arc::clone(&place.node);
        self.leave(parent, name, is_directory)?;
        let mut meta = node.meta.lock();
        meta.links = if is_directory { 0 } else { meta.links - 1 };
        meta.changed = SystemTime::now();
        drop(meta);
        self.drop_if_gone(number);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), flags: RenameFlags) -> Answer<()> {
        let number = self.child(from.0, from.1)?;
        let other = self.child(to.0, to.1).ok();
        let is_directory = |tree: &Self, number| tree.node(number).map(|node| matches!(node.kind, Kind::Directory));
        let moves_directory = is_directory(self, number)?;
        if flags == RenameFlags::RENAME_EXCHANGE {
            let other = other.ok_or(Errno::ENOENT)?;
            let other_directory = is_directory(self, other)?;
            self.leave(from.0, from.1, moves_directory)?;
            self.leave(to.0, to.1, other_directory)?;
            self.settle(to, number, moves_directory)?;
            return self.settle(from, other, other_directory);
        }
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return Err(Errno::EINVAL);
        }
        if let Some(other) = other {
            if flags.contains(RenameFlags::RENAME_NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            if other == number {
                return Ok(());
            }
            self.remove(to.0, to.1, moves_directory)?;
        }
        self.leave(from.0, from.1, moves_directory)?;
        self.settle(to, number, moves_directory)
    }

    fn settle(&mut self, (parent, name): (u64, &OsStr), number: u64, is_directory: bool) -> Answer<()> {
        self.enter(parent, name, number, is_directory)?;
        if let Some(place) = self.places.get_mut(&number) {
            place.parent = parent;
            name.clone_into(&mut place.name);
            place.node.meta.lock().changed = SystemTime::now();
        }
        Ok(())
    }

    /// Everything in a directory, with `.` and `..`.
    pub(crate) fn list(&mut self, number: u64) -> Answer<Vec<(u64, FileType, OsString)>> {
        let directory = self.directory(number)?;
        let mut list =
            vec![(number, FileType::Directory, OsString::from(".")), (directory.parent, FileType::Directory, OsString::from(".."))];
        let entries: Vec<_> = directory.entries.iter().map(|(name, number)| (name.clone(), *number)).collect();
        for (name, number) in entries {
            list.push((number, self.node(number)?.file_type(), name));
        }
        Ok(list)
    }

    pub(crate) fn count(&self) -> u64 {
        self.places.len() as u64
    }

    /// Bytes of memory that all files take.
    pub(crate) fn allocated(&self) -> u64 {
        self.places.values().filter_map(|place| place.node.contents().ok()).map(Contents::allocated).sum()
    }

    pub(crate) fn target(&self, number: u64) -> Answer<PathBuf> {
        match &self.node(number)?.kind {
            Kind::Symlink(target) => Ok(Path::to_owned(target)),
            _ => Err(Errno::EINVAL),
        }
    }
}

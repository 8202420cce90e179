//! What is stored, and the rules, whatever is mounted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::faults::{Fired, Rules};
use crate::later::Later;
use crate::rule::Rule;
use crate::tree::Tree;

/// What is stored, and the rules: it outlives a mount.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) tree: Mutex<Tree>,
    rules: RwLock<Arc<Rules>>,
    pub(crate) later: Later,
    pub(crate) capacity: u64,
    /// An upper bound of the bytes that all files take.
    pub(crate) used: AtomicU64,
}

impl Store {
    pub(crate) fn new(capacity: u64) -> io::Result<Self> {
        Ok(Self {
            tree: Mutex::new(Tree::new()),
            rules: RwLock::default(),
            later: Later::start()?,
            capacity,
            used: AtomicU64::default(),
        })
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    /// Other rules from now on; what the last ones were about to do is forgotten.
    pub(crate) fn set_rules(&self, rules: Vec<Rule>) {
        *self.rules.write() = Arc::new(Rules::new(rules));
        for node in self.tree.lock().files() {
            if let Ok(contents) = node.contents() {
                contents.state.write().forget();
            }
        }
    }

    /// How often each rule has fired, and the first of what they did.
    pub(crate) fn fired(&self) -> (Vec<u64>, Vec<Fired>) {
        self.rules().fired()
    }

    /// It is mounted again.
    pub(crate) fn remounted(&self) -> io::Result<()> {
        let rules = self.rules();
        let files = self.tree.lock().files();
        for node in files {
            let path = self.tree.lock().path(node.number);
            if let Ok(contents) = node.contents() {
                rules.remount(contents, &path)?;
            }
        }
        Ok(())
    }

    /// Whether so many bytes more can be stored.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.capacity {
            return true;
        }
        // Much of it was written over what was there: look how much it really is.
        let really = self.tree.lock().allocated() + bytes;
        self.used.store(really, Ordering::Relaxed);
        really <= self.capacity
    }
}

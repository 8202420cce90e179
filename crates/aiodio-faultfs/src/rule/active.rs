//! A rule in force: which requests it concerns, and how often it may still happen.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Io, Operation, Rule};
use crate::random::{Random, hash, hash_text};

/// A rule in force.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: usize,
    pub(crate) rule: Rule,
    fired: Mutex<u64>,
    /// How often equal requests have come, by their hash: their chances must differ.
    seen: Mutex<HashMap<u64, u64>>,
    /// The last cached read that failed, by path and offset: the next one there fails too, since the kernel's readahead may have kept
    /// the first error for itself and read once more.
    pub(crate) failed: Mutex<Option<(u64, u64)>>,
}

/// What somebody asks of a file.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) path: &'a str,
    pub(crate) operation: Operation,
    pub(crate) io: Io,
    pub(crate) range: Range<u64>,
}

/// A rule that concerns a request.
pub(crate) struct Concerned<'a> {
    pub(crate) active: &'a Arc<Active>,
    /// The file's bytes that may be touched.
    pub(crate) range: Range<u64>,
    pub(crate) random: Random,
}

impl Active {
    pub(crate) fn new(number: usize, rule: Rule) -> Self {
        Self { number, rule, fired: Mutex::default(), seen: Mutex::default(), failed: Mutex::default() }
    }

    /// How often it has fired.
    pub(crate) fn fired(&self) -> u64 {
        *self.fired.lock()
    }

    pub(crate) fn concerned<'a>(self: &'a Arc<Self>, request: &Request<'_>) -> Option<Concerned<'a>> {
        let rule = &self.rule;
        // An fsync has no range.
        let range = match &request.range {
            whole if whole.is_empty() => whole.clone(),
            part => rule.range.start.max(part.start)..rule.range.end.min(part.end),
        };
        let fits = rule.operation == request.operation
            && rule.io.is_none_or(|io| io == request.io)
            && (!range.is_empty() || request.range.is_empty())
            && names(&rule.file, request.path);
        if !fits {
            return None;
        }
        // A test's directory has another name each time.
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let what = hash(&[
            rule.seed,
            hash_text(name),
            request.operation as u64,
            request.io as u64,
            request.range.start,
            request.range.end,
        ]);
        let mut nth = 0;
        if rule.probability < 1000 {
            let mut seen = self.seen.lock();
            let count = seen.entry(what).or_default();
            nth = *count;
            *count += 1;
        }
        let mut random = Random::new(hash(&[what, nth]));
        (random.below(1000) < u64::from(rule.probability)).then_some(Concerned { active: self, range, random })
    }

    /// Whether it may happen once more, which counts as done.
    pub(crate) fn spend(&self) -> bool {
        let mut fired = self.fired.lock();
        let may = self.rule.count.is_none_or(|count| *fired < count);
        if may {
            *fired += 1;
        }
        may
    }
}

/// Whether a rule's pattern is about the file with this path.
pub(crate) fn names(pattern: &str, path: &str) -> bool {
    let text = if pattern.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
    glob(pattern.as_bytes(), text.as_bytes())
}

/// `*` is any text, `?` any byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

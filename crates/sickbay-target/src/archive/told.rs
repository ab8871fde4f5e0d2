//! What an archive tells of its members, beside the files that were made of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::root::Metadata;
use crate::xattr::Xattrs;

/// Attributes take so much at most, in bytes; the labels of a whole system are a few hundred different ones.
const ATTRIBUTES: usize = 64 << 20;

/// By the number of the inode: a file of several names is one.
#[derive(Debug, Default)]
pub(crate) struct Told {
    members: HashMap<u64, Member>,
    /// Those that are there; many members have the same.
    attributes: BTreeSet<Arc<Xattrs>>,
    size: usize,
    /// Whether any member had attributes: if none had, they were not put in.
    pub(super) has_attributes: bool,
}

/// What is told of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    /// Its size, where its content was left in the archive.
    pub(super) left: Option<u64>,
    pub(super) attributes: Option<Arc<Xattrs>>,
}

impl Told {
    pub(super) fn insert(&mut self, inode: u64, member: Member) {
        self.members.insert(inode, member);
    }

    /// The same attributes once; `None` where there is no more room for other ones.
    pub(super) fn keep(&mut self, mut attributes: Xattrs) -> Option<Arc<Xattrs>> {
        self.has_attributes = true;
        attributes.sort_unstable();
        let attributes = Arc::new(attributes);
        if let Some(known) = self.attributes.get(&attributes) {
            return Some(Arc::clone(known));
        }
        let size = attributes.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
        self.size = self.size.checked_add(size).filter(|size| *size <= ATTRIBUTES)?;
        self.attributes.insert(Arc::clone(&attributes));
        Some(attributes)
    }

    /// As the archive tells it.
    pub(crate) fn of(&self, mut metadata: Metadata) -> Metadata {
        let Some(member) = self.members.get(&metadata.ino) else {
            // What was made beside the members, see [`super::Unpacked::furnish`].
            return Metadata { mode: 0o755, uid: 0, gid: 0, ..metadata };
        };
        metadata.mode = member.mode;
        metadata.uid = member.uid;
        metadata.gid = member.gid;
        metadata.mtime = (member.mtime, 0);
        metadata.atime = metadata.mtime;
        metadata.ctime = metadata.mtime;
        if let Some(size) = member.left {
            metadata.size = size;
            metadata.allocated = size.div_ceil(512).saturating_mul(512);
        }
        metadata
    }

    /// Whether the content of a file is still in the archive.
    pub(crate) fn is_left(&self, inode: u64) -> bool {
        self.members.get(&inode).is_some_and(|member| member.left.is_some())
    }

    /// The extended attributes; `None` where the archive was made without any.
    pub(crate) fn attributes(&self, inode: u64) -> Option<Xattrs> {
        let own = self.members.get(&inode).and_then(|member| member.attributes.as_deref());
        self.has_attributes.then(|| own.cloned().unwrap_or_default())
    }
}

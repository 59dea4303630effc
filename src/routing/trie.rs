//! Patterns by their tokens, and what is interested in each.
//!
//! All edges of the tree are in one hash table, keyed by parent and token: a node costs a few
//! words, not a table of its own. Wildcard children are fields, so a look-up follows at most
//! three ways at each node.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::interest::Member;
use super::subject;
use crate::ids::ShardId;

/// Everybody interested in one pattern.
#[derive(Debug, Default)]
pub struct Entry {
    /// Plain subscriptions of this shard.
    pub plain: Vec<Member>,
    /// Queue groups with a member anywhere.
    pub queues: Vec<Group>,
    /// Other shards with plain subscriptions.
    pub remote_plain: u64,
}

/// One queue group on one pattern.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: Box<[u8]>,
    /// Members on this shard.
    pub local: Vec<Member>,
    /// Members on other shards, and how many.
    pub remote: Vec<(ShardId, u32)>,
}

impl Entry {
    /// Is nobody interested any more?
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty() && self.remote_plain == 0
    }
}

type NodeId = u32;
const ROOT: NodeId = 0;
const NONE: NodeId = u32::MAX;

#[derive(Debug)]
struct Node {
    parent: NodeId,
    token: Box<[u8]>,
    /// Literal children; wildcards are the two fields below.
    children: u32,
    one: NodeId,
    rest: NodeId,
    entry: Option<Box<Entry>>,
}

impl Node {
    fn new(parent: NodeId, token: &[u8]) -> Self {
        Self {
            parent,
            token: token.into(),
            children: 0,
            one: NONE,
            rest: NONE,
            entry: None,
        }
    }
}

/// The patterns of one account.
pub struct Trie {
    nodes: Vec<Node>,
    free: Vec<NodeId>,
    edges: HashTable<NodeId>,
    hasher: ahash::RandomState,
    frontier: Vec<NodeId>,
    next: Vec<NodeId>,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(NONE, b"")],
            free: Vec::new(),
            edges: HashTable::new(),
            hasher: ahash::RandomState::new(),
            frontier: Vec::new(),
            next: Vec::new(),
        }
    }
}

fn hash(hasher: &ahash::RandomState, parent: NodeId, token: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    parent.hash(&mut state);
    token.hash(&mut state);
    state.finish()
}

impl Trie {
    /// The entry of a pattern, made if it is not there.
    pub fn entry(&mut self, pattern: &[u8]) -> &mut Entry {
        let mut node = ROOT;
        for token in subject::tokens(pattern) {
            node = match self.child(node, token) {
                NONE => self.add(node, token),
                found => found,
            };
        }
        self.nodes[node as usize].entry.get_or_insert_default()
    }

    /// The entry of a pattern, if it is there.
    pub fn find(&mut self, pattern: &[u8]) -> Option<&mut Entry> {
        let mut node = ROOT;
        for token in subject::tokens(pattern) {
            node = self.child(node, token);
            if node == NONE {
                return None;
            }
        }
        self.nodes[node as usize].entry.as_deref_mut()
    }

    /// Forgets a pattern whose entry is empty, and the nodes only it needed.
    pub fn prune(&mut self, pattern: &[u8]) {
        let mut node = ROOT;
        for token in subject::tokens(pattern) {
            node = self.child(node, token);
            if node == NONE {
                return;
            }
        }
        let entry = &mut self.nodes[node as usize].entry;
        if entry.as_ref().is_some_and(|entry| entry.is_empty()) {
            *entry = None;
        }
        while node != ROOT {
            let this = &self.nodes[node as usize];
            if this.entry.is_some() || this.children > 0 || this.one != NONE || this.rest != NONE {
                return;
            }
            let parent = this.parent;
            self.detach(node);
            node = parent;
        }
    }

    /// Calls `found` with the entry of each pattern that matches a published subject. A subject
    /// with an empty token matches nothing.
    ///
    /// The work is bounded by the patterns there are: the frontier holds nodes of the tree, each
    /// at most once, and ends where the tree does, however many tokens the subject has.
    pub fn matches(&mut self, subject: &[u8], mut found: impl FnMut(&Entry)) {
        let mut frontier = std::mem::take(&mut self.frontier);
        let mut next = std::mem::take(&mut self.next);
        // Entries under `>` match only if the rest of the subject has no empty token, which is
        // known at the end: they are few, so they are kept until then.
        let mut rests: SmallVec<[NodeId; 8]> = SmallVec::new();
        frontier.clear();
        frontier.push(ROOT);
        let mut valid = true;
        let mut tokens = subject::tokens(subject);
        for token in tokens.by_ref() {
            if token.is_empty() {
                valid = false;
                break;
            }
            next.clear();
            for &node in &frontier {
                let this = &self.nodes[node as usize];
                if this.rest != NONE {
                    rests.push(this.rest);
                }
                if this.one != NONE {
                    next.push(this.one);
                }
                if this.children > 0 {
                    let child = self.literal_child(node, token);
                    if child != NONE {
                        next.push(child);
                    }
                }
            }
            std::mem::swap(&mut frontier, &mut next);
            if frontier.is_empty() {
                break;
            }
        }
        if valid && !rests.is_empty() {
            valid = tokens.all(|token| !token.is_empty());
        }
        if valid {
            let ends = frontier.iter().chain(&rests);
            for entry in ends.filter_map(|&node| self.nodes[node as usize].entry.as_deref()) {
                found(entry);
            }
        }
        self.frontier = frontier;
        self.next = next;
    }

    /// All patterns with their entries, in no order.
    pub fn each(&self, mut visit: impl FnMut(&[u8], &Entry)) {
        let mut pattern = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let Some(entry) = &node.entry else { continue };
            pattern.clear();
            self.spell(id as NodeId, &mut pattern);
            visit(&pattern, entry);
        }
    }

    /// How many nodes are in use, the root included.
    pub fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    fn spell(&self, node: NodeId, into: &mut Vec<u8>) {
        let this = &self.nodes[node as usize];
        if this.parent != ROOT && this.parent != NONE {
            self.spell(this.parent, into);
            into.push(b'.');
        }
        into.extend_from_slice(&this.token);
    }

    fn child(&self, parent: NodeId, token: &[u8]) -> NodeId {
        match token {
            b"*" => self.nodes[parent as usize].one,
            b">" => self.nodes[parent as usize].rest,
            _ => self.literal_child(parent, token),
        }
    }

    fn literal_child(&self, parent: NodeId, token: &[u8]) -> NodeId {
        let is_child = |&id: &NodeId| {
            let node = &self.nodes[id as usize];
            node.parent == parent && *node.token == *token
        };
        self.edges
            .find(hash(&self.hasher, parent, token), is_child)
            .copied()
            .unwrap_or(NONE)
    }

    fn add(&mut self, parent: NodeId, token: &[u8]) -> NodeId {
        let node = Node::new(parent, token);
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as NodeId
            }
        };
        match token {
            b"*" => self.nodes[parent as usize].one = id,
            b">" => self.nodes[parent as usize].rest = id,
            _ => {
                self.nodes[parent as usize].children += 1;
                let (nodes, hasher) = (&self.nodes, &self.hasher);
                self.edges
                    .insert_unique(hash(hasher, parent, token), id, |&id| {
                        let node = &nodes[id as usize];
                        hash(hasher, node.parent, &node.token)
                    });
            }
        }
        id
    }

    fn detach(&mut self, node: NodeId) {
        let this = &mut self.nodes[node as usize];
        let (parent, token) = (this.parent, std::mem::take(&mut this.token));
        match &*token {
            b"*" => self.nodes[parent as usize].one = NONE,
            b">" => self.nodes[parent as usize].rest = NONE,
            _ => {
                self.nodes[parent as usize].children -= 1;
                let edge = hash(&self.hasher, parent, &token);
                if let Ok(entry) = self.edges.find_entry(edge, |&id| id == node) {
                    entry.remove();
                }
            }
        }
        self.free.push(node);
    }
}

//! Patterns by their tokens, and what is interested in each.
//!
//! All edges of the tree are in one hash table, keyed by parent and token: a node costs a few
//! words, not a table of its own. Wildcard children are fields, so a look-up follows at most
//! three ways at each node.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::entry::Entry;
use super::subject;

/// Number of a node, reused after it is pruned.
pub type NodeId = u32;
const ROOT: NodeId = 0;
const NONE: NodeId = u32::MAX;

#[derive(Debug)]
struct Node {
    parent: NodeId,
    /// Long tokens are rare; the others are read where the node is.
    token: SmallVec<[u8; 16]>,
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
            token: SmallVec::from_slice(token),
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
    /// Buffers of [`Trie::matches`]; the last is its result.
    frontier: Vec<NodeId>,
    next: Vec<NodeId>,
    found: Vec<NodeId>,
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
            found: Vec::new(),
        }
    }
}

/// Of an edge, from the token's hash.
fn edge(parent: NodeId, token: u64) -> u64 {
    // The token's half is secret and uniform; the parent's spreads the same token under many
    // parents. A product keeps neither in the low bits alone.
    let wide = u128::from(token ^ u64::from(parent)) * 0x9e37_79b9_7f4a_7c15;
    (wide >> 64) as u64 ^ wide as u64
}

fn hash(hasher: &ahash::RandomState, token: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(token);
    state.finish()
}

impl Trie {
    /// The node of a valid pattern, made with an empty entry if it is not there. Whoever makes
    /// one puts somebody in, or prunes it.
    pub fn insert(&mut self, pattern: &[u8]) -> NodeId {
        let mut node = ROOT;
        for token in subject::tokens(pattern) {
            node = match self.child(node, token) {
                NONE => self.add(node, token),
                found => found,
            };
        }
        self.nodes[node as usize].entry.get_or_insert_default();
        node
    }

    /// The node of a pattern that has an entry.
    pub fn find(&self, pattern: &[u8]) -> Option<NodeId> {
        let mut node = ROOT;
        for token in subject::tokens(pattern) {
            node = self.child(node, token);
            if node == NONE {
                return None;
            }
        }
        self.nodes[node as usize].entry.is_some().then_some(node)
    }

    /// The entry of a node that [`Trie::insert`] or [`Trie::find`] gave.
    pub fn entry(&mut self, node: NodeId) -> &mut Entry {
        self.nodes[node as usize].entry.get_or_insert_default()
    }

    /// Forgets a node's entry if it is empty, and then the nodes only it needed.
    pub fn prune(&mut self, mut node: NodeId) {
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

    /// Entries of all patterns that match a published subject. Wildcard characters in it are
    /// literals; one with an empty token matches nothing.
    ///
    /// The work is bounded by the patterns there are: the frontier holds nodes of the tree, each
    /// at most once, and ends where the tree does, however many tokens the subject has.
    pub fn matches(&mut self, subject: &[u8]) -> impl Iterator<Item = &Entry> + Clone {
        self.search(subject);
        let nodes = &self.nodes;
        let entries = self.found.iter();
        entries.filter_map(|&node| nodes[node as usize].entry.as_deref())
    }

    fn search(&mut self, subject: &[u8]) {
        let mut frontier = std::mem::take(&mut self.frontier);
        let mut next = std::mem::take(&mut self.next);
        self.found.clear();
        frontier.clear();
        frontier.push(ROOT);
        let mut valid = true;
        let mut tokens = subject::tokens(subject);
        for token in tokens.by_ref() {
            if token.is_empty() {
                valid = false;
                break;
            }
            let hash = hash(&self.hasher, token);
            next.clear();
            for &node in &frontier {
                let this = &self.nodes[node as usize];
                if this.rest != NONE {
                    self.found.push(this.rest);
                }
                if this.one != NONE {
                    next.push(this.one);
                }
                if this.children > 0 {
                    let child = self.literal_child(node, token, hash);
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
        // `>` matches only if the rest of the subject has no empty token either.
        if valid && !self.found.is_empty() {
            valid = tokens.all(|token| !token.is_empty());
        }
        if valid {
            self.found.extend_from_slice(&frontier);
        } else {
            self.found.clear();
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

    /// Panics if the parts do not agree with each other.
    pub fn check_invariants(&self) {
        let mut literal = 0;
        let mut children = vec![0; self.nodes.len()];
        let free: std::collections::HashSet<_> = self.free.iter().copied().collect();
        assert_eq!(free.len(), self.free.len(), "a node is freed once");
        for (id, node) in (0..).zip(&self.nodes) {
            if free.contains(&id) {
                assert!(node.entry.is_none());
                continue;
            }
            if let Some(entry) = &node.entry {
                entry.check_invariants();
            }
            let leaf = node.children == 0 && node.one == NONE && node.rest == NONE;
            assert!(!leaf || node.entry.is_some() || id == ROOT, "pruned");
            if id == ROOT {
                continue;
            }
            assert_eq!(self.child(node.parent, &node.token), id);
            if !matches!(&node.token[..], b"*" | b">") {
                literal += 1;
                children[node.parent as usize] += 1;
            }
        }
        assert_eq!(self.edges.len(), literal);
        for (id, node) in (0..).zip(&self.nodes) {
            assert!(free.contains(&id) || children[id as usize] == node.children);
        }
    }

    /// Not by recursion: a pattern may have as many tokens as fit a control line.
    fn spell(&self, mut node: NodeId, into: &mut Vec<u8>) {
        while node != ROOT {
            let this = &self.nodes[node as usize];
            into.extend(this.token.iter().rev());
            node = this.parent;
            if node != ROOT {
                into.push(b'.');
            }
        }
        into.reverse();
    }

    fn child(&self, parent: NodeId, token: &[u8]) -> NodeId {
        match token {
            b"*" => self.nodes[parent as usize].one,
            b">" => self.nodes[parent as usize].rest,
            _ => self.literal_child(parent, token, hash(&self.hasher, token)),
        }
    }

    fn literal_child(&self, parent: NodeId, token: &[u8], hash: u64) -> NodeId {
        let is_child = |&id: &NodeId| {
            let node = &self.nodes[id as usize];
            node.parent == parent && *node.token == *token
        };
        self.edges
            .find(edge(parent, hash), is_child)
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
                let hash = edge(parent, hash(hasher, token));
                self.edges.insert_unique(hash, id, |&id| {
                    let node = &nodes[id as usize];
                    edge(node.parent, self::hash(hasher, &node.token))
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
                let hash = edge(parent, hash(&self.hasher, &token));
                if let Ok(entry) = self.edges.find_entry(hash, |&id| id == node) {
                    entry.remove();
                }
            }
        }
        self.free.push(node);
    }
}

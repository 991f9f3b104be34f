//! The answer to a get, as it was at one moment, rendered piece by piece: what has not been asked for yet costs a
//! frozen tree, which shares what has not changed with the one in use, and a place in it.

use std::mem;
use std::sync::Arc;

use super::json;
use super::{Node, Tree};

/// Nodes that one piece looks at, however little of them is shown: hidden ones are passed over.
const PIECE_NODES: usize = 4096;

/// Bytes of a value that are written at a time. Escapes make up to six of each.
const VALUE_BYTES: usize = 16 << 10;

/// Bytes that a piece has room for from the start; more comes as it grows.
const MOST_AHEAD_BYTES: usize = 128 << 10;

/// The members of a listing that are still to be rendered.
#[derive(Debug)]
pub struct Listing {
    /// Everything, or nothing for a file.
    tree: Tree,
    walk: Walk,
}

/// What is written next.
#[derive(Debug)]
enum Stage {
    /// The beginning.
    Begin,
    /// A file's value, from this byte on.
    Value(Arc<Node>, usize),
    /// What comes behind `Walk::place`.
    Nodes,
    /// Nothing.
    End,
}

/// How far the rendering has come.
#[derive(Debug)]
struct Walk {
    /// What was asked for; `None` is the root.
    asked: Option<Arc<Node>>,
    recursive: bool,
    /// What the cluster clock reads.
    clock: i64,
    stage: Stage,
    /// The node behind which to go on, and whether everything below it is done with as well; `None` before the first.
    place: Option<(Arc<Node>, bool)>,
    /// The directories between the one asked for and the place, outermost first.
    open: Vec<Arc<Node>>,
    /// Nothing is written yet of what the innermost open directory holds.
    first: bool,
    /// Something is written of what the directory asked for holds.
    opened: bool,
}

impl Listing {
    /// A file, or a directory with its children or, when `recursive`, everything below; `asked` is `None` for the root.
    /// Hidden nodes are left out. Lifetimes are those left when the cluster clock reads `clock`.
    pub(super) fn new(tree: &Tree, asked: Option<Arc<Node>>, recursive: bool, clock: i64) -> Self {
        let is_file = asked.as_ref().is_some_and(|node| !node.is_dir());
        let tree = if is_file { Tree::default() } else { tree.clone() };
        let place = asked.clone().map(|node| (node, false));
        let walk = Walk {
            asked,
            recursive,
            clock,
            stage: Stage::Begin,
            place,
            open: Vec::new(),
            first: true,
            opened: false,
        };
        Self { tree, walk }
    }

    /// Whether everything has been rendered.
    pub fn is_finished(&self) -> bool {
        matches!(self.walk.stage, Stage::End)
    }

    /// The next piece of the JSON: about `bytes`, up to some 100 KiB more; less when many nodes are not shown, and then
    /// even nothing. Takes no longer than that needs, whatever there is.
    pub fn next_piece(&mut self, bytes: usize) -> Vec<u8> {
        let Self { tree, walk } = self;
        let mut out = Vec::with_capacity(walk.room().min(bytes).min(MOST_AHEAD_BYTES));
        let mut left = PIECE_NODES;
        while out.len() < bytes && left > 0 {
            match mem::replace(&mut walk.stage, Stage::End) {
                Stage::Begin => walk.begin(&mut out, bytes),
                Stage::Value(node, from) => walk.value(node, from, &mut out, bytes),
                Stage::Nodes => walk.nodes(tree, &mut out, bytes, &mut left),
                Stage::End => break,
            }
        }
        out
    }
}

impl Walk {
    /// The bytes that the next piece takes at least, about.
    fn room(&self) -> usize {
        match &self.stage {
            Stage::Begin => 256 + self.asked.as_ref().map_or(0, |node| node.value().len()),
            Stage::Value(..) | Stage::Nodes => usize::MAX,
            Stage::End => 0,
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>, limit: usize) {
        out.extend_from_slice(b"{\"action\":\"get\",\"node\":{");
        self.stage = match self.asked.clone() {
            None => {
                out.extend_from_slice(b"\"dir\":true");
                Stage::Nodes
            }
            Some(node) if node.is_dir() => {
                json::head(out, &node, node.seconds_left(self.clock));
                Stage::Nodes
            }
            Some(node) => return self.file(node, out, limit),
        };
    }

    /// A file up to the end of its node, or up to its value if that is a long one.
    fn file(&mut self, node: Arc<Node>, out: &mut Vec<u8>, limit: usize) {
        if node.value().len() <= value_bytes(limit) {
            json::head(out, &node, node.seconds_left(self.clock));
            return self.end_file(&node, out);
        }
        json::key(out, &node);
        out.extend_from_slice(b",\"value\":\"");
        self.stage = Stage::Value(node, 0);
    }

    fn value(&mut self, node: Arc<Node>, from: usize, out: &mut Vec<u8>, limit: usize) {
        let value = node.value();
        let to = json::boundary(value, from + value_bytes(limit));
        json::escaped(out, &value[from..to]);
        if to < value.len() {
            self.stage = Stage::Value(node, to);
            return;
        }
        out.push(b'"');
        json::lifetime(out, &node, node.seconds_left(self.clock));
        self.end_file(&node, out);
    }

    fn end_file(&mut self, node: &Node, out: &mut Vec<u8>) {
        json::tail(out, node);
        out.push(b'}');
        self.stage = Stage::Nodes;
        if self.asked.as_ref().is_some_and(|asked| !asked.is_dir()) {
            out.extend_from_slice(b"}\n");
            self.stage = Stage::End;
        }
    }

    /// Writes nodes until there are enough bytes, or a long value comes. Walks without recursion, so depth costs no
    /// stack.
    fn nodes(&mut self, tree: &Tree, out: &mut Vec<u8>, limit: usize, left: &mut usize) {
        self.stage = Stage::Nodes;
        let asked = self.asked.clone();
        let dir = asked.as_ref().map_or(&b""[..], |node| node.key.as_bytes());
        let start = self.place.take();
        let mut place = start.as_ref().map(|(node, behind)| (node, *behind));
        let path = start.as_ref().map_or(dir, |(node, _)| node.key.as_bytes());
        let mut following = tree.following(path, start.as_ref().is_some_and(|(_, behind)| *behind));
        while out.len() < limit && *left > 0 && matches!(self.stage, Stage::Nodes) {
            let Some(node) = following.next().filter(|node| node.key.is_below(dir)) else {
                self.end(out);
                return;
            };
            *left -= 1;
            let path = node.key.as_bytes();
            while self.open.last().is_some_and(|above| !node.key.is_below(above.key.as_bytes())) {
                self.close(out);
            }
            let hidden = node.key.is_hidden_from(parent(path));
            if !hidden {
                self.show(node, out, limit);
            }
            let behind = node.is_dir() && (hidden || !self.recursive);
            place = Some((node, behind));
            if behind {
                following = tree.following(path, true);
            }
        }
        self.place = place.map(|(node, behind)| (node.clone(), behind));
    }

    /// Writes one node of a directory. One that is to be gone into stays open.
    fn show(&mut self, node: &Arc<Node>, out: &mut Vec<u8>, limit: usize) {
        out.extend_from_slice(if self.first { b",\"nodes\":[{" } else { b",{" });
        self.first = false;
        self.opened |= self.open.is_empty();
        if !node.is_dir() {
            return self.file(node.clone(), out, limit);
        }
        json::head(out, node, node.seconds_left(self.clock));
        if self.recursive {
            self.open.push(node.clone());
            self.first = true;
        } else {
            json::tail(out, node);
            out.push(b'}');
        }
    }

    /// Ends the innermost open directory; the next node is then not the first of its list.
    fn close(&mut self, out: &mut Vec<u8>) {
        if !mem::take(&mut self.first) {
            out.push(b']');
        }
        if let Some(node) = self.open.pop() {
            json::tail(out, &node);
        }
        out.push(b'}');
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        while !self.open.is_empty() {
            self.close(out);
        }
        if self.opened {
            out.push(b']');
        }
        if let Some(asked) = &self.asked {
            json::tail(out, asked);
        }
        out.extend_from_slice(b"}}\n");
        self.stage = Stage::End;
    }
}

/// How much of a value is written at a time into a piece of `limit` bytes. A character has up to four.
fn value_bytes(limit: usize) -> usize {
    limit.clamp(4, VALUE_BYTES)
}

fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    &path[..end]
}

#[cfg(test)]
#[path = "listing_test.rs"]
mod tests;

//! JSON whose long values are written when they are asked for: until then it shares them with the nodes that have them,
//! and takes next to nothing.

use std::collections::VecDeque;
use std::mem;

use super::json::{self, Sink};
use super::mismatch::{Mismatch, Part};
use super::{Blob, Event};

/// A shorter value is written at once.
const LONG_BYTES: usize = 4 << 10;

/// Bytes of a value that are written at a time. Escapes make up to six of each.
const STEP_BYTES: usize = 16 << 10;

/// What is still to be written.
#[derive(Debug, Default)]
pub struct Outline {
    /// Text, and the value that follows it.
    parts: VecDeque<(Vec<u8>, Blob)>,
    /// How much of the first value is written.
    from: usize,
    /// The text behind the last value.
    end: Vec<u8>,
}

impl Sink for Outline {
    fn text(&mut self) -> &mut Vec<u8> {
        &mut self.end
    }

    fn value(&mut self, value: &Blob) {
        self.end.push(b'"');
        self.escaped(value);
        self.end.push(b'"');
    }
}

impl Outline {
    /// Writes bytes as they are.
    pub fn push(&mut self, text: &[u8]) {
        self.end.extend_from_slice(text);
    }

    /// Writes a string with the words about a comparison that failed.
    pub fn push_mismatch(&mut self, mismatch: &Mismatch) {
        self.end.push(b'"');
        for part in mismatch.parts() {
            match part {
                Part::Text(words) => json::escaped(&mut self.end, words.as_bytes()),
                Part::Value(value) => self.escaped(value),
            }
        }
        self.end.push(b'"');
    }

    fn escaped(&mut self, value: &Blob) {
        if value.len() < LONG_BYTES {
            json::escaped(&mut self.end, value);
        } else {
            self.parts.push_back((mem::take(&mut self.end), value.clone()));
        }
    }

    /// How many bytes it has at least.
    pub fn len(&self) -> usize {
        let parts = self.parts.iter().map(|(text, value)| text.len() + value.len());
        parts.sum::<usize>() - self.from + self.end.len()
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.end.is_empty()
    }

    /// All of it at once, which is to be small.
    pub fn into_whole(mut self) -> Vec<u8> {
        self.next_piece(usize::MAX)
    }

    /// The next piece: about `bytes`, up to some 100 KiB more.
    pub fn next_piece(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < bytes {
            let Some((text, value)) = self.parts.front_mut() else {
                out.append(&mut self.end);
                break;
            };
            out.append(text);
            let to = json::boundary(value, self.from + STEP_BYTES);
            json::escaped(&mut out, &value[self.from..to]);
            self.from = to;
            if to == value.len() {
                self.from = 0;
                self.parts.pop_front();
            }
        }
        out
    }
}

impl Event {
    /// What [`encoded`](Self::encoded) gives, to be written piece by piece.
    pub fn outline(&self) -> Outline {
        let mut out = Outline::default();
        json::event(&mut out, self);
        out
    }
}

#[cfg(test)]
#[path = "outline_test.rs"]
mod tests;

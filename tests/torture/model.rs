//! One key as it should be: what the linearizability tester compares the store with.

use stateright::semantics::SequentialSpec;

use super::history::{Act, Cell, Told};

/// A key's content. The index of a write whose outcome nobody was told is unknown until somebody sees it.
#[derive(Clone, Debug, Default)]
pub struct Key(Option<(u64, Option<u64>)>);

impl Key {
    /// Whether `cell` can be what stands here; learns its index.
    fn shows(&mut self, cell: Cell) -> bool {
        match &mut self.0 {
            Some((value, index)) if *value == cell.value => *index.get_or_insert(cell.index) == cell.index,
            _ => false,
        }
    }

    fn shows_before(&mut self, before: Option<Cell>) -> bool {
        match before {
            Some(cell) => self.shows(cell),
            None => self.0.is_none(),
        }
    }

    /// Whether the condition of `act` holds. An index that nobody has seen cannot be the one that a client asks for.
    fn accepts(&self, act: Act) -> bool {
        match (act, self.0) {
            (Act::Get, _) | (Act::Set(_), _) => true,
            (Act::Create(_), there) => there.is_none(),
            (Act::Swap { from, .. }, there) => there.is_some_and(|(value, _)| value == from),
            (Act::SwapAt { at, .. }, there) => there.is_some_and(|(_, index)| index == Some(at)),
            (Act::Delete, there) => there.is_some(),
        }
    }

    fn put(&mut self, act: Act, index: Option<u64>) {
        match act {
            Act::Get => {}
            Act::Set(to) | Act::Create(to) | Act::Swap { to, .. } | Act::SwapAt { to, .. } => {
                self.0 = Some((to, index))
            }
            Act::Delete => self.0 = None,
        }
    }
}

impl SequentialSpec for Key {
    type Op = Act;
    type Ret = Told;

    /// An operation whose answer nobody got takes effect; what is returned is compared with nothing.
    fn invoke(&mut self, act: &Act) -> Told {
        if self.accepts(*act) {
            self.put(*act, None);
        }
        Told::Absent
    }

    fn is_valid_step(&mut self, act: &Act, told: &Told) -> bool {
        match (*act, *told) {
            (_, Told::Untouched) => true,
            (Act::Get, Told::Found(cell)) => self.shows(cell),
            (Act::Get, Told::Absent) => self.0.is_none(),
            (Act::Get, _) => false,
            (act, Told::Done { index, before }) => {
                let fits = self.shows_before(before) && self.accepts(act);
                self.put(act, Some(index));
                fits
            }
            (Act::Create(_), Told::Exists) => self.0.is_some(),
            (Act::Swap { .. } | Act::SwapAt { .. } | Act::Delete, Told::Absent) => self.0.is_none(),
            (Act::Swap { .. } | Act::SwapAt { .. }, Told::Differs) => self.0.is_some() && !self.accepts(*act),
            _ => false,
        }
    }
}

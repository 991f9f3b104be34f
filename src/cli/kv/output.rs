//! Where the verbs' output goes: forms to standard output, refusals to standard error.

use std::fmt::Display;

use super::render::{self, Shown};
use crate::cli::{Failure, Format, say};
use crate::client::{Answer, ClientError, Event};

/// Exit status when the store said no or cannot be reached.
const REFUSED: u8 = 4;

/// Standard output in the form the user asked for.
pub(super) struct Output {
    pub format: Format,
}

impl Output {
    /// Prints the outcome of a read or a write of a file.
    pub fn answer(&self, answer: &Answer) -> Result<(), Failure> {
        say::text(format_args!("{}", render::response(&Shown::from(answer), self.format)))
    }

    /// Prints the outcome of a verb that says nothing for people.
    pub fn quiet_answer(&self, answer: &Answer) -> Result<(), Failure> {
        if self.format == Format::Simple { Ok(()) } else { self.answer(answer) }
    }

    /// Prints a change; `named` puts a line with action and key before the value. JSON holds both anyway.
    pub fn event(&self, event: &Event, named: bool) -> Result<(), Failure> {
        let heading =
            if named && self.format != Format::Json { render::heading(event) } else { String::new() };
        say::text(format_args!("{}", (heading + &render::response(&Shown::from(event), self.format))))
    }

    /// Prints the keys of a listing.
    pub fn listing(&self, answer: &Answer, mark_directories: bool) -> Result<(), Failure> {
        match self.format {
            Format::Simple => say::text(format_args!("{}", render::listing(&answer.node, mark_directories))),
            Format::Extended | Format::Json => self.answer(answer),
        }
    }
}

/// The store's refusal or silence, worded as etcdctl does: status 4.
pub(super) fn refused(error: ClientError) -> Failure {
    eprintln!("Error:  {error}");
    Failure::with_code(REFUSED, "")
}

/// An argument that shows at run time only to be of no use: status 1.
pub(super) fn bad_argument(problem: impl Display) -> Failure {
    eprintln!("Error:  {problem}");
    Failure::with_code(1, "")
}

//! Where the verbs' output goes: forms to standard output, refusals to standard error.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::render::{self, Shown};
use crate::cli::terminal::say::{self, Voice};
use crate::cli::{Failure, Format};
use crate::client::{Answer, ClientError, Event};

/// Exit status when the store said no or cannot be reached.
pub(in crate::cli) const REFUSED: u8 = 4;

/// How answers are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    /// In one of the forms there are.
    Known(Format),
    /// etcdctl takes any word for a form, does what it was asked and complains instead of printing.
    Unknown(String),
}

/// Standard output in the form the user asked for.
pub(in crate::cli) struct Output {
    /// The form.
    pub form: Form,
    /// The voice of complaints.
    pub voice: Voice,
}

impl Output {
    /// Prints the outcome of a read or a write of a file.
    pub fn answer(&self, answer: &Answer) -> Result<(), Failure> {
        self.print(|format| render::response(&Shown::from(answer), format))
    }

    /// Prints the outcome of a verb that says nothing for people.
    pub fn quiet_answer(&self, answer: &Answer) -> Result<(), Failure> {
        if self.form == Form::Known(Format::Simple) { Ok(()) } else { self.answer(answer) }
    }

    /// Prints a change; `named` puts a line with action and key before the value.
    pub fn event(&self, event: &Event, named: bool) -> Result<(), Failure> {
        if named && self.wants_heading() {
            out!("{}", render::heading(event));
        }
        self.print(|format| render::response(&Shown::from(event), format))
    }

    /// JSON of `muster kv` is for programs and holds key and action anyway.
    fn wants_heading(&self) -> bool {
        self.voice == Voice::Etcdctl || self.form != Form::Known(Format::Json)
    }

    /// Prints the keys of a listing.
    pub fn listing(&self, answer: &Answer, mark_directories: bool) -> Result<(), Failure> {
        self.print(|format| match format {
            Format::Simple => render::listing(&answer.node, mark_directories),
            Format::Extended | Format::Json => render::response(&Shown::from(answer), format),
        })
    }

    /// Prints lines for people, or one JSON document where that was asked for.
    pub fn lines(&self, text: &str, json: &impl serde::Serialize) -> Result<(), Failure> {
        if self.voice == Voice::Muster && self.form == Form::Known(Format::Json) {
            outln!("{}", serde_json::to_string(json).map_err(Failure::new)?);
            return Ok(());
        }
        say::text(format_args!("{text}"))
    }

    /// Prints names, a line for each.
    pub fn names(&self, names: &[String]) -> Result<(), Failure> {
        self.lines(&names.iter().map(|name| format!("{name}\n")).collect::<String>(), &names)
    }

    /// Prints what has become of a user or a role: `kind` is `User` or `Role`.
    pub fn done(&self, kind: &str, name: &str, what: &str) -> Result<(), Failure> {
        let json = BTreeMap::from([(kind.to_ascii_lowercase(), name)]);
        self.lines(&format!("{kind} {name} {what}\n"), &json)
    }

    fn print(&self, text: impl FnOnce(Format) -> String) -> Result<(), Failure> {
        match &self.form {
            Form::Known(format) => say::text(format_args!("{}", text(*format))),
            Form::Unknown(name) => {
                eprintln!("Unsupported output format: {name}");
                Ok(())
            }
        }
    }

    /// The store's refusal or silence, worded as etcdctl does: status 4.
    pub fn refused(&self, error: ClientError) -> Failure {
        eprintln!("Error:  {}", self.words(&error));
        Failure::with_code(REFUSED, "")
    }

    /// As [`Output::refused`] for verbs about members, users and roles: the bare words and status 1.
    pub fn declined(&self, error: ClientError) -> Failure {
        eprintln!("{}", self.words(&error));
        Failure::with_code(1, "")
    }

    /// An error in the words of whoever speaks.
    pub fn words(&self, error: &ClientError) -> String {
        match (self.voice, error) {
            (Voice::Etcdctl, ClientError::Unavailable { attempts }) => {
                let list: Vec<String> =
                    attempts.iter().enumerate().map(|(n, a)| format!("error #{n}: {a}")).collect();
                let list = list.join("; ");
                format!("client: etcd cluster is unavailable or misconfigured; {list}")
            }
            _ => error.to_string(),
        }
    }
}

/// An argument that shows at run time only to be of no use: status 1.
pub(in crate::cli) fn bad_argument(problem: impl Display) -> Failure {
    eprintln!("Error:  {problem}");
    Failure::with_code(1, "")
}

//! What Go's libraries do with requests, in whose words clients are answered.

pub mod form;
pub mod json;
pub mod media;
pub mod path;
pub mod url;

//! Errors for people: what was tried, and everything that it failed for.

/// An error with everything behind it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {0}")]
    struct Outer(&'static str, #[source] std::io::Error);

    #[test]
    fn causes_stand_behind_what_was_tried() {
        let error = Outer("/etc/machine-id", std::io::Error::other("no disk"));
        assert_eq!(chain(&error), "cannot read /etc/machine-id: no disk");
    }
}

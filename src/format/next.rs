//! The version after this one, for tests of the way there and back: it has a command and a field more. A debug build
//! plays it when it is told to, which spares the tests a second build; a release build has none of it.

use super::version::{CURRENT, Version};

/// Its number.
pub const VERSION: Version = Version::new(0, 2);

/// The highest version that this process reads and speaks: [`CURRENT`], but for tests of the step to the next one.
pub fn highest() -> Version {
    if is_on() { VERSION } else { CURRENT }
}

/// Whether this process plays the next version: when `MUSTER_TEST_NEXT_VERSION` is set.
#[cfg(debug_assertions)]
pub fn is_on() -> bool {
    static ON: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("MUSTER_TEST_NEXT_VERSION").is_some());
    *ON
}

/// Whether what is encoded just now is for readers who do not know the next version.
#[cfg(debug_assertions)]
pub fn is_before_next<T>(_: &T) -> bool {
    super::version::is_written_before(VERSION)
}

/// What a member of the next version says of itself, which this one has no words for.
#[cfg(debug_assertions)]
pub fn remark(how: &str) -> Option<String> {
    is_on().then(|| how.into())
}

/// Never in a release build.
#[cfg(not(debug_assertions))]
pub fn is_on() -> bool {
    false
}

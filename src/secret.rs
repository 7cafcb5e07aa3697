//! Values that must not leak: redacted in debug output, wiped when dropped, impossible to serialise.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A secret value.
///
/// It has no `Display`, no `Serialize` and no `Clone`; [`expose`](Secret::expose) is the one way to
/// the value, so every use can be found by that name.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into custody.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself; the caller must not copy it to where it outlives its use.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::new(String::from("hunter2"))), "[secret]");
    }
}

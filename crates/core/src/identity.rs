//! Who a peer claims to be.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The name under which a peer is known, whatever connection it comes by: a device id, a session token, a client id.
///
/// It is opaque bytes. To clone one is to count a reference, so that the connection that holds it and the directory that
/// keeps it share one copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<[u8]>);

/// Why a claim was not even asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ClaimError {
    /// An identity has at least one byte.
    #[error("the identity is empty")]
    Empty,
    /// The identity is longer than `identity_bytes_max`.
    #[error("the identity has {bytes} bytes, which is above identity_bytes_max {max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: u32,
    },
    /// A connection claims once in its life. Another identity needs another connection, since everything that was
    /// received so far was received under the first.
    #[error("the connection has claimed an identity already")]
    Claimed,
    /// The connection is suspected, in grace or closing: it will not come back to life by a claim.
    #[error("the connection is ending")]
    Closed,
}

impl Identity {
    /// An identity of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Identity {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(\"{self}\")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_chose_is_printed_without_its_control_characters() {
        assert_eq!(Identity::new(b"pump-7\n\x1b[2J").to_string(), r"pump-7\n\x1b[2J");
    }
}

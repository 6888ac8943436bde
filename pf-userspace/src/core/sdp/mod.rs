//! SDP of CPM sessions: what a peer offered or answered, and what we offer and answer on our legs
//! (RFC 3264, RFC 4975 section 8, RFC 4145, RFC 6135, RFC 6714).
//!
//! The text itself is read and written by `sdp-types`; its types do not leave this module.

mod body;
mod legs;
mod line;
mod places;
mod setup;

use bytes::Bytes;

pub use body::{Body, BodyError, Part, join_body, split_body};
pub use legs::{LocalLine, Origin, answer, device_offer, offer};
pub use line::{Direction, MsrpLine, Unanchorable};
pub use setup::{SetupAttr, answer_setup, our_role, remote_leg};

/// The longest session description that is read, in octets.
pub const MAX_OCTETS: usize = 64 * 1024;
/// The most m-lines that a session description may have.
pub const MAX_LINES: usize = 32;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp(sdp_types::Session);

/// A session description could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is not UTF-8; other character sets are not supported. Answer `488`.
    #[error("not UTF-8")]
    NotUtf8,
    /// It breaks the syntax of RFC 8866: which line, and how. Answer `400`.
    #[error("malformed: {0}")]
    Malformed(String),
    /// It is longer than [`MAX_OCTETS`].
    #[error("longer than {MAX_OCTETS} octets")]
    TooLong,
    /// It has more than [`MAX_LINES`] m-lines.
    #[error("more than {MAX_LINES} m-lines")]
    TooManyLines,
}

impl Sdp {
    /// Reads a session description. Lines may end in CRLF or LF; unknown lines are dropped.
    ///
    /// # Errors
    /// [`SdpError`] for anything that is too big, not UTF-8 or not SDP.
    pub fn parse(body: &[u8]) -> Result<Sdp, SdpError> {
        if body.len() > MAX_OCTETS {
            return Err(SdpError::TooLong);
        }
        if std::str::from_utf8(body).is_err() {
            return Err(SdpError::NotUtf8);
        }
        let session = sdp_types::Session::parse(body).map_err(|e| SdpError::Malformed(e.to_string()))?;
        if session.medias.len() > MAX_LINES {
            return Err(SdpError::TooManyLines);
        }
        Ok(Sdp(session))
    }

    /// The description as it goes on the wire, lines ended by CRLF.
    pub fn write(&self) -> Bytes {
        let mut out = Vec::with_capacity(512);
        // Writing into memory does not fail.
        let _ = self.0.write(&mut out);
        out.into()
    }

    /// How many m-lines there are, rejected ones included.
    pub fn line_count(&self) -> usize {
        self.0.medias.len()
    }

    /// The MSRP m-lines in order, rejected ones (port 0) included.
    pub fn msrp_lines(&self) -> Vec<MsrpLine> {
        line::msrp_lines(&self.0)
    }

    /// The version in `o=`: it rises by one with every change of a description (RFC 3264 section 8).
    pub fn version(&self) -> u64 {
        self.0.origin.sess_version
    }

    /// The same description with these m-lines rejected (port 0): lines that we cannot carry.
    /// [`offer`] then offers them with port 0, [`answer`] refuses them.
    #[must_use]
    pub fn rejecting(mut self, indices: &[usize]) -> Sdp {
        for index in indices {
            if let Some(media) = self.0.medias.get_mut(*index) {
                *media = legs::rejected(media);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;

//! What a head can be, and what its start line, headers and end can say.

use super::Head;
#[cfg(doc)]
use crate::msrp::HEAD_MAX;
use crate::msrp::{Flag, Ident};

/// What the octets at the start of a frame are.
// No allocation here, and a head is looked at once, where it was made.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A head, perhaps a faulty one whose frame can still be followed to its end.
    Head(Head<'a>),
    /// More octets are needed.
    Incomplete,
    /// The head exceeds [`HEAD_MAX`]; the transaction id, if it could be read.
    TooLong(Option<Ident>),
    /// No MSRP start line: framing is lost.
    NotMsrp,
}

/// A frame's start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request.
    Request(Method),
    /// A response.
    Response {
        /// Its three digits.
        code: u16,
        /// What stands between transaction id and CRLF: digits and comment.
        status: &'a [u8],
    },
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Anything else; also what is no method by the grammar.
    Other,
    /// REPORT.
    Report,
    /// SEND.
    Send,
}

/// How a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A blank line: a body follows.
    Body,
    /// The end-line at once: there is no body.
    EndLine {
        /// Its flag.
        flag: Flag,
        /// Position after it.
        end: usize,
    },
}

/// Why a frame is refused although its end can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Byte-Range, Failure-Report or Success-Report has a value that is none.
    BadValue,
    /// A control octet, or CR or LF alone.
    ControlOctet,
    /// A header that may stand once stands twice.
    Duplicate,
    /// A line without a header name, colon, space.
    NoHeader,
    /// To-Path is not the first header or From-Path not the second.
    PathOrder,
}

/// The value of a Failure-Report header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureReport {
    /// `no`: neither responses nor reports.
    No,
    /// `partial`: error responses only.
    Partial,
    /// `yes`, or no header.
    #[default]
    Yes,
}

//! Heads as they should be, faulty ones, and any octets.

extern crate std;
use std::{format, string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

const PATHS: &str = "To-Path: msrp://b:1/x;tcp\r\nFrom-Path: msrp://r:3/z;tcp msrp://a:2/y;tcp\r\n";

fn head(wire: &str) -> Head<'_> {
    match Head::parse(wire.as_bytes()) {
        Parsed::Head(head) => head,
        other => panic!("{wire:?}: {other:?}"),
    }
}

fn send(fields: &str) -> String {
    format!("MSRP abcd SEND\r\n{PATHS}{fields}-------abcd$\r\n")
}

#[test]
fn a_send_with_a_body() {
    let wire = format!(
        "MSRP abcd SEND\r\n{PATHS}Message-ID: 12345\r\nbyte-range: 1-*/9\r\nFailure-Report: partial\r\nX: y\r\n\
         Content-Type: text/plain\r\n\r\nhello"
    );
    let head = head(&wire);
    assert_eq!(head.start, Start::Request(Method::Send));
    assert_eq!(head.transaction.as_bytes(), b"abcd");
    assert_eq!(head.to_path, b"msrp://b:1/x;tcp");
    assert_eq!(head.sender(), b"msrp://r:3/z;tcp");
    assert!(wire[head.fields..].starts_with("Message-ID"));
    assert_eq!(&wire[head.len..], "hello");
    assert_eq!((head.ending, head.fault), (Ending::Body, None));
    assert_eq!(head.message_id, Some(&b"12345"[..]));
    assert_eq!(head.byte_range, Some(ByteRange { start: 1, end: None, total: Some(9) }));
    let (from, to) = head.byte_range_line;
    assert_eq!(&wire[from..to], "byte-range: 1-*/9\r\n");
    assert_eq!(head.failure_report, FailureReport::Partial);
    assert_eq!(head.content_type, Some(&b"text/plain"[..]));
}

#[test]
fn a_response() {
    let wire = format!("MSRP abcd 413 Message too long\r\n{PATHS}-------abcd$\r\n");
    let head = head(&wire);
    assert_eq!(head.start, Start::Response { code: 413, status: b"413 Message too long" });
    assert_eq!(head.ending, Ending::EndLine { flag: Flag::Last, end: wire.len() });
    let bare = format!("MSRP abcd 200\r\n{PATHS}-------abcd$\r\n");
    assert!(matches!(self::head(&bare).start, Start::Response { code: 200, .. }));
    for other in ["2000", "20", "2x0 OK", "send", "AUTH", "", "SEND "] {
        let wire = format!("MSRP abcd {other}\r\n{PATHS}-------abcd$\r\n");
        assert_eq!(self::head(&wire).start, Start::Request(Method::Other), "{other}");
    }
}

#[test]
fn faults_keep_the_framing() {
    let cases = [
        ("Message-ID: a\r\nMessage-ID: b\r\n", Fault::Duplicate),
        ("To-Path: msrp://b:1/x;tcp\r\n", Fault::Duplicate),
        ("From-Path: msrp://b:1/x;tcp\r\n", Fault::Duplicate),
        ("Byte-Range: 1-2/1\r\n", Fault::BadValue),
        ("Byte-Range: 1-2/2\r\nByte-Range: 1-2/2\r\n", Fault::Duplicate),
        ("Failure-Report: maybe\r\n", Fault::BadValue),
        ("Success-Report: \r\n", Fault::BadValue),
        ("no colon\r\n", Fault::NoHeader),
        ("X:y\r\n", Fault::NoHeader),
        (": y\r\n", Fault::NoHeader),
        ("X: a\nTo-Path: b\r\n", Fault::ControlOctet),
        ("X: a\rb\r\n", Fault::ControlOctet),
        ("X: a\0b\r\n", Fault::ControlOctet),
        ("-------other$\r\n", Fault::NoHeader),
    ];
    for (fields, fault) in cases {
        let wire = send(fields);
        let head = head(&wire);
        assert_eq!(head.fault, Some(fault), "{fields:?}");
        assert_eq!(head.ending, Ending::EndLine { flag: Flag::Last, end: wire.len() }, "{fields:?}");
    }
    let swapped = "MSRP abcd SEND\r\nFrom-Path: a\r\nTo-Path: b\r\n-------abcd$\r\n";
    assert_eq!(head(swapped).fault, Some(Fault::PathOrder));
    assert_eq!(head("MSRP abcd SEND\r\n-------abcd$\r\n").fault, Some(Fault::PathOrder));
    assert_eq!(head(&send("X: tab\tinside\r\n")).fault, None);
}

#[test]
fn framing_lost() {
    for wire in
        ["GET / HTTP/1.1\r\n", "MSRP abc SEND\r\n", "MSRP abcd\r\n", "MSRP ab\ncd SEND\r\n", "msrp abcd SEND"]
    {
        assert_eq!(Head::parse(wire.as_bytes()), Parsed::NotMsrp, "{wire:?}");
    }
    let long = format!("MSRP abcd SEND\r\n{PATHS}X: {}", "y".repeat(HEAD_MAX));
    assert!(matches!(Head::parse(long.as_bytes()), Parsed::TooLong(Some(id)) if id.as_bytes() == b"abcd"));
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("MSRP abcd SEND\r\n"),
        Just("MSRP abcd 200 OK\r\n"),
        Just(PATHS),
        Just("Message-ID: a\r\n"),
        Just("Byte-Range: 1-*/*\r\n"),
        Just("\r\n"),
        Just("-------abcd$\r\n"),
        Just("-------"),
        Just("X: "),
        Just("\n"),
        Just("abcd"),
        Just(": "),
        Just("\u{e9}"),
    ];
    proptest::collection::vec(piece, 0..9).prop_map(|p| p.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_octets(input: Vec<u8>) {
        if let Parsed::Head(head) = Head::parse(&input) {
            prop_assert!(head.len <= input.len());
        }
    }

    #[test]
    fn cut_anywhere_is_incomplete_or_the_same(wire in pieces(), at in 0_usize..400) {
        let at = at.min(wire.len());
        match (Head::parse(&wire[..at]), Head::parse(&wire)) {
            (Parsed::Incomplete, _) => {}
            (Parsed::Head(cut), Parsed::Head(whole)) => prop_assert_eq!(cut, whole),
            (cut, whole) => prop_assert_eq!(cut, whole),
        }
    }
}

//! The programs' reader of messages against the full grammar: what it takes, the grammar takes, in the same sense.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: what fails shall fail")]

mod memory;

use memory::Memory;
use pf_common::{
    maps::{BLOCK_MAX, SESSION_MIN},
    msrp::{ByteRange, Ending, FailureReport, Flag, Head, Method, Parsed, Search, find_end, head},
    whole::{Content, Scan, WHOLE_MAX, path, response, responses, send, session, start},
};
use proptest::prelude::*;

/// A payload in front of what was there before.
fn memory(payload: &[u8], before: u8) -> Memory {
    let mut memory = [before; 4096];
    let len = payload.len().min(memory.len());
    memory[..len].copy_from_slice(&payload[..len]);
    Memory(memory)
}

const SESSION: &str = "0123456789abcdefghijklmn";

fn block() -> String {
    format!("To-Path: msrp://10.9.0.1:2855/{SESSION};tcp\r\nFrom-Path: msrp://10.0.0.2:9/peerpeer;tcp\r\n")
}

/// What the kernel would do, with one registered leg.
fn judge(payload: &[u8], any_type: bool, before: u8) -> Result<Content, Content> {
    let len = payload.len() as u32;
    if len > WHOLE_MAX {
        return Err(Content::Long);
    }
    let memory = memory(payload, before);
    let mut scan = Scan::default();
    let begin = start(&memory, len, &mut scan)?;
    let block = block();
    let at = block.find(SESSION).unwrap() as u32;
    if session(&memory, begin.block + at) != SESSION.as_bytes()[..SESSION_MIN] {
        return Err(Content::NoSession);
    }
    let mut padded = [0; BLOCK_MAX];
    padded[..block.len()].copy_from_slice(block.as_bytes());
    if !path(&memory, begin.block, &padded, block.len() as u32) {
        return Err(Content::Path);
    }
    let fields = begin.block + block.len() as u32;
    if !begin.send {
        return response(&memory, &begin, fields, len).map(|()| Content::Answer);
    }
    send(&memory, &begin, fields, any_type, len, &mut scan).map(|()| Content::Send)
}

/// How many responses a payload is.
fn count(payload: &[u8], before: u8) -> Option<u32> {
    let memory = memory(payload, before);
    let mut scan = Scan::default();
    let begin = start(&memory, payload.len() as u32, &mut scan).ok().filter(|begin| !begin.send)?;
    let block = block();
    let mut padded = [0; BLOCK_MAX];
    padded[..block.len()].copy_from_slice(block.as_bytes());
    if !path(&memory, begin.block, &padded, block.len() as u32) {
        return None;
    }
    let fields = begin.block + block.len() as u32;
    responses(&memory, &begin, fields, payload.len() as u32, &mut scan).ok()
}

fn message(fields: &str, body: &str) -> Vec<u8> {
    format!("MSRP tid12345 SEND\r\n{}{fields}\r\n{body}\r\n-------tid12345$\r\n", block()).into_bytes()
}

fn good(body: &str) -> Vec<u8> {
    let n = body.len();
    message(&format!("Message-ID: m1\r\nByte-Range: 1-{n}/{n}\r\nContent-Type: message/cpim\r\n"), body)
}

/// Is there a type of which the programs must not carry anything?
fn speaks_of_external(octets: &[u8]) -> bool {
    octets.windows(13).any(|some| some.eq_ignore_ascii_case(b"external-body"))
}

/// What the full grammar says of the same octets.
fn agrees(payload: &[u8], content: Content, any_type: bool) {
    let Parsed::Head(head) = Head::parse(payload) else { panic!("no head: {payload:?}") };
    assert_eq!(head.fault, None);
    assert_eq!(head.fields, head.start_line + block().len());
    if content == Content::Answer {
        assert_eq!(head.start, head::Start::Response { code: 200, status: b"200 OK" });
        assert_eq!(head.ending, Ending::EndLine { flag: Flag::Last, end: payload.len() });
        return;
    }
    assert_eq!(head.start, head::Start::Request(Method::Send));
    assert_eq!(head.ending, Ending::Body);
    assert_eq!(head.failure_report, FailureReport::Yes);
    let body = &payload[head.len..];
    let Search::End { body: length, end, flag, .. } = find_end(body, head.transaction.as_bytes(), true)
    else {
        panic!("no end: {payload:?}")
    };
    assert_eq!((end, flag), (body.len(), Flag::Last));
    let n = Some(length as u64);
    let range = |end| Some(ByteRange { start: 1, end, total: n });
    assert!(head.byte_range == range(n) || head.byte_range == range(None), "{:?}", head.byte_range);
    let kind = head.content_type.expect("no content type");
    assert!(any_type || kind.eq_ignore_ascii_case(b"message/cpim"));
    assert!(!kind.to_ascii_lowercase().starts_with(b"message/external"));
    assert!(!speaks_of_external(&body[..length]));
    assert!(!body[..length].windows(7).any(|seven| seven == b"-------"));
}

#[test]
fn each_reason_has_a_message() {
    let n = "Message-ID: m1\r\nByte-Range: 1-5/5\r\n";
    let cpim = "Content-Type: message/cpim\r\n";
    let whole = format!("{n}{cpim}");
    let text = |what: &[u8]| String::from_utf8(what.to_vec()).unwrap();
    let hello = text(&message(&whole, "hello"));
    for (what, payload, wanted) in [
        ("a SEND", hello.clone(), Ok(Content::Send)),
        (
            "a response",
            format!("MSRP tid12345 200 OK\r\n{}-------tid12345$\r\n", block()),
            Ok(Content::Answer),
        ),
        (
            "another order, other case",
            text(&message("content-TYPE: Message/CPIM\r\nbyte-range: 1-5/5\r\n", "hello")),
            Ok(Content::Send),
        ),
        (
            "a header nobody knows",
            text(&message(&format!("{whole}X-Y: z: \u{e9}\r\n"), "hello")),
            Ok(Content::Send),
        ),
        (
            "both reports",
            text(&message(&format!("{whole}Success-Report: yes\r\nFailure-Report: YES\r\n"), "hello")),
            Ok(Content::Send),
        ),
        ("three dashes", text(&good("a---b---c---d")), Ok(Content::Send)),
        ("too long", text(&good(&"x".repeat(2000))), Err(Content::Long)),
        ("short", "MSRP tid12345 SEND\r\n".to_owned(), Err(Content::Short)),
        ("another protocol", hello.replace("MSRP ", "HTTP "), Err(Content::NoStart)),
        ("a short id", hello.replace("tid12345", "tid"), Err(Content::NoStart)),
        ("a long id", hello.replace("tid12345", &"i".repeat(33)), Err(Content::NoStart)),
        ("an id with a star", hello.replace("tid12345", "tid*2345"), Err(Content::NoStart)),
        ("a report", hello.replace(" SEND", " REPORT"), Err(Content::Method)),
        (
            "a refusal",
            format!("MSRP tid12345 413 no\r\n{}-------tid12345$\r\n", block()),
            Err(Content::Method),
        ),
        ("another session", hello.replace("0123456789", "0123456780"), Err(Content::NoSession)),
        ("the end of the session's id", hello.replace("klmn;", "klmo;"), Err(Content::Path)),
        ("another peer", hello.replace("peerpeer", "peerpeex"), Err(Content::Path)),
        (
            "a line without a colon",
            text(&message(&format!("{whole}nothing\r\n"), "hello")),
            Err(Content::Header),
        ),
        ("a line without a space", text(&message(&format!("{whole}X:y\r\n"), "hello")), Err(Content::Header)),
        ("a line without a name", text(&message(&format!("{whole}: y\r\n"), "hello")), Err(Content::Header)),
        ("a tab", text(&message(&format!("{whole}X: \ty\r\n"), "hello")), Err(Content::Header)),
        ("another To-Path", text(&message(&format!("{whole}TO-path: y\r\n"), "hello")), Err(Content::Header)),
        (
            "another From-Path",
            text(&message(&format!("{whole}From-Path: y\r\n"), "hello")),
            Err(Content::Header),
        ),
        (
            "a status",
            text(&message(&format!("{whole}Status: 000 200 OK\r\n"), "hello")),
            Err(Content::Header),
        ),
        ("two ids", text(&message(&format!("{whole}Message-ID: y\r\n"), "hello")), Err(Content::Header)),
        ("no blank line", hello.replace("\r\n\r\nhello", "\r\nX: hello"), Err(Content::Header)),
        ("half of it", hello[..hello.len() - 40].to_owned(), Err(Content::NoBody)),
        ("no range", text(&message(cpim, "hello")), Err(Content::Range)),
        ("an open end", text(&message(&whole.replace("1-5/5", "1-*/5"), "hello")), Ok(Content::Send)),
        (
            "an open end that comes early",
            text(&message(&whole.replace("1-5/5", "1-*/6"), "hello")),
            Err(Content::End),
        ),
        ("no total", text(&message(&whole.replace("1-5/5", "1-*/*"), "hello")), Err(Content::Range)),
        ("nothing at all", text(&message(&whole.replace("1-5/5", "1-*/0"), "")), Err(Content::Range)),
        ("a chunk", text(&message(&whole.replace("1-5/5", "1-5/9"), "hello")), Err(Content::Range)),
        ("a later chunk", text(&message(&whole.replace("1-5/5", "2-5/5"), "hello")), Err(Content::Range)),
        ("an empty body", text(&message(&whole.replace("1-5/5", "1-0/0"), "")), Err(Content::Range)),
        (
            "no failure report",
            text(&message(&format!("{whole}Failure-Report: no\r\n"), "hello")),
            Err(Content::Report),
        ),
        (
            "a strange report",
            text(&message(&format!("{whole}Success-Report: maybe\r\n"), "hello")),
            Err(Content::Report),
        ),
        ("no type", text(&message(n, "hello")), Err(Content::Type)),
        ("text", text(&message(&format!("{n}Content-Type: text/plain\r\n"), "hello")), Err(Content::Type)),
        (
            "a parameter",
            text(&message(&format!("{n}Content-Type: message/cpim;x=y\r\n"), "hello")),
            Err(Content::Type),
        ),
        ("longer than it says", text(&message(&whole, "hello!")), Err(Content::End)),
        ("more to come", hello.replace("12345$", "12345+"), Err(Content::End)),
        ("another end", hello.replace("-------tid12345", "-------tid12346"), Err(Content::End)),
        ("two messages", format!("{hello}{hello}"), Err(Content::End)),
        (
            "a response and more",
            format!("MSRP tid12345 200 OK\r\n{}-------tid12345$\r\n ", block()),
            Err(Content::End),
        ),
        ("seven dashes", text(&good("abc-------def")), Err(Content::Dashes)),
        (
            "a body that is somewhere else",
            text(&good("Content-type: Message/External-Body; access-type=URL; URL=\"x\"\r\n\r\n")),
            Err(Content::External),
        ),
        (
            "the same without a wrapper",
            text(&message(&format!("{n}Content-Type: message/external-body; x=y\r\n"), "hello")),
            Err(Content::External),
        ),
        (
            "a body beside others",
            text(&good("an external\r\n-body, some-body, external-bodice")),
            Ok(Content::Send),
        ),
    ] {
        assert_eq!(judge(payload.as_bytes(), false, b'-'), wanted, "{what}");
        if let Ok(content) = wanted {
            agrees(payload.as_bytes(), content, false);
        }
    }
}

/// Wherever it stands in the body, and whatever may be carried.
#[test]
fn an_external_body_is_never_taken() {
    let fields = "Byte-Range: 1-5/5\r\nContent-Type: Message/external-body; access-type=URL\r\n";
    assert_eq!(judge(&message(fields, "hello"), true, 0), Err(Content::External));
    for before in 0..200 {
        for behind in 0..4 {
            let body = format!("{}message/external-body{}", "-x".repeat(before), "-".repeat(behind));
            assert_eq!(judge(&good(&body), true, b'-'), Err(Content::External), "{before} {behind}");
        }
    }
}

fn fields() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => Just("Message-ID: abcd\r\n".to_owned()),
        8 => (1_u32..40, 0_u32..3).prop_map(|(n, off)| format!("Byte-Range: 1-{n}/{}\r\n", n + off / 2)),
        2 => (1_u32..40).prop_map(|n| format!("Byte-Range: 1-*/{n}\r\n")),
        8 => Just("Content-Type: message/cpim\r\n".to_owned()),
        1 => Just("Content-Type: text/plain\r\n".to_owned()),
        1 => Just("Content-Type: message/external-body; x=y\r\n".to_owned()),
        2 => Just("Success-Report: no\r\n".to_owned()),
        2 => Just("Failure-Report: yes\r\n".to_owned()),
        2 => "[ -~]{0,20}(: )?[ -~]{0,30}\r\n",
        1 => any::<String>(),
    ];
    proptest::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever is taken is what the grammar takes, and what lies behind the payload does not matter.
    #[test]
    fn taken_by_both(fields in fields(), body in "([-a-z\r\n]|external-body){0,40}", any_type: bool,
                     spoil in proptest::option::of((0_usize..600, any::<u8>())), cut in 0_usize..4) {
        let mut payload = message(&fields, &body);
        if let Some((at, octet)) = spoil && at < payload.len() {
            payload[at] = octet;
        }
        if cut == 1 {
            payload.pop();
        }
        let verdict = judge(&payload, any_type, 0);
        prop_assert_eq!(verdict, judge(&payload, any_type, b'-'));
        prop_assert_eq!(verdict, judge(&payload, any_type, b'\r'));
        if let Ok(content) = verdict {
            agrees(&payload, content, any_type);
        }
    }

    /// A good message with one octet changed.
    #[test]
    fn mutated(body in "[ -,.-~]{1,300}", at in 0_usize..700, octet: u8, any_type: bool) {
        let mut payload = good(&body);
        prop_assert_eq!(judge(&payload, any_type, 7), Ok(Content::Send));
        if at < payload.len() {
            payload[at] = octet;
        }
        if let Ok(content) = judge(&payload, any_type, 7) {
            agrees(&payload, content, any_type);
        }
    }

    /// Several responses, perhaps with one octet changed: each one that is counted is one.
    #[test]
    fn several(ids in proptest::collection::vec("[a-z0-9][a-z0-9.=-]{6}", 1..9), other in "[a-z]{6,8}",
               spoil in proptest::option::of((0_usize..1800, any::<u8>()))) {
        let ok = |id: &str| format!("MSRP {id} 200 OK\r\n{}-------{id}$\r\n", block());
        let mut payload: Vec<u8> = ids.iter().map(|id| ok(id)).collect::<String>().into_bytes();
        prop_assert_eq!(count(&payload, 0), Some(ids.len() as u32));
        let mixed = [&payload[..], ok(&other).as_bytes()].concat();
        prop_assert_eq!(count(&mixed, b'-').is_some(), other.len() == 7);
        if let Some((at, octet)) = spoil && at < payload.len() {
            payload[at] = octet;
        }
        if let Some(count) = count(&payload, b'-') {
            let mut rest = &payload[..];
            for _ in 0..count {
                let Parsed::Head(head) = Head::parse(rest) else { panic!("no head") };
                prop_assert_eq!(head.fault, None);
                prop_assert_eq!(head.start, head::Start::Response { code: 200, status: b"200 OK" });
                let Ending::EndLine { flag: Flag::Last, end } = head.ending else { panic!("no end") };
                rest = &rest[end..];
            }
            prop_assert!(rest.is_empty());
        }
    }

    /// Noise of any length.
    #[test]
    fn noise(payload in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = judge(&payload, true, 0);
    }
}

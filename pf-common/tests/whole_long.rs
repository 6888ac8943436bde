//! Long messages, of which the programs have both ends and one piece at a time, against the full grammar.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test: what fails shall fail")]

mod memory;

use memory::Memory;
use pf_common::{
    msrp::{Ending, Flag, Head, Method, Parsed, Search, find_end, head},
    whole::{Content, FRONT, LONG_MAX, Scan, TAIL, TAIL_AT, WHOLE_MAX, body_in_piece, send_long, start},
};
use proptest::prelude::*;

const BLOCK: &str = "To-Path: msrp://10.9.0.1:2855/0123456789abcdefghijklmn;tcp\r\n\
                     From-Path: msrp://10.0.0.2:9/peerpeer;tcp\r\n";

fn judge(payload: &[u8], before: u8) -> Result<(), Content> {
    let len = payload.len();
    if len < FRONT as usize || len > LONG_MAX as usize {
        return Err(Content::Long);
    }
    let mut ends = Memory([before; 4096]);
    ends.0[..FRONT as usize].copy_from_slice(&payload[..FRONT as usize]);
    ends.0[TAIL_AT as usize..][..TAIL as usize].copy_from_slice(&payload[len - TAIL as usize..]);
    let mut scan = Scan::default();
    let begin = start(&ends, FRONT, &mut scan)?;
    if !begin.send {
        return Err(Content::Long);
    }
    let fields = begin.block + BLOCK.len() as u32;
    if payload.get(begin.block as usize..fields as usize) != Some(BLOCK.as_bytes()) {
        return Err(Content::Path);
    }
    let body = send_long(&ends, &begin, fields, false, len as u32, &mut scan)?;
    for (number, piece) in payload.chunks(WHOLE_MAX as usize).enumerate() {
        let mut memory = Memory([before; 4096]);
        memory.0[..piece.len()].copy_from_slice(piece);
        let at = number as u32 * WHOLE_MAX;
        body_in_piece(&memory, body, at, piece.len() as u32, &mut scan)?;
    }
    Ok(())
}

fn message(tid: &str, fields: &str, range: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "MSRP {tid} SEND\r\n{BLOCK}{fields}Byte-Range: {range}\r\nContent-Type: message/cpim\r\n\r\n"
    );
    [head.as_bytes(), body, format!("\r\n-------{tid}$\r\n").as_bytes()].concat()
}

/// What is taken is one whole message in the sense of the grammar, without anything like an end-line in its body.
fn agrees(payload: &[u8]) {
    let Parsed::Head(head) = Head::parse(payload) else { panic!("no head") };
    assert_eq!(head.fault, None);
    assert_eq!((head.start, head.ending), (head::Start::Request(Method::Send), Ending::Body));
    let body = &payload[head.len..];
    let Search::End { body: length, end, flag, .. } = find_end(body, head.transaction.as_bytes(), true)
    else {
        panic!("no end")
    };
    assert_eq!((end, flag), (body.len(), Flag::Last));
    assert_eq!(head.byte_range.and_then(|range| range.total), Some(length as u64));
    assert!(!body[..length].windows(7).any(|seven| seven == b"-------"));
}

fn good(tid: &str, len: usize) -> Vec<u8> {
    message(tid, "Message-ID: m1\r\n", &format!("1-{len}/{len}"), &vec![b'x'; len])
}

#[test]
fn ends_are_where_the_range_tells() {
    assert_eq!(judge(&good("tid12345", 10_240), b'-'), Ok(()));
    assert_eq!(judge(&good("tid1", 900), 0), Ok(()));
    assert_eq!(judge(&good(&"t".repeat(32), 15_900), b'\r'), Ok(()));
    assert_eq!(judge(&good("tid12345", 16_384), 0), Err(Content::Long));
    let open = message("tid12345", "", "1-*/3000", &[b'x'; 3000]);
    assert_eq!(judge(&open, 0), Ok(()));
    for range in ["1-2999/2999", "1-3001/3001", "1-3000/9000"] {
        assert!(judge(&message("tid12345", "", range, &[b'x'; 3000]), b'x').is_err(), "{range}");
    }
    let fields = format!("X: {}\r\n", "y".repeat(900));
    assert_eq!(judge(&message("tid12345", &fields, "1-3000/3000", &[b'x'; 3000]), 0), Err(Content::NoBody));
    let mut response = good("tid12345", 3000);
    response[14..18].copy_from_slice(b"200 ");
    assert!(judge(&response, 0).is_err());
}

/// An end-line of the message's own anywhere in the body, also across two pieces, is never taken for content.
#[test]
fn dashes_are_found_wherever_they_stand() {
    for at in 0..6000 - 10 {
        let mut body = vec![b'x'; 6000];
        body[at..at + 7].copy_from_slice(b"-------");
        let payload = message("tid12345", "", "1-6000/6000", &body);
        assert_eq!(judge(&payload, b'x'), Err(Content::Dashes), "{at}");
    }
}

/// Nor is an external body.
#[test]
fn external_bodies_are_found_wherever_they_stand() {
    for at in 0..=6000 - 13 {
        let mut body = b"x-".repeat(3000);
        body[at..at + 13].copy_from_slice(b"External-BODY");
        let payload = message("tid12345", "", "1-6000/6000", &body);
        assert_eq!(judge(&payload, b'x'), Err(Content::External), "{at}");
    }
    for len in 900..8000 {
        let payload = message("tid12345", "", &format!("1-{len}/{len}"), &b"x-".repeat(len)[..len]);
        // Of a last piece as short as that nobody can say.
        let last = (payload.len() - "\r\n-------tid12345$\r\n".len()) % WHOLE_MAX as usize;
        if last == 0 || last >= 12 {
            assert_eq!(judge(&payload, b'-'), Ok(()), "{len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// A good message with octets changed.
    #[test]
    fn mutated(len in 900_usize..12_000, tid in "[a-z0-9]{4,32}",
               spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
               before: u8) {
        let mut payload = good(&tid, len);
        let ends = payload.len().min(2 * FRONT as usize);
        for (index, octet) in spoil {
            // Near the beginning or the end, where something is to be spoilt.
            let place = index.index(ends);
            let place = if place < ends / 2 { place } else { payload.len() - 1 - (place - ends / 2) };
            payload[place] = octet;
        }
        if judge(&payload, before).is_ok() {
            agrees(&payload);
        }
    }
}

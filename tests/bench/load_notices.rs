//! What the load must notice: a relay that tampers with messages never yields a measurement.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::{End, Lane, Run};
use crate::{
    crew::{Crew, Sample},
    frame,
};

const URI: &str = "msrp://127.0.0.1:9/sink;tcp";
const SENDER: &str = "msrp://127.0.0.1:9/sender;tcp";

/// Copies from one socket to the other; the frame number 50 goes through `tamper`.
fn carry(mut from: TcpStream, mut to: TcpStream, tamper: impl Fn(&mut Vec<u8>) + Send + 'static) {
    thread::spawn(move || {
        let (mut held, mut piece, mut number) = (Vec::new(), [0; 8192], 0);
        while let Ok(n @ 1..) = from.read(&mut piece) {
            held.extend_from_slice(&piece[..n]);
            while let Some(octets) = frame::parse(&held).unwrap().map(|frame| frame.octets) {
                let mut one: Vec<u8> = held.drain(..octets).collect();
                number += 1;
                if number == 50 {
                    tamper(&mut one);
                }
                if to.write_all(&one).is_err() {
                    return;
                }
            }
        }
    });
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// A run through a relay that tampers with one SEND and with one answer.
fn run(send: fn(&mut Vec<u8>), answer: fn(&mut Vec<u8>)) -> anyhow::Result<Sample> {
    let ((sender, near), (far, sink)) = (pair(), pair());
    carry(near.try_clone()?, far.try_clone()?, send);
    carry(far, near, answer);
    let sender = End { stream: sender, to_path: URI.into(), own: SENDER.into() };
    let sinks = vec![End { stream: sink, to_path: SENDER.into(), own: URI.into() }];
    let mut crew = Crew::new(vec![Lane { sender, sinks }], 1)?;
    let (warm_up, window) = (Duration::ZERO, Duration::from_millis(200));
    crew.run(&Run { lanes: 1, depth: 4, per_second: 0, body: 100, warm_up, window }, &[])
}

fn as_it_is(_: &mut Vec<u8>) {}

fn replace(frame: &mut Vec<u8>, old: &str, new: &str) {
    let text = String::from_utf8(frame.clone()).unwrap();
    assert!(text.contains(old), "{text}");
    *frame = text.replacen(old, new, 1).into_bytes();
}

#[test]
fn an_honest_relay_is_measured() {
    let sample = run(as_it_is, as_it_is).unwrap();
    assert!(sample.transactions > 50 && sample.p50_us > 0.0, "{sample:?}");
    assert!(sample.one_way_p50_us <= sample.p50_us, "{sample:?}");
}

#[test]
fn a_changed_octet_is_noticed() {
    let error = run(|frame| *frame.iter_mut().rev().nth(50).unwrap() ^= 1, as_it_is).unwrap_err();
    assert!(error.to_string().contains("changed on its way"), "{error}");
}

#[test]
fn a_repeated_or_lost_message_is_noticed() {
    let error = run(|frame| frame.extend_from_within(..), as_it_is).unwrap_err();
    assert!(error.to_string().contains("was due"), "{error}");
    let error = run(Vec::clear, as_it_is).unwrap_err();
    assert!(error.to_string().contains("was due"), "{error}");
}

#[test]
fn a_wrong_path_is_noticed() {
    let error = run(
        |frame| replace(frame, "To-Path: msrp://127.0.0.1:9/sink", "To-Path: msrp://127.0.0.1:9/sunk"),
        as_it_is,
    );
    assert!(error.unwrap_err().to_string().contains("To-Path"));
}

#[test]
fn an_aborted_message_is_noticed() {
    let error = run(
        |frame| {
            let flag = frame.len() - 3;
            frame[flag] = b'#'
        },
        as_it_is,
    )
    .unwrap_err();
    assert!(error.to_string().contains("aborted"), "{error}");
}

#[test]
fn a_refusal_or_a_repeated_answer_is_noticed() {
    let error = run(as_it_is, |frame| replace(frame, "200 OK", "413")).unwrap_err();
    assert!(error.to_string().contains("413"), "{error}");
    let error = run(as_it_is, |frame| frame.extend_from_within(..)).unwrap_err();
    assert!(error.to_string().contains("200"), "{error}");
}

//! Both ends write at the same time, several messages ahead, to each other and to devices that answer; with loss,
//! contention and a relay that falls back all the time.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use pf_common::maps::Total;

use super::{
    chat::{Outcome, hogs},
    datapath,
    lab::{self, Lab},
    loss::lossy,
    message::{first, in_block, ok, out_block, send},
    relay::Relay,
};

struct Setting {
    messages: usize,
    devices: usize,
    /// Messages of one end that may be unanswered.
    window: usize,
    restless: bool,
    /// One of so many packets is lost; 0: none.
    loss: i32,
}

/// Messages of peer `n` have numbers of their own.
fn number(n: usize, count: usize) -> usize {
    n * 1_000_000 + count
}

fn size(count: usize) -> usize {
    1 + count * 53 % 900
}

/// Writes what it may, answers what comes, and insists on order and octets.
fn party(n: usize, mut socket: TcpStream, setting: &Setting) {
    let messages = setting.messages;
    // Who sends what this peer gets.
    let from = usize::from(n == 0);
    let sources: &[usize] = match n {
        0 => &[1],
        1 => &[0],
        _ => &[0, 1],
    };
    let sends = if n < 2 { messages } else { 0 };
    let (mut sent, mut answered, mut got) = (0, 0, [0; 2]);
    let mut stream = Vec::new();
    let all = |got: [usize; 2]| sources.iter().all(|source| got[*source] == messages);
    while answered < sends || !all(got) {
        while sent < sends && sent - answered < setting.window {
            socket.write_all(&send(number(n, sent), size(sent), &in_block(n))).unwrap();
            sent += 1;
        }
        let mut octets = [0; 16384];
        let len = socket.read(&mut octets).unwrap_or_else(|error| {
            panic!(
                "peer {n}: {error}: {answered} of {sent} answered, got {got:?}, rest {:?}",
                String::from_utf8_lossy(&stream)
            )
        });
        assert_ne!(len, 0, "peer {n}: closed");
        stream.extend(&octets[..len]);
        while let Some((len, is_send, _)) = first(&stream) {
            let message: Vec<u8> = stream.drain(..len).collect();
            if is_send {
                let source = if n < 2 { from } else { usize::from(message[6] == b'1') };
                let count = got[source];
                let wanted = send(number(source, count), size(count), &out_block(n));
                assert!(
                    message == wanted,
                    "peer {n}: {}\ninstead of\n{}",
                    String::from_utf8_lossy(&message),
                    String::from_utf8_lossy(&wanted)
                );
                got[source] += 1;
                socket.write_all(&ok(number(source, count), &in_block(n))).unwrap();
            } else {
                let wanted = ok(number(n, answered), &out_block(n));
                assert!(
                    message == wanted,
                    "peer {n}: {}\ninstead of\n{}",
                    String::from_utf8_lossy(&message),
                    String::from_utf8_lossy(&wanted)
                );
                answered += 1;
            }
        }
    }
    assert!(stream.is_empty());
    socket.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "peer {n}: {}", String::from_utf8_lossy(&rest));
}

fn duplex(lab: &Lab, setting: &Setting) -> Option<Outcome> {
    let datapath = datapath()?;
    let (peers, ours): (Vec<_>, Vec<_>) = lab.connect(2 + setting.devices).into_iter().unzip();
    let links = Mutex::new(Vec::new());
    if setting.loss != 0 {
        *links.lock().unwrap() = lab.in_peers(|| lossy(lab::OTHER, setting.loss));
    }
    let outcome = thread::scope(|scope| {
        for (n, socket) in peers.into_iter().enumerate() {
            scope.spawn(move || party(n, socket, setting));
        }
        lab.in_relay(move || {
            let begin = Instant::now();
            let mut relay = Relay::new(datapath, ours);
            let mut spells = Instant::now();
            while !relay.round() {
                assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", relay.view());
                if setting.restless {
                    if spells.elapsed() > Duration::from_millis(8) {
                        spells = Instant::now();
                        relay.fall_back();
                    }
                    relay.arms = spells.elapsed() > Duration::from_millis(2);
                }
                thread::sleep(Duration::from_micros(200));
            }
            relay.close();
            Outcome { relay, fast: 0, took: begin.elapsed() }
        })
    });
    Some(outcome)
}

#[test]
fn both_ends_at_once() {
    let setting = Setting { messages: 1500, devices: 1, window: 4, restless: false, loss: 0 };
    let Some(lab) = Lab::new(lab::v4) else { return };
    let Some(outcome) = duplex(&lab, &setting) else { return };
    outcome.tell("duplex");
    assert!(outcome.total(Total::Injected) > 3000);
    assert_eq!(outcome.total(Total::HelperFailed), 0);
}

#[test]
fn both_ends_at_once_on_a_bad_day() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    let setting = Setting { messages: 800, devices: 1, window: 4, restless: true, loss: 300 };
    let Some(outcome) = hogs(|| duplex(&lab, &setting)) else { return };
    outcome.tell("a bad day");
    assert!(outcome.total(Total::Injected) > 300);
    assert_eq!(outcome.total(Total::HelperFailed), 0);
}

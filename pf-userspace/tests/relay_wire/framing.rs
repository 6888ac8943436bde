//! Frames arrive in every shape that TCP can give them.

use std::{thread, time::Duration};

use pf::core::event::LegRole;

use crate::{
    peer::Peer,
    stage::{BOTH, Stage, config},
};

fn pair(stage: &mut Stage) -> (Peer, Peer) {
    stage.open(1, BOTH);
    (stage.passive(1, 1, LegRole::Originator), stage.active(1, 2, LegRole::Far))
}

fn body() -> Vec<u8> {
    let mut body =
        b"text\r\n-------other123$\r\nMSRP fake1234 SEND\r\nTo-Path: x\r\n\r\n-------\r\n".to_vec();
    body.extend(0..=255_u8);
    body.extend_from_slice(b"\0\xff\r\n\r\n-------tid-splitx+\r\n--");
    body
}

// Rows: MED-17, MED-19
#[test]
fn a_frame_split_at_any_octet() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    let body = body();
    let fields = format!("Byte-Range: 1-{0}/{0}\r\n", body.len());
    let length = a.message("tid-0000", &fields, &body, '$').len();
    for at in 1..length {
        let id = format!("tid-{at:04}");
        let wire = a.message(&id, &fields, &body, '$');
        a.write(&wire[..at]);
        // Most first parts are read alone; every eighth certainly is.
        if at % 8 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        a.write(&wire[at..]);
        let frame = f.take();
        assert_eq!((frame.body.as_deref(), frame.flag), (Some(&*body), '$'), "split at {at}");
        let answer = a.frame();
        assert_eq!((&*answer.id, &*answer.start), (&*id, "200 OK"), "split at {at}");
    }
}

// Rows: MED-17
#[test]
fn a_frame_one_octet_at_a_time() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    let body = body();
    for octet in a.message("tid-slow", "Byte-Range: 1-*/*\r\n", &body, '$') {
        a.write([octet]);
    }
    assert_eq!(f.take().body.as_deref(), Some(&*body));
    assert_eq!(a.frame().start, "200 OK");
}

// Rows: MED-17, MED-19
#[test]
fn twenty_frames_in_one_segment() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    let wire: Vec<u8> = (0..20)
        .flat_map(|n| a.message(&format!("tid-{n:04}"), "", format!("no {n}").as_bytes(), '$'))
        .collect();
    a.write(wire);
    for n in 0..20 {
        assert_eq!(f.take().text(), format!("no {n}"));
    }
    for n in 0..20 {
        assert_eq!(a.frame().id, format!("tid-{n:04}"));
    }
}

// Rows: MED-17, MED-19
#[test]
fn more_than_64_kilobytes_of_frames_before_any_answer() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    let bodies: Vec<Vec<u8>> = (0..400_usize).map(|n| vec![n as u8; 700 + 37 * (n % 40)]).collect();
    let wire: Vec<u8> =
        bodies.iter().enumerate().flat_map(|(n, b)| a.message(&format!("tid-{n:04}"), "", b, '$')).collect();
    assert!(wire.len() > 400_000);
    a.write(wire);
    for body in &bodies {
        assert_eq!(f.take().body.as_deref(), Some(&**body));
    }
    for n in 0..bodies.len() {
        assert_eq!(a.frame().id, format!("tid-{n:04}"));
    }
}

// Rows: MED-17
#[test]
fn unusual_ranges_and_headers_pass_as_they_are() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    for (n, fields) in [
        "Byte-Range: 1-*/*\r\n",
        "byte-range: 1-*/5\r\n",
        "Byte-Range: 1-5/*\r\nX-Unknown: caf\u{e9}\tand more\r\nSuccess-Report: yes\r\n",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("tid-{n:04}");
        let wire = a.message(&id, fields, b"hello", '$');
        a.write(&wire);
        let got = f.take().wire;
        // Behind the paths nothing differs.
        let tail = |wire: &[u8]| {
            let at = wire.windows(10).position(|w| w == b"Message-ID").unwrap();
            wire[at..].to_vec()
        };
        assert_eq!(tail(&got), tail(&wire));
        assert_eq!(a.frame().id, id);
    }
    // An empty message is a message; a SEND without body is not.
    a.write(a.message("tid-empty", "Byte-Range: 1-0/0\r\n", b"", '$'));
    assert_eq!(f.take().body.as_deref(), Some(&b""[..]));
    assert_eq!(a.frame().id, "tid-empty");
    a.write(a.bare("tid-bare", "SEND", "Message-ID: m\r\nByte-Range: 1-0/0\r\n"));
    assert_eq!(a.frame().id, "tid-bare");
    f.silent();
}

// Rows: MED-17
#[test]
fn the_first_octets_pass_before_the_last_have_come() {
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    let body = vec![b'x'; 50_000];
    let wire = a.message("tid-0001", "Byte-Range: 1-*/50000\r\n", &body, '$');
    a.write(&wire[..30_000]);
    let mut got = vec![0; 20_000];
    std::io::Read::read_exact(&mut f.stream, &mut got).unwrap();
    assert!(got.starts_with(b"MSRP tid-0001 SEND\r\n"));
    a.write(&wire[30_000..]);
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// Rows: MED-17
#[test]
fn a_frame_of_200_megabytes_in_constant_memory() {
    const PIECE: usize = 1 << 16;
    const PIECES: usize = 3200;
    let mut stage = Stage::new(config());
    let (mut a, mut f) = pair(&mut stage);
    let piece: Vec<u8> = (0..PIECE).map(|n| (n % 251) as u8).collect();
    let wire = a.message("tid-huge", &format!("Byte-Range: 1-*/{}\r\n", PIECE * PIECES), b"", '$');
    let split = wire.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (head, end) = (wire[..split].to_vec(), wire[split..].to_vec());
    let before = resident_kilobytes();
    let expected = piece.clone();
    let reader = thread::spawn(move || {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let mut one = [0];
            std::io::Read::read_exact(&mut f.stream, &mut one).unwrap();
            head.push(one[0]);
        }
        let mut got = vec![0; PIECE];
        let mut most = 0;
        for n in 0..PIECES {
            std::io::Read::read_exact(&mut f.stream, &mut got).unwrap();
            assert!(got == expected, "piece {n}");
            most = most.max(resident_kilobytes());
        }
        (f, most)
    });
    a.write(head);
    for _ in 0..PIECES {
        a.write(&piece);
    }
    a.write(end);
    let (mut f, most) = reader.join().unwrap();
    // Tests run beside each other in this process: far below the 200 MB is what can be asked.
    assert!(most < before + 60_000, "{before} kB before, {most} kB at most");
    f.stream.set_read_timeout(Some(crate::peer::PATIENCE)).unwrap();
    f.write(
        format!(
            "MSRP tid-huge 200 OK\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------tid-huge$\r\n",
            f.relay, f.path
        )
        .as_bytes(),
    );
    assert_eq!(a.frame().start, "200 OK");
}

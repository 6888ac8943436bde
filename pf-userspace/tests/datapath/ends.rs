//! How connections end after the programs have moved their positions.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use pf_common::maps::Total;
use socket2::SockRef;

use super::{
    datapath,
    lab::{self, Lab},
    message::{in_block, ok, out_block, send},
    relay::Relay,
};

/// A relay with a far end and an originator that have exchanged messages, many of them in the kernel.
fn talked(lab: &Lab) -> Option<(Relay, Vec<TcpStream>)> {
    let datapath = datapath()?;
    let (mut peers, ours): (Vec<_>, Vec<_>) = lab.connect(2).into_iter().unzip();
    let mut relay = lab.in_relay(move || Relay::new(datapath, ours));
    talk(lab, &mut relay, &mut peers);
    Some((relay, peers))
}

fn talk(lab: &Lab, relay: &mut Relay, peers: &mut [TcpStream]) {
    let [from, to] = peers else { panic!("two peers") };
    let enough = AtomicBool::new(false);
    let enough = &enough;
    thread::scope(|scope| {
        let talking = scope.spawn(move || {
            let mut numbers = 0..5000;
            while !enough.load(Ordering::Relaxed)
                && let Some(number) = numbers.next()
            {
                from.write_all(&send(number, 30, &in_block(0))).unwrap();
                let mut got = vec![0; send(number, 30, &out_block(1)).len()];
                to.read_exact(&mut got).unwrap();
                to.write_all(&ok(number, &in_block(1))).unwrap();
                let mut got = vec![0; ok(number, &out_block(0)).len()];
                from.read_exact(&mut got).unwrap();
                assert_eq!(got, ok(number, &out_block(0)));
            }
        });
        lab.in_relay(|| {
            while !talking.is_finished() {
                relay.round();
                if injected(relay) > 80 {
                    enough.store(true, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        talking.join().unwrap();
    });
    assert!(injected(relay) > 80);
}

fn injected(relay: &Relay) -> u64 {
    relay.datapath.counts().unwrap().total(Total::Injected)
}

/// What a read gives within two seconds.
fn within_two_seconds(socket: &mut TcpStream) -> std::io::Result<usize> {
    socket.set_nonblocking(true).unwrap();
    let begin = Instant::now();
    loop {
        match socket.read(&mut [0; 10]) {
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && begin.elapsed() < Duration::from_secs(2) =>
            {
                thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

#[test]
fn a_reset_of_the_peer_reaches_the_kernel_socket() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    let Some((mut relay, mut peers)) = talked(&lab) else { return };
    let peer = peers.remove(0);
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let error = within_two_seconds(relay.socket(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_of_the_kernel_socket_reaches_the_peer() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    let Some((mut relay, mut peers)) = talked(&lab) else { return };
    SockRef::from(&relay.socket(0)).set_linger(Some(Duration::ZERO)).unwrap();
    relay.close();
    let error = within_two_seconds(&mut peers[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // The other one was closed politely.
    assert_eq!(within_two_seconds(&mut peers[1]).unwrap(), 0);
}

#[test]
fn the_same_ports_serve_a_new_connection() {
    let Some(lab) = Lab::new(lab::v4) else { return };
    // Whoever closes first keeps the ports in TIME-WAIT.
    for relay_first in [false, true] {
        let Some((mut relay, peers)) = talked(&lab) else { return };
        let (from, to) = (peers[0].local_addr().unwrap(), peers[0].peer_addr().unwrap());
        let listener = lab.in_relay(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&to.into()).unwrap();
            socket.listen(1).unwrap();
            socket
        });
        if relay_first {
            relay.close();
            thread::sleep(Duration::from_millis(50));
            drop(peers);
        } else {
            drop(peers);
            thread::sleep(Duration::from_millis(50));
            relay.close();
        }
        thread::sleep(Duration::from_millis(50));
        let mut peer = lab.in_peers(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&from.into()).unwrap();
            socket.connect_timeout(&to.into(), Duration::from_secs(3)).unwrap();
            TcpStream::from(socket)
        });
        let (ours, _) = listener.accept().unwrap();
        let mut ours = TcpStream::from(ours);
        peer.write_all(b"hello").unwrap();
        let mut octets = [0; 5];
        ours.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"hello");
        ours.write_all(b"hello").unwrap();
        peer.read_exact(&mut octets).unwrap();
        // And it can be registered while the old one still rests.
        use std::os::fd::AsFd;
        thread::sleep(Duration::from_millis(50));
        lab.in_relay(|| relay.datapath.register(ours.as_fd())).unwrap();
    }
}

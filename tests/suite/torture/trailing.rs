//! Octets behind a whole message (RFC 4475 section 3.1.1.8): in a datagram they are noise (RFC 3261 section 18.3), on a
//! stream they are the next message.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    sip::Transport,
    wait::{QUIET, SOON, never, within},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::{Wanted, case, options};

/// A REGISTER without a body, and what looks like an INVITE behind it.
fn two(host: SocketAddr, pf: SocketAddr, transport: Transport) -> Vec<u8> {
    let (register, invite) = (
        "
        REGISTER sip:example.org SIP/2.0
        To: sip:alice@example.org
        From: sip:alice@example.org;tag=one
        Max-Forwards: 8
        I: first.UNIQUE
        Contact: sip:alice@HOST
        CSeq: 8 REGISTER
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Content-Length: 0

        ",
        "
        INVITE sip:joe@example.com SIP/2.0
        t: sip:joe@example.com
        From: sip:caller@example.net;tag=two
        Max-Forwards: 8
        Call-ID: second.UNIQUE
        CSeq: 8 INVITE
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Contact: sip:caller@HOST
        Content-Length: 0

        ",
    );
    let octets = |text| case("", "3.1.1.8", Wanted::Whatever, text).octets(host, pf, transport);
    [octets(register), octets(invite)].concat()
}

/// Which of the messages these answers are for.
fn answered(answers: &str) -> (bool, bool) {
    (answers.contains("first."), answers.contains("second."))
}

#[tokio::test]
async fn what_stands_behind_a_message_is_noise_in_a_datagram_and_the_next_one_on_a_stream() -> Result<()> {
    let scene = Scene::start(SceneOptions { devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
    let mut buffer = vec![0; 65_536];

    let pf = scene.at;
    let socket = UdpSocket::bind(("127.0.0.77", 0)).await?;
    let host = socket.local_addr()?;
    socket.send_to(&two(host, pf, Transport::Udp), pf).await?;
    let (id, alive) = options(host, pf, Transport::Udp);
    socket.send_to(&alive, pf).await?;
    let mut answers = String::new();
    within(SOON, "both answers over UDP", async {
        while !(answers.contains("first.") && answers.contains(&id)) {
            let (length, _) = socket.recv_from(&mut buffer).await?;
            answers.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        Ok(())
    })
    .await?;
    ensure!(answered(&answers) == (true, false), "{answers}");
    ensure!(answers.contains("SIP/2.0 401 "), "the REGISTER is treated as any: {answers}");
    never(QUIET / 2, "an answer to the INVITE", socket.recv_from(&mut buffer)).await?;

    let pf = scene.pf.sip_address(Transport::Tcp, pf.ip())?;
    let mut stream = TcpStream::connect(pf).await?;
    let host = stream.local_addr()?;
    stream.write_all(&two(host, pf, Transport::Tcp)).await?;
    let mut answers = String::new();
    within(SOON, "both answers over TCP", async {
        while answered(&answers) != (true, true) {
            let length = stream.read(&mut buffer).await?;
            ensure!(length > 0, "closed after {answers}");
            answers.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        Ok(())
    })
    .await?;
    let _call = scene.call().await?;
    scene.verify()
}

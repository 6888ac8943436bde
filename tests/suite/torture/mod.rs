//! SIP messages that are hard to read, and some that nobody can, after the catalogue of RFC 4475. Each goes to `pf` over
//! UDP and over TCP; afterwards `pf` answers others as before, over TCP on the same connection where its framing
//! survives.

mod application;
mod invalid;
mod trailing;
mod valid;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use lab::{
    actor::{Scene, SceneOptions},
    sip::Transport,
    wait::{SOON, within},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// What `pf` shall answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// A final response that is none of "I cannot read this" (400, 505) nor "I know no such thing" (500, 501).
    Understood,
    /// One of these.
    Status(&'static [u16]),
    /// Nothing, or anything: there is no right answer.
    Whatever,
}

/// Whether a stream can be read on behind the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// It ends where it says.
    Survives,
    /// Nobody knows where it ends, or the length that it claims is not its own.
    Lost,
}

/// One message. `HOST` is the sender's address, `PF` that of `pf`, `TRANSPORT` what Via says; lines end as they stand
/// here, `LENGTH` is the length of what follows the blank line.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Section of RFC 4475.
    pub(crate) section: &'static str,
    pub(crate) message: Vec<u8>,
    pub(crate) wanted: Wanted,
    pub(crate) framing: Framing,
}

/// A message that keeps its framing.
pub(crate) fn case(name: &'static str, section: &'static str, wanted: Wanted, message: &str) -> Case {
    Case { name, section, message: crlf(message), wanted, framing: Framing::Survives }
}

/// A message that does not.
pub(crate) fn unframed(name: &'static str, section: &'static str, wanted: Wanted, message: &str) -> Case {
    Case { framing: Framing::Lost, ..case(name, section, wanted, message) }
}

/// Lines of the source, without their common margin, with the line ends of SIP.
fn crlf(text: &str) -> Vec<u8> {
    let text = text.trim_start_matches('\n');
    let lines: Vec<&str> =
        text.split('\n').map(|line| line.strip_prefix("        ").unwrap_or(line)).collect();
    lines.join("\r\n").into_bytes()
}

impl Case {
    fn octets(&self, host: SocketAddr, pf: SocketAddr, transport: Transport) -> Vec<u8> {
        let body = self
            .message
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(0, |at| self.message.len() - at - 4);
        let mut octets = self.message.clone();
        let unique = lab::token(8);
        for (mark, value) in [
            ("HOST", host.to_string()),
            ("PF", pf.to_string()),
            ("TRANSPORT", transport.name().to_owned()),
            ("LENGTH", body.to_string()),
            ("UNIQUE", unique),
        ] {
            octets = replace(&octets, mark.as_bytes(), value.as_bytes());
        }
        octets
    }
}

fn replace(text: &[u8], mark: &[u8], value: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(mark.len()).position(|w| w == mark) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(value);
        rest = &rest[at + mark.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// A plain OPTIONS with a Call-ID of its own.
fn options(host: SocketAddr, pf: SocketAddr, transport: Transport) -> (String, Vec<u8>) {
    let id = lab::token(16);
    let name = transport.name();
    let text = format!(
        "OPTIONS sip:{pf} SIP/2.0\r\nVia: SIP/2.0/{name} {host};rport;branch=z9hG4bK{id}\r\nMax-Forwards: 70\r\n\
         From: <sip:probe@{host}>;tag=1\r\nTo: <sip:{pf}>\r\nCall-ID: {id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    (id, text.into_bytes())
}

/// The status of a response; `None` for a request.
fn status(message: &str) -> Option<u16> {
    message.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

fn judge(case: &Case, answers: &[String], over: Transport) -> Result<()> {
    let finals: Vec<u16> = answers.iter().filter_map(|a| status(a)).filter(|code| *code >= 200).collect();
    let what = || format!("{} (section {}) over {}: {answers:#?}", case.name, case.section, over.name());
    match case.wanted {
        Wanted::Understood => {
            ensure!(!finals.is_empty(), "no answer to {}", what());
            ensure!(!finals.iter().any(|code| matches!(code, 400 | 500 | 501 | 505)), "{}", what());
        }
        Wanted::Status(list) => {
            ensure!(finals.iter().any(|code| list.contains(code)), "wanted {list:?} for {}", what());
        }
        Wanted::Whatever => {}
    }
    Ok(())
}

/// Sends it, asks for a sign of life behind it, and gives what came until then.
async fn over_udp(case: &Case, pf: SocketAddr) -> Result<Vec<String>> {
    let socket = UdpSocket::bind(("127.0.0.77", 0)).await?;
    let host = socket.local_addr()?;
    socket.send_to(&case.octets(host, pf, Transport::Udp), pf).await?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; 65_536];
    // The message's own answer may take longer than that to a later OPTIONS.
    let patience = match case.wanted {
        Wanted::Whatever => Duration::from_millis(50),
        Wanted::Understood | Wanted::Status(_) => SOON,
    };
    while !answers.iter().any(|answer: &String| status(answer).is_some_and(|code| code >= 200)) {
        let Ok(got) = tokio::time::timeout(patience, socket.recv_from(&mut buffer)).await else { break };
        answers.push(String::from_utf8_lossy(&buffer[..got?.0]).into_owned());
    }
    let (id, alive) = options(host, pf, Transport::Udp);
    socket.send_to(&alive, pf).await?;
    within(SOON, &format!("OPTIONS over UDP after {}", case.name), async {
        loop {
            let (length, _) = socket.recv_from(&mut buffer).await?;
            if String::from_utf8_lossy(&buffer[..length]).contains(&id) {
                return Ok(());
            }
        }
    })
    .await?;
    Ok(answers)
}

async fn over_tcp(case: &Case, pf: SocketAddr) -> Result<Vec<String>> {
    let mut stream = TcpStream::connect(pf).await?;
    let host = stream.local_addr()?;
    stream.write_all(&case.octets(host, pf, Transport::Tcp)).await?;
    let mut text = String::new();
    let mut buffer = vec![0; 65_536];
    let mut sign = None;
    if case.framing == Framing::Survives {
        let (id, alive) = options(host, pf, Transport::Tcp);
        stream.write_all(&alive).await?;
        sign = Some(id);
    }
    let patience = if sign.is_some() { SOON } else { Duration::from_millis(200) };
    let wanted = match case.wanted {
        Wanted::Whatever => 0,
        Wanted::Understood | Wanted::Status(_) if sign.is_none() => 0,
        Wanted::Understood | Wanted::Status(_) => 1,
    };
    loop {
        let finals =
            text.split("SIP/2.0 ").skip(1).filter(|rest| rest.as_bytes().first().is_some_and(|d| *d >= b'2'));
        let done = sign.as_ref().is_some_and(|id| text.contains(id.as_str())) && finals.count() > wanted;
        if done {
            break;
        }
        match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Err(_) if sign.is_none() => break,
            Err(_) => bail!("{} over TCP: nothing more than {text:?}", case.name),
            Ok(Ok(0) | Err(_)) if sign.is_none() => break,
            Ok(got) => match got? {
                0 => bail!("{} over TCP: closed after {text:?}", case.name),
                length => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
            },
        }
    }
    if sign.is_none() {
        // Another connection is served as ever.
        let mut other = TcpStream::connect(pf).await?;
        let (id, alive) = options(other.local_addr()?, pf, Transport::Tcp);
        other.write_all(&alive).await?;
        within(SOON, &format!("OPTIONS over TCP after {}", case.name), async {
            let length = other.read(&mut buffer).await?;
            ensure!(String::from_utf8_lossy(&buffer[..length]).contains(&id), "another answer");
            Ok(())
        })
        .await?;
    }
    let answers = text.split("SIP/2.0 ").skip(1).map(|rest| format!("SIP/2.0 {rest}"));
    Ok(answers.filter(|answer| sign.as_ref().is_none_or(|id| !answer.contains(id.as_str()))).collect())
}

async fn survives(cases: Vec<Case>) -> Result<()> {
    let mut scene = Scene::start(SceneOptions { devices: vec!["UE-A"], ..SceneOptions::default() }).await?;
    let ip = scene.pf.sip[0].1.ip();
    let (udp, tcp) = (scene.pf.sip_address(Transport::Udp, ip)?, scene.pf.sip_address(Transport::Tcp, ip)?);
    let mut wrong = Vec::new();
    for case in &cases {
        let answers = over_udp(case, udp).await.with_context(|| scene.pf.log())?;
        wrong.extend(judge(case, &answers, Transport::Udp).err());
        let answers = over_tcp(case, tcp).await.with_context(|| scene.pf.log())?;
        if case.framing == Framing::Survives {
            wrong.extend(judge(case, &answers, Transport::Tcp).err());
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    // A user's call is as good as before.
    let _call = scene.call().await?;
    scene.pf.stop()
}

#[tokio::test]
async fn what_is_valid_is_understood() -> Result<()> {
    survives(valid::cases()).await
}

#[tokio::test]
async fn what_is_broken_disturbs_nobody() -> Result<()> {
    survives(invalid::cases()).await
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() -> Result<()> {
    survives(application::cases()).await
}

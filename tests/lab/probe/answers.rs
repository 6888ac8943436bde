//! Checks of what the sender hears.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{Pair, Settings, Target};
use crate::{
    msrp::{Closed, Frame, Head, Kind, Side},
    wait::{QUIET, SOON},
};

/// RFC 4975 lets a sender wait so long for an answer; a little more for the relay's own clock.
const ANSWER: Duration = Duration::from_secs(33);

fn with(frame: Frame, name: &str, value: &str) -> Frame {
    let mut frame = frame;
    let at = frame.head.headers.len().saturating_sub(1);
    frame.head.headers.insert(at, (name.to_owned(), value.to_owned()));
    frame
}

pub(super) async fn no_report(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = with(pair.sender.whole(&b"no answer"[..]), "Failure-Report", "no");
    pair.sender.wire.send(&frame).await?;
    let got = pair.receiver.receive(200, SOON).await?;
    ensure!(got.body == b"no answer"[..], "arrived changed");
    ensure!(got.chunks[0].header("Failure-Report") == Some("no"), "Failure-Report was lost on the way");
    pair.sender.wire.silent(QUIET).await?;
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn partial_report(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = with(pair.sender.whole(&b"errors only"[..]), "Failure-Report", "partial");
    pair.sender.wire.send(&frame).await?;
    pair.receiver.receive(200, SOON).await?;
    pair.sender.wire.silent(QUIET).await?;
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn report_back(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = with(pair.sender.whole(&b"report me"[..]), "Success-Report", "yes");
    pair.sender.wire.send(&frame).await?;
    let got = pair.receiver.receive(200, SOON).await?;
    let id = got.message_id.clone();
    let back = got.chunks[0].header("From-Path").unwrap_or_default();
    let report = Head::request("REPORT", &crate::token(8), back, &pair.receiver.own)
        .with("Message-ID", &id)
        .with("Byte-Range", "1-9/9")
        .with("Status", "000 200 OK");
    pair.receiver.wire.send(&Frame::bodiless(report)).await?;
    let code = pair.sender.answer(&frame, SOON).await?;
    ensure!(code == 200, "answered {code}");
    let report = pair.sender.wire.frame(SOON).await?;
    let head = &report.head;
    ensure!(head.method() == "REPORT", "{} instead of a REPORT", head.summary());
    pair.sender.check(head)?;
    let fields = ["Message-ID", "Byte-Range", "Status"].map(|name| head.header(name));
    ensure!(fields == [Some(id.as_str()), Some("1-9/9"), Some("000 200 OK")], "REPORT says {fields:?}");
    Ok(String::new())
}

/// What a sender can hear of a SEND.
enum Heard {
    Closed,
    Ok,
    Refused(u16),
    Reported(String),
}

/// Hears until there is bad news, or a 200 that settles it (`ok_settles`).
async fn hear(sender: &mut Side, sent: &Frame, ok_settles: bool, limit: Duration) -> Result<Heard> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = match sender.wire.frame(left).await {
            Ok(frame) => frame,
            Err(error) if error.chain().any(|cause| cause.is::<Closed>()) => return Ok(Heard::Closed),
            Err(error) => return Err(error),
        };
        match &frame.head.kind {
            Kind::Response(200, _) if frame.head.tid == sent.head.tid => {
                if ok_settles {
                    return Ok(Heard::Ok);
                }
            }
            Kind::Response(code, _) if frame.head.tid == sent.head.tid => {
                return Ok(Heard::Refused(*code));
            }
            Kind::Request(method) if method == "REPORT" => {
                let status = frame.head.header("Status").unwrap_or_default().to_owned();
                if !status.contains(" 200") {
                    return Ok(Heard::Reported(status));
                }
            }
            _ => bail!("{}, which answers nothing", frame.head.summary()),
        }
    }
}

pub(super) async fn next_hop_413(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let end_to_end = target.end_to_end();
    let mut pair = target.pair().await?;
    let frame = pair.sender.whole(&b"too much"[..]);
    pair.sender.wire.send(&frame).await?;
    pair.receiver.receive(413, SOON).await?;
    match hear(&mut pair.sender, &frame, end_to_end, SOON).await? {
        Heard::Refused(413) => {
            pair.passes(b"after it").await?;
            Ok("as the answer".to_owned())
        }
        Heard::Reported(status) if status.contains("413") => Ok(format!("as a REPORT: {status}")),
        Heard::Refused(code) => bail!("the sender hears {code}"),
        Heard::Reported(status) => bail!("the sender hears {status}"),
        Heard::Ok => bail!("the sender hears 200"),
        Heard::Closed => bail!("the sender's connection is closed"),
    }
}

pub(super) async fn next_hop_gone(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let end_to_end = target.end_to_end();
    let mut pair = target.pair().await?;
    pair.passes(b"all is well").await?;
    // The signalling stays: only the connection is lost.
    let Pair { mut sender, receiver, keep: _keep } = pair;
    drop(receiver);
    let begin = Instant::now();
    let frame = sender.whole(&b"into the void"[..]);
    let heard = match sender.wire.send(&frame).await {
        Ok(()) => hear(&mut sender, &frame, end_to_end, ANSWER).await?,
        Err(_) => Heard::Closed,
    };
    let after = begin.elapsed().as_secs_f64();
    match heard {
        Heard::Refused(code) => Ok(format!("{code} after {after:.1} s")),
        Heard::Reported(status) => Ok(format!("REPORT {status} after {after:.1} s")),
        Heard::Closed => Ok(format!("connection closed after {after:.1} s")),
        Heard::Ok => bail!("the sender hears 200, and the message is lost"),
    }
}

pub(super) async fn bare_status(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = pair.sender.whole(&b"answer me shortly"[..]);
    pair.sender.wire.send(&frame).await?;
    let got = pair.receiver.wire.frame(SOON).await?;
    let answer = got.head.response(200, "", &pair.receiver.own)?;
    pair.receiver.wire.send(&answer).await?;
    let code = pair.sender.answer(&frame, SOON).await?;
    ensure!(code == 200, "answered {code}");
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn stray_response(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    for side in [&mut pair.receiver, &mut pair.sender] {
        let stray = side.request("SEND");
        let mut stray = stray.response(200, "OK", &side.own)?;
        // To-Path is the peer, as if it had asked.
        stray.head.headers[0].1 = side.to.split(' ').next().unwrap_or_default().to_owned();
        side.wire.send(&stray).await?;
    }
    pair.passes(b"after it").await?;
    Ok(String::new())
}

//! Checks of what a relay must refuse.

use anyhow::{Result, bail, ensure};

use super::{NotAsked, Settings, Target};
use crate::{
    msrp::{Closed, Frame, Head, Side, Wire},
    wait::{QUIET, SOON},
};

async fn stranger(target: &dyn Target) -> Result<Wire> {
    Wire::connect("stranger", target.place(), target.address(), target.trace()).await
}

/// What a stranger's frame is answered with; `None` if the connection is closed instead.
async fn refusal(wire: &mut Wire, frame: &Frame) -> Result<Option<u16>> {
    wire.send(frame).await?;
    match wire.frame(SOON).await {
        Ok(answer) => {
            ensure!(answer.head.tid == frame.head.tid, "an answer to something else");
            Ok(Some(answer.head.code()))
        }
        Err(error) if error.chain().any(|cause| cause.is::<Closed>()) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn third_party(target: &mut dyn Target, _: &Settings) -> Result<String> {
    if !target.bound() {
        bail!(NotAsked("the receiver's URI is open to whoever knows it"));
    }
    let mut pair = target.pair().await?;
    pair.passes(b"the session is bound").await?;
    let mut notes = Vec::new();
    let own = format!("msrp://127.0.0.1:9/{};tcp", crate::token(8));
    // With a URI of its own, with the sender's, and as if it were the receiver.
    let attempts = [
        (pair.sender.to.clone(), own),
        (pair.sender.to.clone(), pair.sender.own.clone()),
        (pair.receiver.to.clone(), pair.receiver.own.clone()),
    ];
    for (to, from) in attempts {
        let mut wire = stranger(target).await?;
        let head = Head::request("SEND", &crate::token(8), &to, &from)
            .with("Message-ID", crate::token(8))
            .with("Byte-Range", "1-8/8")
            .with("Content-Type", "text/plain");
        let frame = Frame::with_body(head, &b"intruder"[..], crate::msrp::Flag::End);
        match refusal(&mut wire, &frame).await? {
            Some(code @ (403 | 481 | 506)) => notes.push(code.to_string()),
            None => notes.push("closed".to_owned()),
            Some(code) => bail!("a third party is answered {code}"),
        }
        pair.receiver.wire.silent(QUIET / 4).await?;
        pair.sender.wire.silent(QUIET / 4).await?;
    }
    pair.passes(b"after it").await?;
    Ok(notes.join(", "))
}

pub(super) async fn unknown_session(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let address = target.address();
    let mut wire = stranger(target).await?;
    let to = format!("msrp://{address}/{};tcp", crate::token(12));
    let own = format!("msrp://{}/{};tcp", wire.local()?, crate::token(8));
    let head = Head::request("SEND", &crate::token(8), &to, &own)
        .with("Message-ID", crate::token(8))
        .with("Byte-Range", "1-2/2")
        .with("Content-Type", "text/plain");
    let frame = Frame::with_body(head, &b"hi"[..], crate::msrp::Flag::End);
    match refusal(&mut wire, &frame).await? {
        Some(481) => Ok(String::new()),
        Some(code) => bail!("answered {code}"),
        None => bail!("closed without an answer"),
    }
}

/// `frame` is answered `code`, and the connection and the session live on.
async fn refused(target: &mut dyn Target, code: u16, make: impl Fn(&Side) -> Vec<u8>) -> Result<String> {
    let mut pair = target.pair().await?;
    let octets = make(&pair.sender);
    pair.sender.wire.write(&octets).await?;
    let answer = pair.sender.wire.frame(SOON).await?;
    ensure!(answer.head.code() == code, "answered {}", answer.head.summary());
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn unknown_method(target: &mut dyn Target, _: &Settings) -> Result<String> {
    refused(target, 501, |side| Frame::bodiless(side.request("FROBNICATE")).encode()).await
}

pub(super) async fn malformed(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let faults = ["1-2-3/x", "0-*/5", "18446744073709551616-*/*"];
    for fault in faults {
        refused(target, 400, |side| {
            let head = side.empty_send().with("Byte-Range", fault).with("Content-Type", "text/plain");
            Frame::with_body(head, &b"hello"[..], crate::msrp::Flag::End).encode()
        })
        .await
        .map_err(|error| error.context(format!("Byte-Range: {fault}")))?;
    }
    Ok(String::new())
}

pub(super) async fn no_message_id(target: &mut dyn Target, _: &Settings) -> Result<String> {
    refused(target, 400, |side| {
        let head = side.request("SEND").with("Byte-Range", "1-5/5").with("Content-Type", "text/plain");
        Frame::with_body(head, &b"hello"[..], crate::msrp::Flag::End).encode()
    })
    .await
}

pub(super) async fn garbage(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    for octets in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"MSRP\r\n\r\n\r\n".to_vec(),
        vec![0; 100_000],
        super::pattern(5, 100_000),
        b"MSRP abcd1234 SEND\r\nTo-Path: ".iter().copied().chain(vec![b'a'; 1 << 20]).collect(),
    ] {
        let mut wire = stranger(target).await?;
        // The relay may close while the octets are still being written.
        let _ = wire.write(&octets).await;
        pair.passes(b"undisturbed").await?;
        drop(wire);
    }
    // A connection that ends inside a frame.
    let mut wire = stranger(target).await?;
    wire.write(b"MSRP abcd1234 SEND\r\nTo-Pa").await?;
    drop(wire);
    pair.passes(b"undisturbed").await?;
    Ok(String::new())
}

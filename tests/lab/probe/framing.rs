//! Checks of framing: the stream is cut in every unkind way, the messages must come through.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;

use super::{Pair, Settings, Target, pattern};
use crate::{
    msrp::{Flag, Frame, Got, Side},
    wait::SOON,
};

/// Long enough that the kernel sends what was written as a segment of its own.
const PAUSE: Duration = Duration::from_micros(300);

impl Pair {
    /// One message goes through and is answered 200.
    pub(super) async fn passes(&mut self, body: &[u8]) -> Result<Got> {
        let frame = self.sender.whole(body.to_vec());
        let octets = frame.encode();
        self.passes_as(&frame, &octets, &[]).await
    }

    /// The same with the frame's octets cut at `cuts`.
    async fn passes_as(&mut self, frame: &Frame, octets: &[u8], cuts: &[usize]) -> Result<Got> {
        let Pair { sender, receiver, .. } = self;
        sender.wire.write_cut(octets, cuts, PAUSE).await?;
        let got = receiver.receive(200, SOON).await?;
        same(frame, &got)?;
        let code = sender.answer(frame, SOON).await?;
        ensure!(code == 200, "answered {code}");
        Ok(got)
    }
}

/// Message-ID, octets and Content-Type of a message are what was sent.
fn same(sent: &Frame, got: &Got) -> Result<()> {
    let body = sent.body.clone().unwrap_or_default();
    ensure!(got.body == body, "{} octets arrived changed, {} were sent", got.body.len(), body.len());
    for name in ["Message-ID", "Content-Type"] {
        let (ours, theirs) = (sent.head.header(name), got.chunks[0].header(name));
        ensure!(ours == theirs, "{name} was {ours:?}, arrived as {theirs:?}");
    }
    Ok(())
}

pub(super) async fn whole(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let got = pair.passes(b"hello").await?;
    ensure!(got.flag == Flag::End, "the flag changed");
    pair.passes(b"and again").await?;
    Ok(String::new())
}

pub(super) async fn split(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = pair.sender.whole(&b"cut me\r\n-------anywhere"[..]);
    let length = frame.encode().len();
    for cut in 1..length {
        let frame = pair.sender.whole(&b"cut me\r\n-------anywhere"[..]);
        pair.passes_as(&frame, &frame.encode(), &[cut])
            .await
            .map_err(|error| error.context(format!("cut after octet {cut}")))?;
    }
    let mut cuts: Vec<Vec<usize>> = Vec::new();
    for seed in 0..20 {
        let mut places: Vec<usize> = pattern(seed + 1, 3 + seed as usize)
            .into_iter()
            .map(|octet| 1 + usize::from(octet) * (length - 2) / 255)
            .collect();
        places.sort_unstable();
        places.dedup();
        cuts.push(places);
    }
    for places in &cuts {
        let frame = pair.sender.whole(&b"cut me\r\n-------anywhere"[..]);
        pair.passes_as(&frame, &frame.encode(), places)
            .await
            .map_err(|error| error.context(format!("cut at {places:?}")))?;
    }
    Ok(format!("{} places, {} in several pieces", length - 1, cuts.len()))
}

pub(super) async fn one_octet(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = pair.sender.whole(&b"slowly"[..]);
    let octets = frame.encode();
    let cuts: Vec<usize> = (1..octets.len()).collect();
    pair.passes_as(&frame, &octets, &cuts).await?;
    Ok(format!("{} segments", octets.len()))
}

/// Sends all frames in one write, and meanwhile receives and checks them in order.
async fn burst(pair: &mut Pair, frames: &[Frame]) -> Result<()> {
    let octets: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    let Pair { sender, receiver, .. } = pair;
    let receive = async {
        for (number, frame) in frames.iter().enumerate() {
            let got = receiver.receive(200, SOON).await;
            let got = got.map_err(|error| error.context(format!("message {number}")))?;
            same(frame, &got).map_err(|error| error.context(format!("message {number}")))?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let send = send_and_hear(sender, &octets, frames.len());
    let (_, codes) = tokio::try_join!(receive, send)?;
    for frame in frames {
        let code = codes.iter().find(|(tid, _)| *tid == frame.head.tid).map(|(_, code)| *code);
        ensure!(code == Some(200), "a frame was answered {code:?}");
    }
    Ok(())
}

/// Writes `octets` while it takes `answers` answers.
async fn send_and_hear(sender: &mut Side, octets: &[u8], answers: usize) -> Result<Vec<(String, u16)>> {
    let (mut reader, mut write) = sender.wire.split();
    let write = async {
        tokio::io::AsyncWriteExt::write_all(&mut write, octets).await?;
        Ok::<_, anyhow::Error>(())
    };
    let read = async {
        let mut codes = Vec::new();
        while codes.len() < answers {
            let frame = reader.frame(SOON).await?;
            ensure!(frame.head.code() > 0, "{} instead of an answer", frame.head.summary());
            codes.push((frame.head.tid.clone(), frame.head.code()));
        }
        Ok(codes)
    };
    Ok(tokio::try_join!(write, read)?.1)
}

pub(super) async fn twenty(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frames: Vec<Frame> = (0..20).map(|n| pair.sender.whole(format!("frame {n}"))).collect();
    burst(&mut pair, &frames).await?;
    Ok(String::new())
}

pub(super) async fn pipeline(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frames: Vec<Frame> = (0..600).map(|n| pair.sender.whole(pattern(n, 1_000))).collect();
    let octets: usize = frames.iter().map(|frame| frame.encode().len()).sum();
    burst(&mut pair, &frames).await?;
    Ok(format!("{} frames, {} KB", frames.len(), octets / 1_000))
}

pub(super) async fn look_alike(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let mut frame = pair.sender.whole(Bytes::new());
    let tid = frame.head.tid.clone();
    let mut body = b"-------other$\r\n-------other$\r\n\r\nMSRP abcd SEND\r\n".to_vec();
    // The frame's own end-line but for its last octet, and then nearly its first ones.
    body.extend_from_slice(format!("\r\n-------{}", &tid[..tid.len() - 1]).as_bytes());
    body.extend_from_slice(format!("\r\n------{tid}$\r\n").as_bytes());
    body.extend(0..=255_u8);
    body.extend_from_slice(b"\r\n-------");
    frame.body = Some(body.clone().into());
    let total = body.len();
    for (name, value) in &mut frame.head.headers {
        if name == "Byte-Range" {
            *value = format!("1-{total}/{total}");
        }
    }
    let octets = frame.encode();
    pair.passes_as(&frame, &octets, &[]).await?;
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn chunks(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let body = pattern(1, 9_000);
    let frames = cut(&pair.sender, &body, 3_000, Some(body.len()), Flag::End);
    let codes = send_chunks(&mut pair, &frames, &body, Flag::End).await?;
    ensure!(codes.iter().all(|code| *code == 200), "answered {codes:?}");
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn abandoned(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let body = pattern(2, 6_000);
    let frames = cut(&pair.sender, &body, 3_000, Some(9_000), Flag::Abort);
    send_chunks(&mut pair, &frames, &body, Flag::Abort).await?;
    pair.passes(b"after it").await?;
    Ok(String::new())
}

pub(super) async fn unknown_total(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let body = pattern(3, 5_000);
    let frames = cut(&pair.sender, &body, 2_500, None, Flag::End);
    let codes = send_chunks(&mut pair, &frames, &body, Flag::End).await?;
    ensure!(codes.iter().all(|code| *code == 200), "answered {codes:?}");
    Ok(String::new())
}

/// The chunks of `body`, the last one with flag `last`.
fn cut(sender: &Side, body: &[u8], size: usize, total: Option<usize>, last: Flag) -> Vec<Frame> {
    let id = crate::token(8);
    let total = total.map_or("*".to_owned(), |total| total.to_string());
    let count = body.chunks(size).count();
    body.chunks(size)
        .enumerate()
        .map(|(number, piece)| {
            let head = sender
                .request("SEND")
                .with("Message-ID", &id)
                .with("Byte-Range", format!("{}-*/{total}", number * size + 1))
                .with("Content-Type", "text/plain");
            let flag = if number + 1 == count { last } else { Flag::More };
            Frame::with_body(head, piece.to_vec(), flag)
        })
        .collect()
}

async fn send_chunks(pair: &mut Pair, frames: &[Frame], body: &[u8], flag: Flag) -> Result<Vec<u16>> {
    let octets: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    let Pair { sender, receiver, .. } = pair;
    let receive = async {
        let got = receiver.receive(200, SOON).await?;
        ensure!(got.body == *body, "{} octets arrived, {} were sent", got.body.len(), body.len());
        ensure!(got.flag == flag, "the flag arrived as {:?}", got.flag);
        Ok(())
    };
    let ((), codes) = tokio::try_join!(receive, send_and_hear(sender, &octets, frames.len()))?;
    Ok(codes.into_iter().map(|(_, code)| code).collect())
}

pub(super) async fn empty(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let frame = Frame::bodiless(pair.sender.empty_send().with("Byte-Range", "1-0/0"));
    pair.sender.wire.send(&frame).await?;
    // The relay may pass it on (then it must be answered there) or answer itself.
    let Pair { sender, receiver, .. } = &mut pair;
    let passed_on = async {
        let got = receiver.receive(200, SOON).await?;
        ensure!(got.body.is_empty(), "an empty SEND arrived with a body");
        Ok::<_, anyhow::Error>(())
    };
    let note = tokio::select! {
        biased;
        code = sender.answer(&frame, SOON) => {
            ensure!(code? == 200, "not answered 200");
            "answered by the relay"
        }
        outcome = passed_on => {
            outcome?;
            let code = sender.answer(&frame, SOON).await?;
            ensure!(code == 200, "answered {code}");
            "passed on"
        }
    };
    let after = pair.sender.whole(&b"after it"[..]);
    pair.sender.wire.send(&after).await?;
    let mut got = pair.receiver.receive(200, SOON).await?;
    if got.body.is_empty() {
        got = pair.receiver.receive(200, SOON).await?;
    }
    same(&after, &got)?;
    Ok(note.to_owned())
}

pub(super) async fn extension(target: &mut dyn Target, _: &Settings) -> Result<String> {
    let mut pair = target.pair().await?;
    let mut frame = pair.sender.whole(&b"extended"[..]);
    frame.head.headers.insert(2, ("X-Lab-Extension".to_owned(), "\"a: b\"; c=\u{e9}".to_owned()));
    let octets = frame.encode();
    let got = pair.passes_as(&frame, &octets, &[]).await?;
    let kept = got.chunks[0].header("X-Lab-Extension").is_some();
    Ok(if kept { "passed on" } else { "dropped" }.to_owned())
}

//! Sessions of several streams: a device that offers them, and interworking functions that accept some of them each,
//! behind an Interworking Selection Function that forks.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Calling, Invited, Party, Session};
use crate::{
    msrp::{Endpoint, Media, Negotiated, Role},
    sip::{Dialog, MediaLine, Message, Sdp, SdpOptions},
};

/// An established session with an endpoint for each m-line; `None` where the line is rejected.
pub type Streams = Session<Vec<Option<Endpoint>>>;

/// An INVITE with several streams that waits for its answer.
pub struct CallingStreams {
    /// The INVITE, with the first stream.
    pub calling: Calling,
    /// The media of the other streams.
    more: Vec<Media>,
}

/// A session description with these streams in its m-lines, in order; `None` is a rejected line.
pub fn description(version: u32, media: &[Option<&Media>], setup: &str) -> Result<Vec<u8>> {
    let first = media.iter().flatten().next().context("no stream at all")?;
    let (at, id) = (first.at, u32::from_str_radix(&crate::token(4), 16)?);
    let mut text =
        format!("v=0\r\no=- {id} {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n", ip = at.ip());
    for line in media {
        match line {
            None => text.push_str("m=message 0 TCP/MSRP *\r\n"),
            Some(media) => text.push_str(&section(&media.sdp(&SdpOptions::setup(setup)))?),
        }
    }
    Ok(text.into_bytes())
}

/// The m-line of a description and what belongs to it.
fn section(sdp: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(sdp)?;
    Ok(text[text.find("m=").context("no m-line")?..].to_owned())
}

/// The endpoint of one m-line; `None` where the peer rejects it.
pub fn endpoint(media: Media, setup: &str, peer: &MediaLine, we_offered: bool) -> Result<Option<Endpoint>> {
    if peer.port == 0 {
        return Ok(None);
    }
    let role = Role::of(Some(setup), peer.attribute("setup"), we_offered)?;
    Ok(Some(Negotiated::new(media, role, peer)?.start()))
}

impl Party {
    /// A fresh MSRP path of this party.
    pub fn media(&self) -> Result<Media> {
        Media::new(&self.name, &self.place, &self.trace)
    }

    /// Invites `target` to a session of `count` streams, all `setup:active`; `edit` has the last word.
    pub async fn invite_streams(
        &self,
        target: &str,
        count: usize,
        edit: impl FnOnce(&mut Message),
    ) -> Result<CallingStreams> {
        let more = (1..count).map(|_| self.media()).collect::<Result<Vec<Media>>>()?;
        let mut sdp = SdpOptions::setup("active");
        for media in &more {
            let section = section(&media.sdp(&SdpOptions::setup("active")))?;
            sdp.extra.extend(section.lines().map(str::to_owned));
        }
        Ok(CallingStreams { calling: self.invite_with(target, &sdp, edit).await?, more })
    }
}

impl CallingStreams {
    /// Waits for the 200, acknowledges it and starts an endpoint for each accepted stream.
    pub async fn answered(mut self, limit: Duration) -> Result<Streams> {
        let answer = self.calling.last(limit).await?;
        ensure!(answer.code() == 200, "the INVITE was refused: {}", answer.summary());
        let Calling { tx, party, media, requests, .. } = self.calling;
        let invite = tx.request;
        let dialog = Dialog::caller(&party.agent, &invite, &answer, requests)?;
        dialog.ack(invite.cseq(), None).await?;
        let peer_sdp = Sdp::parse(&answer.body).context("SDP answer")?;
        ensure!(peer_sdp.media.len() == 1 + self.more.len(), "as many m-lines as offered");
        let all = std::iter::once(media).chain(self.more).zip(&peer_sdp.media);
        let media = all.map(|(media, line)| endpoint(media, "active", line, true)).collect::<Result<_>>()?;
        Ok(Session { dialog, media, invite, answer, peer_sdp, party })
    }
}

impl Invited {
    /// Accepts these of the offered streams for an IWF behind this ISF: a fork with a To tag of its own, a Contact of
    /// the IWF, and its media.
    pub async fn accept_for(&self, iwf: &Party, streams: &[usize], setup: &str) -> Result<Streams> {
        let peer_sdp = self.offer()?;
        let fork = self.request.fork(&iwf.agent);
        let mut media = Vec::new();
        for number in 0..peer_sdp.media.len() {
            media.push(streams.contains(&number).then(|| iwf.media()).transpose()?);
        }
        let mut answer = fork
            .reply(200, "OK")
            .with("Contact", iwf.contact())
            .with("Server", iwf.product.clone())
            .with("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS")
            .with("Supported", "timer");
        if let Some(expires) = fork.message.header("Session-Expires") {
            answer = answer.with("Session-Expires", expires);
        }
        let lines: Vec<Option<&Media>> = media.iter().map(Option::as_ref).collect();
        answer.set_body("application/sdp", description(1, &lines, setup)?);
        let dialog = Dialog::callee(&iwf.agent, &fork)?;
        fork.respond(answer.clone()).await?;
        let mut endpoints = Vec::new();
        for (media, line) in media.into_iter().zip(&peer_sdp.media) {
            endpoints.push(match media {
                Some(media) => endpoint(media, setup, line, false)?,
                None => None,
            });
        }
        let invite = fork.message.clone();
        Ok(Session { dialog, media: endpoints, invite, answer, peer_sdp, party: iwf.clone() })
    }
}

impl Streams {
    /// The endpoint of an m-line that must be there.
    pub fn stream(&mut self, number: usize) -> Result<&mut Endpoint> {
        match self.media.get_mut(number) {
            Some(Some(endpoint)) => Ok(endpoint),
            _ => bail!("{} has no stream {number}", self.party.name),
        }
    }
}

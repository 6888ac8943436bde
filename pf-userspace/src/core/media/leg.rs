//! Streams and their legs.

use std::{collections::VecDeque, net::SocketAddr};

use pf_common::msrp::Uri;

use super::{
    ConnId, LegId, LegState, accept::Accepted, connection::Connection, intercept::Interception,
    late::Backlog, record::Recording,
};
use crate::core::{
    event::{LegCounters, LegDown, LegKey, LegRole, RemoteLeg, StreamKey, StreamPolicy},
    time::Time,
};

/// One MSRP m-line of one session.
#[derive(Debug)]
pub struct Stream {
    pub(super) policy: StreamPolicy,
    pub(super) originator: Option<LegId>,
    pub(super) far: Option<LegId>,
    /// In the order they were opened.
    pub(super) devices: Vec<LegId>,
    /// Why the leg is gone, for what its senders hear.
    pub(super) originator_gone: Option<Gone>,
    pub(super) far_gone: Option<Gone>,
    /// Messages of which more chunks may come, oldest first.
    pub(super) chunked: VecDeque<Chunked>,
    /// Connections that wait for a primary leg.
    pub(super) waiters: Vec<ConnId>,
    /// What is kept for devices that are not up yet.
    pub(super) backlog: Backlog,
    /// The far end is answered here, for a client that is lost.
    pub(super) interception: Option<Box<Interception>>,
    /// What is said is recorded.
    pub(super) recording: Option<Box<Recording>>,
    /// The originator has said something before there was a leg of the far end.
    pub(super) far_wanted: bool,
}

/// Why a primary leg is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Closed,
    Down(LegDown),
}

/// A message that comes in chunks.
#[derive(Debug)]
pub(super) struct Chunked {
    pub(super) from: LegId,
    pub(super) message_id: Vec<u8>,
    /// The legs that got its first chunk, the primary among them.
    pub(super) legs: Vec<LegId>,
    pub(super) touched: Time,
}

/// One MSRP leg.
#[derive(Debug)]
pub struct Leg {
    pub(super) key: LegKey,
    pub(super) stream: super::StreamId,
    pub(super) stream_key: StreamKey,
    pub(super) role: LegRole,
    /// Our path URI.
    pub(super) local: String,
    pub(super) remote: Option<RemoteLeg>,
    /// To-Path and From-Path of all requests we send, with CRLFs; empty while the peer's side is unknown.
    pub(super) request_lines: Vec<u8>,
    /// Leftmost URI of the From-Path in the peer's last request.
    pub(super) sender: Vec<u8>,
    /// To-Path and From-Path of the responses we send to it, with CRLFs.
    pub(super) response_lines: Vec<u8>,
    pub(super) conn: Option<ConnId>,
    /// The peer's side has changed: its next connection takes the place of the present one.
    pub(super) rebind: bool,
    /// Since when a connection is awaited.
    pub(super) waiting: Time,
    pub(super) counters: LegCounters,
    /// It accepts every type and size.
    pub(super) accepts_all: bool,
    /// The types of the last message that it accepted.
    pub(super) accepted: Accepted,
    /// Path lines of the peer's last frame.
    pub(super) block: Option<Vec<u8>>,
    /// How often these changed.
    pub(super) relearned: u8,
    /// SENDs that the kernel programs carried.
    pub(super) kernel: super::KernelCounters,
    /// Since when copies of the kernel programs wait for an answer of the device.
    pub(super) asked: Option<Time>,
}

impl Leg {
    pub(super) fn session(&self) -> &[u8] {
        Uri::parse(self.local.as_bytes()).map_or(&[], |uri| uri.session)
    }

    /// Our own address in this leg's path.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        let uri = Uri::parse(self.local.as_bytes()).ok()?;
        let host = std::str::from_utf8(uri.host).ok()?.parse().ok()?;
        Some(SocketAddr::new(host, uri.port?))
    }

    pub(super) fn state(&self, conn: Option<&Connection>) -> LegState {
        match (conn, &self.remote) {
            (Some(conn), _) if conn.up => LegState::Up,
            (Some(_), _) => LegState::Connecting,
            (None, Some(_)) => LegState::Waiting,
            (None, None) => LegState::Opened,
        }
    }

    /// The sender of a request is `uri`: its responses go there.
    pub(super) fn answer_to(&mut self, uri: &[u8]) {
        if self.sender == uri {
            return;
        }
        self.sender.clear();
        self.sender.extend_from_slice(uri);
        path_lines(&mut self.response_lines, uri, self.local.as_bytes());
    }
}

/// Writes To-Path and From-Path lines.
pub(super) fn path_lines(out: &mut Vec<u8>, to: &[u8], from: &[u8]) {
    out.clear();
    out.reserve(to.len() + from.len() + 24);
    out.extend_from_slice(b"To-Path: ");
    out.extend_from_slice(to);
    out.extend_from_slice(b"\r\nFrom-Path: ");
    out.extend_from_slice(from);
    out.extend_from_slice(b"\r\n");
}

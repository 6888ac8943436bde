//! ACKs for 2xx: a transaction of their own, found by dialog and CSeq (RFC 3261 section 13.2.2.4).

use super::{Engine, tag_of};
use crate::core::{
    event::{ServerTx, SipEvent},
    sip::{Headers, Request},
};

/// A dialog and the number of its INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AckKey {
    call_id: Box<str>,
    from_tag: Box<str>,
    to_tag: Box<str>,
    cseq: u32,
}

impl AckKey {
    /// From the headers of the 2xx or of its ACK.
    pub(super) fn of(headers: &Headers) -> AckKey {
        let cseq = headers.get("CSeq").and_then(|v| v.split_ascii_whitespace().next()?.parse().ok());
        AckKey {
            call_id: headers.get("Call-ID").unwrap_or_default().into(),
            from_tag: tag_of(headers.get("From")),
            to_tag: tag_of(headers.get("To")),
            cseq: cseq.unwrap_or_default(),
        }
    }
}

impl Engine {
    /// An ACK that is not for a final response other than 2xx. A repeated one is absorbed.
    pub(super) fn ack_for_success(&mut self, request: Request) {
        let key = AckKey::of(&request.headers);
        let tx: Option<ServerTx> = self.acks.get(&key).copied();
        if let Some(server) = tx.and_then(|tx| self.servers.get_mut(&tx)) {
            let Some(success) = server.successes.iter_mut().find(|s| s.key == key) else { return };
            if std::mem::replace(&mut success.acked, true) {
                self.counters.retransmissions_in.add();
                return;
            }
            self.events.push(SipEvent::Ack { tx, request });
            if let Some(tx) = tx {
                self.server_acked(tx);
            }
        } else if *key.to_tag != *self.stateless_tag {
            self.events.push(SipEvent::Ack { tx: None, request });
        }
    }
}

//! ACKs for 2xx, from peers and for peers: a transaction of their own, found by dialog and CSeq (RFC 3261 section 13.2.2.4).

use super::{
    Engine, Route, Way,
    client::{MAX_FORKS, State, StoredAck, via},
    tag_of,
};
use crate::{
    core::{
        event::{ClientTx, Peer, ServerTx, SipEvent},
        sip::{Headers, Request},
    },
    sip::write,
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
    pub(super) fn ack_for_success(&mut self, request: Request, from: Peer) {
        let key = AckKey::of(&request.headers);
        let tx: Option<ServerTx> = self.acks.get(&key).copied();
        if let Some(server) = tx.and_then(|tx| self.servers.get_mut(&tx)) {
            let Some(success) = server.successes.iter_mut().find(|s| s.key == key) else { return };
            if std::mem::replace(&mut success.acked, true) {
                self.counters.retransmissions_in.add();
                return;
            }
            self.events.push(SipEvent::Ack { tx, from, request });
            if let Some(tx) = tx {
                self.server_acked(tx);
            }
        } else if *key.to_tag != *self.stateless_tag {
            self.events.push(SipEvent::Ack { tx: None, from, request });
        }
    }

    /// The core acknowledges a 2xx: at once, and again whenever that 2xx comes again.
    pub(crate) fn acknowledge(&mut self, tx: ClientTx, request: &Request, routes: &[Route]) {
        let open = |route: &Route| Some((*route, self.network.open(route).ok()?));
        let Some((route, mut opened)) = routes.iter().find_map(open) else {
            return self.counters.unreachable.add();
        };
        // The same ACK may be wanted when the connection is gone: then it goes over a new one.
        if let (Way::Flow { back, .. }, Route::To(_, to)) = (&mut opened.way, route) {
            *back = Some(to);
        }
        let branch = format!("z9hG4bK{}a", self.random.hex(8));
        let octets = write::request(request, &via(&opened, &branch));
        if let Some(client) = self.client_txs.get(&tx).and_then(|id| self.clients.get_mut(id))
            && client.state == State::Accepted
        {
            let to_tag = tag_of(request.headers.get("To"));
            client.acks.retain(|a| a.to_tag != to_tag);
            if client.acks.len() < MAX_FORKS {
                client.acks.push(StoredAck { to_tag, way: opened.way, octets: octets.clone() });
            }
        }
        self.send(opened.way, octets, None);
    }
}

//! The CANCEL of an INVITE (RFC 3261 section 9.1): a client transaction of its own over the INVITE's way.

use std::time::Instant;

use super::{
    Engine, Owner,
    client::{Cancel, Client, ClientId, State},
};
use crate::{
    core::{
        event::ClientTx,
        sip::{Headers, Method, Request},
    },
    sip::write,
};

impl Engine {
    /// The core wants an INVITE cancelled.
    pub(crate) fn cancel(&mut self, now: Instant, tx: ClientTx, reason: Option<String>) {
        let Some((id, client)) =
            self.client_txs.get(&tx).and_then(|id| Some((*id, self.clients.get_mut(id)?)))
        else {
            return;
        };
        let pending = matches!(client.state, State::Resolving | State::Calling | State::Proceeding);
        if client.method == Method::Invite && pending && matches!(client.cancel, Cancel::No) {
            client.cancel = Cancel::Wanted(reason);
            self.cancel_now(now, id);
        }
    }

    /// Sends the CANCEL if it is wanted and allowed: over the INVITE's way, with its Via.
    pub(super) fn cancel_now(&mut self, now: Instant, invite: ClientId) {
        let Some(client) = self.clients.get_mut(&invite) else { return };
        let (State::Proceeding, Some(way), Cancel::Wanted(reason)) =
            (client.state, client.way, &mut client.cancel)
        else {
            return;
        };
        let reason = reason.take();
        client.cancel = Cancel::Sent;
        // No final response for 64*T1 after this: it is over (RFC 3261 section 9.1).
        client.deadlines.end = Some(now + self.settings.t64());
        self.timers.arm(Owner::Client(invite), &mut client.deadlines);
        let request = client.make(Method::Cancel, None, reason);
        let (via, branch) = (client.via.clone(), client.branch.clone());
        let octets = write::request(&request, &via);
        self.next += 1;
        let id = ClientId(self.next);
        let mut cancel = Client::new(None, request, self.settings.t1);
        cancel.state = State::Calling;
        cancel.way = Some(way);
        cancel.branch = branch.clone();
        cancel.via = via;
        cancel.octets = octets.clone();
        cancel.deadlines.again = (!way.is_reliable()).then(|| now + self.settings.t1);
        cancel.deadlines.end = Some(now + self.settings.t64());
        self.timers.arm(Owner::Client(id), &mut cancel.deadlines);
        self.branches.insert((branch, true), id);
        self.clients.insert(id, cancel);
        self.wait_on(way, id);
        self.send(way, octets, Some(id));
    }
}

impl Client {
    /// An ACK (RFC 3261 section 17.1.1.3) or CANCEL (section 9.1) that belongs to this INVITE.
    pub(super) fn make(&self, method: Method, to: Option<&str>, reason: Option<String>) -> Request {
        let mut request = Request::new(method, self.request.uri.clone());
        let mut headers = Headers::default();
        headers.copy(&self.request.headers, "Route");
        headers.push("Max-Forwards", "70");
        headers.copy(&self.request.headers, "From");
        match to {
            Some(to) => headers.push("To", to),
            None => headers.copy(&self.request.headers, "To"),
        }
        headers.copy(&self.request.headers, "Call-ID");
        headers.push("CSeq", format!("{} {method}", self.request.cseq().unwrap_or_default()));
        if let Some(reason) = reason {
            headers.push("Reason", reason);
        }
        request.headers = headers;
        request
    }
}

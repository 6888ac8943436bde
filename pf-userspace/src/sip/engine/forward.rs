//! What a proxy passes on (RFC 3261 section 16 with RFC 6026): requests, responses and ACKs that are not ours. Their
//! transactions are ours, but a 2xx to an INVITE and its ACK belong to the two ends, who repeat them.

use std::time::Instant;

use super::{
    Engine, Owner, Route, Way,
    client::{ClientId, via},
    server::State,
};
use crate::{
    core::{
        event::{ClientTx, Recorded, ServerTx},
        sip::{Headers, Request, Response},
    },
    sip::write,
};

/// What a request that is passed on has beyond one of our own.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    /// The end of our branch, by which a loop is known.
    pub(crate) mark: Box<str>,
    /// Our Record-Routes, where they depend on how it goes.
    pub(crate) recorded: Option<Recorded>,
}

impl Engine {
    /// As [`Engine::start`], for a request that is passed on.
    pub(crate) fn start_forwarded(
        &mut self,
        now: Instant,
        tx: ClientTx,
        request: Request,
        forwarded: Forwarded,
    ) -> ClientId {
        let id = self.start(now, tx, request);
        if let Some(client) = self.clients.get_mut(&id) {
            client.forwarded = Some(forwarded);
        }
        id
    }

    /// Passes on the ACK of a 2xx, once.
    pub(crate) fn forward_ack(&mut self, request: &Request, routes: &[Route], mark: &str) {
        let open = |route: &Route| Some((*route, self.network.open(route).ok()?));
        let Some((route, mut opened)) = routes.iter().find_map(open) else {
            return self.counters.unreachable.add();
        };
        if let (Way::Flow { back, .. }, Route::To(_, to)) = (&mut opened.way, route) {
            *back = Some(to);
        }
        let branch = format!("z9hG4bK{}a.{mark}", self.random.hex(8));
        self.send(opened.way, write::request(request, &via(&opened, &branch)), None);
    }

    /// Passes on a response as it stands.
    pub(crate) fn forward(&mut self, now: Instant, tx: ServerTx, response: Response) {
        let Some(server) = self.servers.get_mut(&tx) else {
            return self.counters.late_responses.add();
        };
        let pending = matches!(server.state, State::Trying | State::Proceeding);
        let success = server.invite && response.is_success();
        if !pending && !success {
            return self.counters.late_responses.add();
        }
        let octets = write::response(&response);
        let way = server.reply;
        match (server.invite, response.status) {
            (_, 100..=199) => {
                server.state = State::Proceeding;
                server.progress = true;
                server.deadlines.again = None;
                if server.invite {
                    // The far end may ring as long as it says so: timer C bounds it, which is the core's.
                    server.deadlines.end = Some(now + self.settings.invite_timeout);
                }
                server.last = Some(octets.clone());
            }
            (true, 200..=299) => {
                if pending {
                    server.state = State::Accepted;
                    server.last = None;
                    server.deadlines.again = None;
                    server.deadlines.end = Some(now + self.settings.t64());
                }
            }
            _ => return self.last_response(now, tx, octets),
        }
        self.timers.arm(Owner::Server(tx), &mut server.deadlines);
        if matches!(server.state, State::Accepted) {
            server.stamp = Headers::default();
        }
        self.send(way, octets, None);
    }
}

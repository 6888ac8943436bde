//! Which leg a request belongs to, and which connection a leg (RFC 4975 sections 5.4 and 7.3).

use std::net::SocketAddr;

use pf_common::msrp::Uri;

use super::{ConnId, LegId, Switch, connection::Connection};
use crate::core::{event::MediaEvent, time::Time};

const NO_SESSION: &[u8] = b"481 No such session";

impl Switch {
    /// A connection was accepted.
    pub fn accepted(&mut self, now: Time, peer: Option<SocketAddr>) -> ConnId {
        self.alarm_at(now + self.limits.unbound);
        self.conns.insert(Connection::new(now, peer, None))
    }

    /// The leg that a request with this To-Path belongs to; binds the connection to it if it is its first.
    ///
    /// # Errors
    /// The status to answer: 481 for no session of ours, 506 for a session on another connection.
    pub(super) fn match_leg(
        &mut self,
        now: Time,
        id: ConnId,
        to_path: &[u8],
    ) -> Result<LegId, &'static [u8]> {
        let last = self.conns.get(id).and_then(|c| c.last);
        if let Some((last, leg)) = last.and_then(|last| Some((last, self.legs.get(last)?)))
            && leg.local.as_bytes() == to_path
        {
            return Ok(last);
        }
        // A path of several URIs names the first of them no better: we are no relay.
        let uri = Uri::parse(to_path).map_err(|_| NO_SESSION)?;
        let found = self.sessions.get(uri.session).copied();
        let (leg_id, leg) = found.and_then(|id| Some((id, self.legs.get_mut(id)?))).ok_or(NO_SESSION)?;
        let local = Uri::parse(leg.local.as_bytes()).map_err(|_| NO_SESSION)?;
        let legacy = leg.remote.as_ref().is_some_and(|remote| remote.legacy_matching);
        let fits = if legacy { local.secure == uri.secure } else { local.same(&uri) };
        if !fits {
            return Err(NO_SESSION);
        }
        match leg.conn {
            Some(bound) if bound == id => {}
            Some(bound) if leg.rebind => {
                self.unbind(now, leg_id, bound);
                self.bind(now, leg_id, id);
            }
            Some(_) => return Err(b"506 Session on another connection"),
            None => self.bind(now, leg_id, id),
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.last = Some(leg_id);
        }
        Ok(leg_id)
    }

    /// The connection carries this leg from now on.
    pub(super) fn bind(&mut self, now: Time, leg_id: LegId, id: ConnId) {
        let (Some(leg), Some(conn)) = (self.legs.get_mut(leg_id), self.conns.get_mut(id)) else { return };
        leg.conn = Some(id);
        leg.rebind = false;
        conn.legs.push(leg_id);
        let up = conn.up;
        self.plans_changed(id);
        if up {
            self.leg_up(now, leg_id);
        }
    }

    /// The leg has a bound connection: says so, and lets those go on that waited for it.
    pub(super) fn leg_up(&mut self, _now: Time, leg_id: LegId) {
        let Some(leg) = self.legs.get(leg_id) else { return };
        let (key, stream) = (leg.key, leg.stream);
        self.arrived.push(leg_id);
        self.plan_changed(stream);
        self.actions.push_back(super::Action::Event(MediaEvent::LegUp { leg: key }));
        self.wake_stream(stream);
    }

    pub(super) fn wake_stream(&mut self, stream: super::StreamId) {
        if let Some(stream) = self.streams.get_mut(stream) {
            for id in std::mem::take(&mut stream.waiters) {
                self.wake(id);
            }
        }
    }
}

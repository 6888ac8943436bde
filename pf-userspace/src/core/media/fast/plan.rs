//! The plan of a stream: what the programs shall do with the messages of each connection.

use pf_common::{msrp::Uri, splice::MAX_LEGS};

use super::Why;
use crate::core::{
    event::LegRole,
    media::{
        ConnId, LegId, StreamId, Switch,
        accept::{accepts_cpim, covers},
        leg::{Leg, Stream, path_lines},
    },
};

/// The longest pair of path lines, in octets with CRLFs, that the programs write.
pub const BLOCK_MAX: usize = 384;

/// The longest message, head and end-line included, that the programs carry whatever the paths are: no smaller
/// `max-size` can be kept to.
pub const MESSAGE_MAX: u64 = 2048;

/// The longest one that they carry where all path lines are of one length.
pub const LONG_MAX: u64 = 16_384;

/// One stream, ready for the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Originator, far end, devices in the order of their invitation.
    pub legs: Vec<PlannedLeg>,
}

/// One leg of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLeg {
    /// The leg.
    pub leg: LegId,
    /// Its connection, which carries no other leg.
    pub conn: ConnId,
    /// Our session-id.
    pub session: Vec<u8>,
    /// Path lines as the peer writes them.
    pub in_block: Vec<u8>,
    /// Path lines of all that we send to it.
    pub out_block: Vec<u8>,
    /// Its messages may have any type; else only `message/cpim`, whatever is wrapped.
    pub any_type: bool,
    /// Its messages may be longer than a segment: nothing but the path lines changes on the way to any target, and
    /// those keep their length.
    pub long: bool,
    /// Whose requests its responses answer, by place in the plan; they are dropped where there is nobody.
    pub answer_to: Option<usize>,
    /// Who gets its messages, by place in the plan, the primary leg first; nobody: userspace carries them.
    pub targets: Vec<usize>,
}

impl Switch {
    /// What the programs shall do with a stream.
    ///
    /// # Errors
    /// Why the programs cannot serve it as it is.
    pub fn plan(&self, stream: StreamId) -> Result<Plan, Why> {
        let stream = self.streams.get(stream).ok_or(Why::LegsMissing)?;
        if stream.interception.is_some() {
            return Err(Why::Policy);
        }
        let (Some(originator), Some(far)) = (stream.originator, stream.far) else {
            return Err(Why::LegsMissing);
        };
        if stream.originator_gone.is_some() || stream.far_gone.is_some() {
            return Err(Why::LegsMissing);
        }
        let ids: Vec<LegId> = [originator, far].into_iter().chain(stream.devices.iter().copied()).collect();
        let copies = self.books.as_ref().map_or(MAX_LEGS, |books| books.fan_out);
        if ids.len() > MAX_LEGS || ids.len() > copies.saturating_add(1) {
            return Err(Why::ManyLegs);
        }
        let mut legs = Vec::with_capacity(ids.len());
        let mut families = Vec::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            let leg = self.legs.get(*id).ok_or(Why::LegsMissing)?;
            let (conn, is_v4) = self.own_connection(leg)?;
            families.push(is_v4);
            let targets = targets(stream, place, ids.len());
            legs.push(planned(leg, *id, conn, place, targets)?);
        }
        if families.windows(2).any(|two| two[0] != two[1]) {
            return Err(Why::Families);
        }
        for leg in &mut legs {
            leg.any_type = self.types(&ids, &leg.targets)?;
        }
        let long: Vec<bool> = legs.iter().map(|leg| self.long(&legs, leg)).collect();
        for (leg, long) in legs.iter_mut().zip(long) {
            leg.long = long;
        }
        Ok(Plan { legs })
    }

    /// May the messages of this leg be as long as the programs can carry them?
    fn long(&self, legs: &[PlannedLeg], from: &PlannedLeg) -> bool {
        let mut targets = from.targets.iter().filter_map(|target| legs.get(*target));
        targets.all(|target| {
            let remote = self.legs.get(target.leg).and_then(|leg| leg.remote.as_ref());
            let takes = remote.is_some_and(|remote| remote.max_size.is_none_or(|max| max >= LONG_MAX));
            takes && target.out_block.len() == from.in_block.len()
        })
    }

    /// The leg's connection, if it is up and the leg's own; and whether it is one of IPv4.
    fn own_connection(&self, leg: &Leg) -> Result<(ConnId, bool), Why> {
        let missing = if leg.role == LegRole::Device { Why::LateDevices } else { Why::LegsMissing };
        let id = leg.conn.filter(|_| leg.remote.is_some()).ok_or(missing)?;
        let conn = self.conns.get(id).filter(|conn| conn.up).ok_or(missing)?;
        if conn.legs.len() > 1 {
            return Err(Why::SharedConnection);
        }
        if leg.rebind || conn.ended.is_some() {
            return Err(Why::Paused);
        }
        let peer = conn.peer.ok_or(Why::Connection)?;
        Ok((id, peer.ip().to_canonical().is_ipv4()))
    }

    /// May messages for these legs have any type (`true`), or only the CPIM wrapper (`false`)? The primary leg is
    /// not asked: it answers for itself. What it accepts is what the sender was told, so a device that accepts all of
    /// that inside the wrapper can get whatever comes.
    fn types(&self, ids: &[LegId], targets: &[usize]) -> Result<bool, Why> {
        let mut any = true;
        let primary = targets.first().and_then(|primary| self.legs.get(*ids.get(*primary)?)?.remote.as_ref());
        for copy in targets.iter().skip(1) {
            let leg = ids.get(*copy).and_then(|id| self.legs.get(*id)).ok_or(Why::LegsMissing)?;
            let remote = leg.remote.as_ref().ok_or(Why::LegsMissing)?;
            if !remote.may_send || remote.max_size.is_some_and(|max| max < MESSAGE_MAX) {
                return Err(Why::Types);
            }
            let all = remote.accept_types.iter().any(|accepted| accepted.trim() == "*");
            let agreed = || primary.is_some_and(|primary| covers(remote, primary));
            if !all && !accepts_cpim(remote) && !agreed() {
                return Err(Why::Types);
            }
            any &= all;
        }
        Ok(any)
    }
}

/// Who gets the messages of the leg at `place` of `count`: originator 0, far end 1, devices.
fn targets(stream: &Stream, place: usize, count: usize) -> Vec<usize> {
    match place {
        0 => (1..count).collect(),
        1 if stream.policy.copy_far => [0].into_iter().chain(2..count).collect(),
        1 => vec![0],
        // The answer to a device's message is one more for the far end to give, and nothing but its transaction
        // tells it from an answer for the originator.
        _ => Vec::new(),
    }
}

fn planned(leg: &Leg, id: LegId, conn: ConnId, place: usize, targets: Vec<usize>) -> Result<PlannedLeg, Why> {
    let uri = Uri::parse(leg.local.as_bytes()).map_err(|_| Why::Paths)?;
    if uri.secure {
        return Err(Why::Tls);
    }
    let in_block = leg.in_block();
    if leg.request_lines.is_empty()
        || leg.request_lines != leg.response_lines
        || leg.request_lines.len() > BLOCK_MAX
        || in_block.len() > BLOCK_MAX
    {
        return Err(Why::Paths);
    }
    Ok(PlannedLeg {
        leg: id,
        conn,
        session: uri.session.to_vec(),
        in_block,
        out_block: leg.request_lines.clone(),
        any_type: true,
        long: false,
        answer_to: [1, 0].get(place).copied(),
        targets,
    })
}

impl Leg {
    /// The path lines as the peer writes them: as it wrote them last, or as it should.
    pub(super) fn in_block(&self) -> Vec<u8> {
        if let Some(block) = &self.block {
            return block.clone();
        }
        let mut block = Vec::new();
        let theirs = self.remote.as_ref().map(|remote| remote.path.join(" ")).unwrap_or_default();
        path_lines(&mut block, self.local.as_bytes(), theirs.as_bytes());
        block
    }
}

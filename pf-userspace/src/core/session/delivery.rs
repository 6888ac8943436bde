//! Clause 8.2.2.1, 200 part, step 8, with clause 8.3.2.1: direct delivery to the user's other suitable devices.

use super::{
    Session,
    context::Context,
    invitation::{SentInvite, device_of},
    leg::{A, Close, Leg, LegNo, LegState, OwedAck},
    media::{Reach, own_uri, path_octets, read_answer},
    timer,
};
use crate::core::{
    event::{ClientTx, LegRole},
    registry::{Device, Icsi, Preferences, suitable},
    sdp::{self, Sdp, SetupAttr},
    sip::{Dialog, Method, NameAddr, Response, dialog::with_tag},
};

/// The most devices that one session invites.
const MAX_DEVICES: usize = 32;

impl Session {
    /// Step 8: invites every other suitable device that is not in the session yet. How they answer, and whether, is
    /// nothing to legs A and F.
    pub(crate) fn deliver_directly(&mut self, cx: &mut Context<'_>) {
        let waits = self.legs[A].state == LegState::Inviting;
        if !cx.config.policy.direct_delivery
            || self.ending
            || self.lost.is_some()
            || waits
            || !self.fars().any(|no| self.legs[no].is_established())
        {
            return;
        }
        // a. Only devices of the required release; b. all suitable ones but the one that originated the session.
        let icsi = if self.invitation.group { Icsi::Group } else { Icsi::Session };
        let originator = self.invitation.headers.get("Contact").unwrap_or_default();
        let (user, from) = (&self.invitation.user, &self.invitation.from);
        let rule = cx.config.policy.client_version;
        let preferences = Preferences::read(&self.invitation.headers);
        let devices = suitable(cx.registry, user, icsi, rule, &preferences, originator, from);
        let devices: Vec<Device> = devices.into_iter().cloned().collect();
        for device in devices {
            let name = device_name(&device);
            let invited = |leg: &Leg| leg.role == LegRole::Device && leg.device == name && !leg.is_closed();
            let invitations = self.legs.iter().filter(|leg| leg.role == LegRole::Device).count();
            if invitations < MAX_DEVICES && !self.legs.iter().any(invited) {
                self.invite_device(cx, &device, name);
            }
        }
    }

    /// Clause 8.3.2.1 as the terminating side does it: the device sees a session from the other party.
    fn invite_device(&mut self, cx: &mut Context<'_>, device: &Device, name: String) {
        let Ok(agreed) = Sdp::parse(&self.legs[A].ours) else { return };
        let config = cx.config;
        let invitation = &self.invitation;
        let (target, hop) = (device.target().to_owned(), device.hop());
        let other = invitation.headers.get("To").unwrap_or_default();
        let (call_id, tag) = (cx.call_id(), cx.tag());
        let routes = device.route();
        let user = format!("<{}>", invitation.user);
        let local = with_tag(other, None);
        let mut dialog = Dialog::outgoing(call_id, local, tag, user, target.clone(), routes, hop.flow);
        let (mut request, _) = dialog.request(Method::Invite);
        request.uri = target;
        let headers = &mut request.headers;
        if let Ok(other) = NameAddr::parse(other) {
            headers.push("P-Asserted-Identity", format!("<{}>", other.uri));
        }
        // Devices know the session by these.
        for name in ["Conversation-ID", "Contribution-ID", "InReplyTo-Contribution-ID", "Subject"] {
            headers.copy(&invitation.headers, name);
        }
        if let Some(service) = &invitation.service {
            headers.push("P-Asserted-Service", service);
        }
        let icsi = if invitation.group { Icsi::Group } else { Icsi::Session };
        let feature = format!("+g.3gpp.icsi-ref=\"{}\"", icsi.as_tag_value());
        headers.push("Accept-Contact", format!("*;{feature}"));
        let focus = if self.far_is_focus() { ";isfocus" } else { "" };
        let contact = format!("<{}>;{feature}{focus}", own_uri(config, "pf", Reach::Uri(&hop.uri)));
        headers.push("Contact", contact.as_str());
        headers.push("User-Agent", config.product.as_str());
        headers.push("Supported", "timer");
        headers.push("Allow", super::ALLOW);
        let interval = config.policy.session_expires.max(timer::FLOOR);
        timer::write(headers, interval, 0);

        let shown = if device.display_name.is_empty() { name.clone() } else { device.display_name.clone() };
        let mut leg = Leg::new(LegRole::Device, shown, name, dialog, contact);
        leg.sdp_session = cx.sdp_session();
        let no = self.legs.len();
        self.legs.push(leg);
        let carried = self.without_dropped(&agreed);
        let lengths: Vec<usize> =
            (0..carried.line_count()).map(|index| self.device_session_id_length(device, index)).collect();
        self.plan_lines(cx, no, &carried, |index| lengths.get(index).copied().unwrap_or(16));
        let origin = self.legs[no].origin(self.media_host(cx, no));
        let lines = self.legs[no].local_lines(|_| SetupAttr::Actpass);
        let offer = sdp::device_offer(&carried, &lines, &origin).write();
        self.legs[no].ours = offer.to_vec();
        self.open_lines(cx, no);
        request.headers.push("Content-Type", "application/sdp");
        request.body = offer;
        let until = cx.now + config.policy.device_answer();
        self.send_invite(cx, no, request, hop, interval, 0, until);
    }

    /// The final response of a device.
    pub(super) fn device_answered(
        &mut self,
        cx: &mut Context<'_>,
        tx: ClientTx,
        no: LegNo,
        sent: SentInvite,
        response: &Response,
    ) {
        let waiting = self.legs[no].state == LegState::Inviting && !self.ending;
        if !response.is_success() {
            let until = cx.now + cx.config.policy.device_answer();
            if waiting && self.invite_again(cx, no, &sent, response, until) {
                return;
            }
            let why = match self.legs[no].state {
                LegState::Cancelling(why) => why,
                _ if !response.headers.has("CSeq") => Close::Unanswered,
                _ => Close::Refused(response.status),
            };
            return self.close_leg(cx, no, why);
        }
        // ACK at once, wanted or not.
        let before = self.legs[no].state;
        let leg = &mut self.legs[no];
        leg.dialog.establish(response);
        leg.learn(&response.headers);
        leg.state = LegState::Established;
        leg.owed_ack = response.cseq().map(|(number, _)| OwedAck { tx, number });
        self.ack_owed(cx, no);
        let answered = read_answer(response.headers.get("Content-Type"), &response.body)
            .filter(|(sdp, _)| sdp.msrp_lines().iter().any(|line| !line.is_rejected()));
        let unwanted = match (before, &answered) {
            (LegState::Cancelling(why), _) => Some(why),
            _ if !waiting => Some(Close::Ended),
            (_, None) => Some(Close::Incompatible),
            (_, Some(_)) => None,
        };
        if let Some(why) = unwanted {
            self.close_lines(cx, no);
            return self.hang_up(cx, no, None, why);
        }
        let Some((answered, octets)) = answered else { return };
        let accepted = answered.msrp_lines().iter().find(|line| !line.is_rejected()).map(|line| line.index);
        if let Some(octets) = accepted.and_then(|index| path_octets(&answered, index)) {
            let name = &self.legs[no].device;
            cx.registry.learn_msrp_path(&self.invitation.user, |device| device_name(device) == *name, octets);
        }
        self.legs[no].theirs = octets.to_vec();
        self.legs[no].timer = Some(timer::agreed(&response.headers, sent.interval, cx.now));
        self.close_refused_lines(cx, no, &answered);
        self.connect_lines(cx, no, &answered, |_| SetupAttr::Actpass);
    }

    /// Does the far end's Contact show a conference focus?
    fn far_is_focus(&self) -> bool {
        NameAddr::parse(&self.legs[A].contact).is_ok_and(|contact| contact.param("isfocus").is_some())
    }
}

/// What tells a registered device from another one: like [`device_of`] its Contact.
fn device_name(device: &Device) -> String {
    let mut contact = NameAddr { display: String::new(), uri: device.contact.clone(), params: Vec::new() };
    if let Some(instance) = &device.instance {
        contact.params.push(("+sip.instance".to_owned(), Some(format!("\"{instance}\""))));
    }
    device_of(&contact)
}

//! Which devices get copies, and how they are reached.

use proptest::prelude::*;

use super::*;
use crate::core::policy::{Release, VersionRule};

/// A lab with three devices of Ann: A on TCP, B (old) and C on UDP.
fn three() -> Lab {
    let mut lab = Lab::new(config());
    for (n, agent, from) in [
        ("a", "CPM-client/OMA2.2", tcp("192.0.2.1:4000", 1)),
        ("b", "CPM-client/OMA1.0", udp("192.0.2.2:5070")),
        ("c", "CPM-client/OMA2.3", udp("192.0.2.3:5070")),
    ] {
        let contact = format!("<sip:{n}@192.0.2.9>;+sip.instance=\"<urn:uuid:{n}>\";{CPM}");
        let mut request =
            register("ann", 1, &[("Contact", &contact), ("User-Agent", agent), ("Supported", "gruu")]);
        request.headers.set("Call-ID", format!("call-{n}"));
        assert_eq!(lab.register_as("ann", at(0), &request, &from).status, 200);
    }
    lab
}

fn names(lab: &Lab, icsi: Icsi, rule: Option<VersionRule>, contact: &str, from: &Peer) -> String {
    let any = Preferences::default();
    let devices = suitable(&lab.registry, "tel:+1555ann", icsi, rule, &any, contact, from);
    devices.iter().map(|device| &device.contact[4..5]).collect()
}

// Rows: REG-04, DD-05
#[test]
fn the_originating_device_is_left_out() {
    let lab = three();
    let (far, a) = (udp("203.0.113.1:1"), tcp("192.0.2.1:4000", 1));
    let gruu = lab.registry.devices("sip:ann@example.org")[1].temp_gruus[0].clone();
    for (contact, from, others) in [
        ("<sip:anything@h>;+sip.instance=\"<URN:UUID:A>\"", &far, "bc"),
        ("<sip:b@192.0.2.9>;+sip.instance=\"<urn:uuid:a>\"", &far, "bc"),
        ("<sip:ann@example.org;gr=urn:uuid:c>", &far, "ab"),
        (&format!("<{gruu}>;{CPM}"), &far, "ac"),
        ("<sip:c@192.0.2.9>", &far, "ab"),
        ("<sip:new@192.0.2.9>", &a, "bc"),
        ("", &a, "bc"),
        ("<sip:new@192.0.2.9>", &udp("192.0.2.3:5070"), "ab"),
        ("<sip:new@192.0.2.9>", &far, "abc"),
    ] {
        assert_eq!(names(&lab, Icsi::Session, None, contact, from), others, "{contact}");
    }
}

// Rows: DD-02, DD-03, REG-07
#[test]
fn a_required_release_leaves_older_devices_out() {
    let mut lab = three();
    let release = |major, minor| Release { major, minor };
    let (contact, from) = ("<sip:a@192.0.2.9>", udp("203.0.113.1:1"));
    for (rule, others) in [
        (VersionRule::Minimum(release(2, 2)), "c"),
        (VersionRule::Minimum(release(1, 0)), "bc"),
        (VersionRule::Exact(release(1, 0)), "b"),
        (VersionRule::Minimum(release(3, 0)), ""),
    ] {
        assert_eq!(names(&lab, Icsi::Session, Some(rule), contact, &from), others, "{rule:?}");
    }
    let silent = format!("<sip:d@h>;{CPM}");
    let mut request = register("ann", 1, &[("Contact", &silent)]);
    request.headers.set("Call-ID", "call-d");
    lab.register_as("ann", at(0), &request, &from);
    assert_eq!(names(&lab, Icsi::Session, Some(VersionRule::Minimum(release(1, 0))), contact, &from), "bc");
    assert_eq!(names(&lab, Icsi::Session, None, contact, &from), "bcd");
}

/// Devices of Ann that match these values of Accept-Contact and Reject-Contact.
fn preferred(lab: &Lab, accept: &[&str], reject: &[&str]) -> String {
    let mut request = register("ann", 1, &[]);
    accept.iter().for_each(|value| request.headers.push("Accept-Contact", *value));
    reject.iter().for_each(|value| request.headers.push("Reject-Contact", *value));
    let preferences = Preferences::read(&request.headers);
    let from = udp("203.0.113.1:1");
    let devices = suitable(&lab.registry, "tel:+1555ann", Icsi::Session, None, &preferences, "", &from);
    devices.iter().map(|device| &device.contact[4..5]).collect()
}

// Rows: REG-06
#[test]
fn the_invites_caller_preferences_choose_among_the_devices() {
    let mut lab = Lab::new(config());
    for (n, features) in [
        ("a", "video;audio;+g.example.size=\"#>=100\";+g.example.place=\"<Home>\";language=\"en,de\""),
        ("b", "audio;video=\"FALSE\";mobility=\"fixed\";+g.example.size=\"#1:50\";language=\"!en\""),
        ("c", "methods=\"INVITE,BYE\""),
    ] {
        let contact = format!("<sip:{n}@192.0.2.9>;+sip.instance=\"<urn:uuid:{n}>\";{CPM};{features}");
        let mut request = register("ann", 1, &[("Contact", &contact)]);
        request.headers.set("Call-ID", format!("call-{n}"));
        assert_eq!(lab.register_as("ann", at(0), &request, &udp("192.0.2.9:5060")).status, 200);
    }
    let icsi = "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"";
    for (accept, others) in [
        // Wishes choose nothing.
        ("*;video", "abc"),
        ("*;video;explicit", "abc"),
        // Filters do; who says nothing of a tag passes unless it has to.
        ("*;video;require", "ac"),
        ("*;video;require;explicit", "a"),
        ("*;Video=\"true\";Require;Explicit", "a"),
        ("*;video=\"!TRUE\";require;explicit", "b"),
        ("*;audio;require;explicit", "ab"),
        ("*;audio;mobility=\"fixed,mobile\";require;explicit", "b"),
        ("*;mobility=\"!fixed\";require;explicit", ""),
        ("*;language=\"de\";require;explicit", "ab"),
        ("*;language=\"en\";require;explicit", "a"),
        ("*;+g.example.size=\"#=120\";require;explicit", "a"),
        ("*;+g.example.size=\"#40:200\";require;explicit", "ab"),
        ("*;+g.example.size=\"#<=0\";require;explicit", ""),
        ("*;+g.example.size=\"!#1:60\";require;explicit", "a"),
        ("*;+g.example.place=\"<Home>\";require;explicit", "a"),
        ("*;+g.example.place=\"<home>\";require;explicit", ""),
        ("*;+g.example.unheard-of;require;explicit", ""),
        ("*;methods=\"INVITE\";require;explicit", "c"),
        // What names a device of somebody else, and what is no capability.
        ("*;+sip.instance=\"<urn:uuid:bob>\";require;explicit", "abc"),
        ("*;q=0.3;require;explicit", "abc"),
        ("nonsense", "abc"),
        (&format!("*;{icsi};require;explicit"), "abc"),
        (&format!("*;{};require", icsi.replace("session", "session.group")), ""),
    ] {
        assert_eq!(preferred(&lab, &[accept], &[]), others, "{accept}");
    }
    // Every filter counts, in one header or in several.
    let (video, mobile) = ("*;video;require", "*;audio;require;explicit");
    assert_eq!(preferred(&lab, &[video, mobile], &[]), "a");
    assert_eq!(preferred(&lab, &[&format!("{video}, {mobile}")], &[]), "a");
    // Who says nothing of a tag is not rejected for it.
    assert_eq!(preferred(&lab, &[], &["*;video"]), "bc");
    assert_eq!(preferred(&lab, &[], &["*;video;mobility=\"fixed\""]), "abc");
    assert_eq!(preferred(&lab, &[], &["*;audio", "*;methods=\"BYE\""]), "");
    assert_eq!(preferred(&lab, &[video], &["*;audio"]), "c");
}

// Rows: AMB-05
#[test]
fn a_device_registered_for_groups_meets_a_demand_for_sessions() {
    let mut lab = Lab::new(config());
    let contact = format!("<sip:a@192.0.2.9>;{}", CPM.replace("session", "session.group"));
    let request = register("ann", 1, &[("Contact", &contact)]);
    assert_eq!(lab.register_as("ann", at(0), &request, &udp("192.0.2.9:5060")).status, 200);
    let session =
        "*;+g.3gpp.icsi-ref=\"urn%3aurn-7%3a3gpp-service.ims.icsi.oma.cpm.session\";require;explicit";
    assert_eq!(preferred(&lab, &[session], &[]), "a");
    assert_eq!(preferred(&lab, &[&session.replace("session", "sess")], &[]), "");
}

// Rows: REG-03, REG-13
#[test]
fn without_the_feature_tag_a_device_is_registered_but_not_suitable() {
    let mut lab = three();
    let from = udp("192.0.2.3:5070");
    let mut request = register("ann", 2, &[("Contact", "<sip:c@192.0.2.9>;+sip.instance=\"<urn:uuid:c>\"")]);
    request.headers.set("Call-ID", "call-c");
    assert_eq!(lab.register_as("ann", at(1), &request, &from).status, 200);
    assert_eq!(names(&lab, Icsi::Session, None, "<sip:a@192.0.2.9>", &udp("203.0.113.1:1")), "b");
    let view = lab.registry.view(at(1));
    assert_eq!(view.iter().map(|device| device.cpm).collect::<Vec<_>>(), [true, true, false]);
}

// Rows: DD-02
#[test]
fn a_device_that_takes_no_invite_is_not_suitable() {
    let mut lab = Lab::new(config());
    let from = udp("192.0.2.7:5070");
    for (n, params, allow) in [
        ("a", "", "MESSAGE, INVITE"),
        ("b", "", "MESSAGE, OPTIONS"),
        ("c", ";methods=\"MESSAGE,OPTIONS\"", "INVITE"),
        ("d", ";methods=\"MESSAGE,INVITE\"", "INVITE"),
    ] {
        let contact = format!("<sip:{n}@h>;{CPM}{params}");
        let mut request = register("ann", 1, &[("Contact", &contact), ("Allow", allow)]);
        request.headers.set("Call-ID", format!("call-{n}"));
        lab.register_as("ann", at(0), &request, &from);
    }
    assert_eq!(names(&lab, Icsi::Session, None, "<sip:x@h>", &udp("203.0.113.1:1")), "ad");
}

// Rows: AMB-05
#[test]
fn a_sub_class_serves_where_its_class_is_asked_for() {
    let session = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session";
    for (value, is_session, is_group) in [
        (session, true, false),
        ("\"urn%3aURN-7%3A3gpp-service.ims.icsi.oma.cpm.session\"", true, false),
        ("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session", true, false),
        (&format!("{session}.group"), true, true),
        (&format!("{session}.group.x"), true, true),
        (&format!("\"urn%3Aurn-7%3Aother, {session}.group\""), true, true),
        (&format!("{session}s"), false, false),
        (&format!("{session}.groups"), true, false),
        ("urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg", false, false),
        ("urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm", false, false),
        ("", false, false),
    ] {
        assert_eq!(Icsi::Session.matches_tag(value), is_session, "{value}");
        assert_eq!(Icsi::Group.matches_tag(value), is_group, "{value}");
    }
    for icsi in [Icsi::Session, Icsi::Group] {
        assert!(icsi.matches_tag(icsi.as_tag_value()));
        assert_eq!(Icsi::from_urn(icsi.as_urn()), Some(icsi), "whole URNs, no sub-classes");
    }
    assert_eq!(Icsi::from_urn("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session.group.x"), None);
}

#[test]
fn a_device_is_reached_over_its_connection_while_that_lives() {
    let mut lab = Lab::new(config());
    let (direct, proxied) = (tcp("192.0.2.1:4000", 1), tcp("192.0.2.250:5060", 2));
    lab.register(at(0), &register("ann", 1, &[("Contact", "<sip:a@192.0.2.1:4000;transport=tcp>")]), &direct);
    let path = ("Path", "<sip:edge@192.0.2.250;lr;ob>, <sip:inner;lr>");
    lab.register(at(0), &register("bob", 1, &[("Contact", "<sip:b@10.9.9.9>"), path]), &proxied);
    let hop = |lab: &Lab, user: &str| lab.registry.devices(&format!("sip:{user}@example.org"))[0].hop();
    assert_eq!(
        hop(&lab, "ann"),
        Hop { uri: "sip:a@192.0.2.1:4000;transport=tcp".into(), flow: Some(FlowId(1)) }
    );
    assert_eq!(hop(&lab, "bob"), Hop { uri: "sip:edge@192.0.2.250;lr;ob".into(), flow: Some(FlowId(2)) });
    let bob = lab.registry.devices("sip:bob@example.org")[0].clone();
    assert_eq!(bob.route(), ["<sip:edge@192.0.2.250;lr;ob>", "<sip:inner;lr>"]);
    assert_eq!(bob.target(), "sip:b@10.9.9.9");
    assert_eq!(lab.registry.devices_from(&direct).count(), 1);
    assert!(lab.registry.devices_from(&proxied).next().is_none(), "a proxy is not the device");
    for flow in [1, 2, 3] {
        lab.registry.flow_closed(FlowId(flow));
        lab.assert_consistent();
    }
    assert_eq!((hop(&lab, "ann").flow, hop(&lab, "bob").flow), (None, None));
    assert_eq!(lab.contacts("ann").len(), 1, "still registered");
    assert!(lab.registry.devices_from(&direct).next().is_none());
}

proptest! {
    /// Whatever is registered in whatever order: the indices fit, and no device is there after its time.
    #[test]
    fn the_table_stays_right(
        steps in prop::collection::vec((0_u8..2, 0_u8..4, 0_u8..4, 0_u64..3, prop_oneof![Just(0_u32), 60_u32..200], 0_u64..80, any::<bool>()), 1..30),
    ) {
        let mut lab = Lab::new(config());
        let mut now = 0;
        for (cseq, (user, instance, contact, flow, expires, pause, gruu)) in steps.into_iter().enumerate() {
            now += pause;
            let instance = if instance == 0 { String::new() } else { format!(";+sip.instance=\"<urn:uuid:{instance}>\"") };
            let contact = format!("<sip:{contact}@h>{instance};expires={expires}");
            let mut headers = vec![("Contact", contact.as_str())];
            if gruu {
                headers.push(("Supported", "gruu"));
            }
            let name = ["ann", "bob"][usize::from(user)];
            let from = if flow == 0 { udp("192.0.2.1:5060") } else { tcp("192.0.2.1:4000", flow) };
            let response = lab.register(at(now), &register(name, cseq as u32 + 1, &headers), &from);
            prop_assert_eq!(response.status, 200);
            lab.assert_consistent();
            if pause == 7 {
                lab.registry.flow_closed(FlowId(flow));
                lab.assert_consistent();
            }
            prop_assert!(lab.registry.view(at(now)).iter().all(|device| device.expires_seconds > 0));
            prop_assert_eq!(lab.registry.deadline().is_none(), lab.registry.view(at(now)).is_empty());
        }
        lab.registry.expire(at(now + 200));
        prop_assert!(lab.registry.view(at(now)).is_empty());
        lab.assert_consistent();
    }

    #[test]
    fn any_preference_is_survived(
        accept in "(\\*|;|,|=|\"|<|>|!|#|:|audio|require|[+]g.x|[0-9.-]{1,3}|\\PC){0,20}",
    ) {
        let lab = three();
        let _ = preferred(&lab, &[&accept], &[&accept]);
    }

    #[test]
    fn any_register_is_survived(
        headers in prop::collection::vec(
            (
                prop::sample::select(vec!["Contact", "Path", "Expires", "To", "From", "CSeq", "Call-ID", "Require"]),
                "(<sip:a@h>|\\*|,|;|=|\"|<|>|expires|0|\\PC){0,12}",
            ),
            0..8,
        ),
        uri in "(sip:example.org|\\PC{0,10})",
    ) {
        let mut lab = Lab::new(config());
        let mut request = register("ann", 1, &[]);
        request.uri = uri;
        headers.into_iter().for_each(|(name, value)| request.headers.push(name, value));
        let _ = lab.register_as("ann", at(0), &request, &udp("192.0.2.1:5060"));
        let _ = lab.registry.register(at(0), &mut lab.entropy, &request, &udp("10.0.0.5:5060"));
        lab.assert_consistent();
    }
}

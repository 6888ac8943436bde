//! Every procedure once more with SIPp on all sides, over UDP and over TCP.

use std::time::Duration;

use anyhow::Result;
use lab::sip::Transport;

use crate::{
    neighbours::sipp::{Procedure, Words},
    sessions_nobody_needs_pf_for_are_proxied::PROXY,
};

/// A test for each procedure and transport.
macro_rules! procedures {
    ($($name:ident => $procedure:expr;)*) => {
        $(
            mod $name {
                use super::*;

                #[tokio::test]
                async fn over_udp() -> Result<()> {
                    $procedure.play(Transport::Udp).await
                }

                #[tokio::test]
                async fn over_tcp() -> Result<()> {
                    $procedure.play(Transport::Tcp).await
                }
            }
        )*
    };
}

procedures! {
    a_barred_caller_is_refused => refused("barred = [\"sip:alice@example.org\"]", "127 Service not authorised", "Subject: hello");
    an_old_client_is_refused => refused("client_version = { minimum = \"2.3\" }", "132 Version not supported", "Subject: hello");
    anonymity_is_refused => refused("allow_anonymity = false", "119 Anonymity not allowed", "Privacy: id");
    the_caller_leaves => Procedure { calls: reasons(), ..Procedure::new("near_leaves", "far_is_left") };
    the_far_end_leaves => Procedure { calls: reasons(), ..Procedure::new("near_is_left", "far_leaves") };
    the_caller_cancels => Procedure::new("near_cancels", "far_is_cancelled");
    the_far_end_refuses => Procedure {
        calls: refusals(),
        ..Procedure::new("near_hears_of_failure", "far_refuses")
    };
    the_caller_changes_the_session => Procedure {
        calls: vec![changed_by("INVITE"), changed_by("UPDATE")],
        ..Procedure::new("near_changes", "far_is_changed")
    };
    the_far_end_changes_the_session => Procedure {
        calls: vec![changed_back_by("INVITE"), changed_back_by("UPDATE")],
        ..Procedure::new("near_is_changed", "far_changes")
    };
    the_caller_refreshes => Procedure { calls: vec![without_reason()], ..Procedure::new("near_refreshes", "far_is_left") };
    the_far_end_wants_a_longer_interval => Procedure {
        calls: vec![reason("SIP;cause=200")],
        ..Procedure::new("near_leaves", "far_wants_longer")
    };
    another_device_is_invited => Procedure {
        policy: "",
        device: Some("device"),
        calls: vec![reason("SIP;cause=200")],
        ..Procedure::new("near_with_tablet", "far_is_left")
    };
    a_device_that_still_rings_is_cancelled => Procedure {
        policy: "",
        device: Some("far_is_cancelled"),
        calls: vec![reason("SIP;cause=200")],
        ..Procedure::new("near_with_tablet", "far_is_left")
    };
    the_isf_is_asked_after_a_404 => Procedure {
        policy: "interworking_after = [404]\ndirect_delivery = false",
        isf: Some("far_is_left"),
        calls: vec![[reason("SIP;cause=200"), vec![("CODE", "404".to_owned())]].concat()],
        ..Procedure::new("near_leaves", "far_refuses")
    };
    nobody_needs_pf_and_it_is_a_proxy => Procedure {
        policy: PROXY,
        ..Procedure::new("near_proxied", "far_proxied")
    };
    through_the_proxy_the_far_end_leaves => Procedure {
        policy: PROXY,
        calls: reasons(),
        ..Procedure::new("near_is_left", "far_leaves")
    };
    through_the_proxy_the_far_end_refuses => Procedure {
        policy: PROXY,
        calls: refusals(),
        ..Procedure::new("near_hears_of_failure", "far_refuses")
    };
    through_the_proxy_the_caller_cancels => Procedure {
        policy: PROXY,
        ..Procedure::new("near_cancels", "far_is_cancelled")
    };
}

/// The INVITE is answered with this warning.
fn refused(policy: &'static str, warning: &str, header: &str) -> Procedure {
    Procedure {
        policy,
        far: None,
        calls: vec![vec![("WARNING", warning.to_owned()), ("EXTRA", header.to_owned())]],
        ..Procedure::new("near_refused", "far_is_left")
    }
}

/// An error of each kind.
fn refusals() -> Vec<Words> {
    ["404", "480", "486", "500", "603"].map(|code| vec![("CODE", code.to_owned())]).into()
}

/// A BYE with each Reason, and one with none.
fn reasons() -> Vec<Words> {
    let mut calls: Vec<Words> =
        [200, 410, 480, 503].map(|cause| reason(&format!("SIP;cause={cause}"))).into();
    calls.push(without_reason());
    calls
}

/// A BYE with this Reason on one side, and on the other side.
fn reason(value: &str) -> Words {
    let seen = format!("regexp=\"^ *{value}\" search_in=\"hdr\" header=\"Reason:\" check_it=\"true\"");
    vec![("REASON", format!("Reason: {value}")), ("SEEN", seen)]
}

/// A BYE without Reason on both sides.
fn without_reason() -> Words {
    let seen = "regexp=\"Reason:\" search_in=\"msg\" check_it_inverse=\"true\"";
    vec![("REASON", String::new()), ("SEEN", seen.to_owned())]
}

/// Another session description, by INVITE or UPDATE.
fn changed_by(method: &str) -> Words {
    let answer = "<?use accept WHO=bob | TAG= | VERSION=2 | TYPES=text/plain text/html | HEADERS=?>";
    let (ok, ack) = match method {
        "INVITE" => (format!("{answer}<recv request=\"ACK\"/>"), "<?use ack CSEQ=2?>"),
        _ => (answer.to_owned(), ""),
    };
    vec![("HOW", method.to_owned()), ("CHANGE_OK", ok), ("CHANGE_ACK", ack.to_owned())]
}

/// The same, asked for by the far end.
fn changed_back_by(method: &str) -> Words {
    let (acked, ack) = match method {
        "INVITE" => ("<recv request=\"ACK\"/>", "<?use ack_back CSEQ=1?>"),
        _ => ("", ""),
    };
    [("HOW", method), ("ACKED", acked), ("ACK_BACK", ack)].map(|(word, text)| (word, text.to_owned())).into()
}

/// It takes a minute, so all at once.
// Rows: INV-21
#[tokio::test]
async fn pf_refreshes_one_side_and_the_callers_session_expires() -> Result<()> {
    let [by_update, by_invite] = ["UPDATE", "INVITE"].map(expires);
    let [update, invite] = ["UPDATE", "INVITE"].map(expires);
    let (a, b, c, d) = tokio::join!(
        by_update.play(Transport::Udp),
        by_invite.play(Transport::Udp),
        update.play(Transport::Tcp),
        invite.play(Transport::Tcp)
    );
    a.and(b).and(c).and(d)
}

/// A minute of silence: `pf` refreshes on one side, and on the other side nobody does.
fn expires(method: &str) -> Procedure {
    let timer = "HEADERS=Require: timer\\nSession-Expires: 90;refresher=uac";
    let (allowed, ok) = match method {
        "INVITE" => {
            let answer = "accept WHO=bob | TAG= | VERSION=1 | TYPES=text/plain";
            ("", format!("<?use {answer} | {timer}?><recv request=\"ACK\"/>"))
        }
        _ => (", UPDATE", format!("<?use ok {timer}?>")),
    };
    let words = [("HOW", method), ("ALLOWED", allowed), ("CHANGE_OK", &ok)];
    Procedure {
        policy: "session_expires = 90\ndirect_delivery = false",
        calls: vec![words.map(|(word, text)| (word, text.to_owned())).into()],
        limit: Duration::from_secs(90),
        ..Procedure::new("near_expires", "far_is_refreshed")
    }
}

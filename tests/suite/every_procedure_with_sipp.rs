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
    a_change_is_refused => Procedure {
        calls: vec![refused_by("INVITE"), refused_by("UPDATE")],
        ..Procedure::new("near_changes_in_vain", "far_refuses_change")
    };
    a_change_is_not_admitted => Procedure {
        policy: "direct_delivery = false\nallow_anonymity = false".into(),
        calls: vec![without_reason_for("INVITE"), without_reason_for("UPDATE")],
        ..Procedure::new("near_changes_unseen", "far_is_left")
    };
    both_change_the_session_at_once => Procedure::new("near_meets_glare", "far_meets_glare");
    a_change_is_taken_back => Procedure::new("near_takes_back", "far_is_not_changed");
    while_it_rings_the_caller_asks_and_updates => Procedure::new("near_rings_out", "far_is_cancelled");
    while_it_rings_the_far_end_updates => Procedure::new("near_hears_progress", "far_updates_early");
    capabilities_are_told_and_dead_dialogs_are_refused => Procedure {
        calls: vec![without_reason()],
        ..Procedure::new("near_asks", "far_is_left")
    };
    spent_and_merged_requests_are_refused => Procedure::new("near_is_careless", "far_is_cancelled");
    what_is_said_in_the_dialog_goes_to_the_other_side => Procedure {
        calls: ["INFO", "MESSAGE", "REFER"].map(said).into(),
        ..Procedure::new("near_says", "far_is_told")
    };
    a_recipient_list_goes_along => Procedure::new("near_invites_many", "far_gets_list");
    a_mail_address_goes_to_the_isf => Procedure {
        far: None,
        isf: Some("isf_gets_mail"),
        calls: reasons(),
        ..Procedure::new("near_mails", "")
    };
    two_iwfs_take_a_stream_each => forked("", "near_with_two_streams", "isf_forks", reasons());
    an_iwf_leaves_with_its_stream => forked("interworking_leave = \"streams\"", "near_loses_a_stream", "isf_loses_one", vec![Vec::new()]);
    an_iwf_leaves_and_ends_the_session => forked("interworking_leave = \"session\"", "near_loses_all", "isf_ends_all", vec![Vec::new()]);
    another_device_is_invited => Procedure {
        policy: "".into(),
        device: Some("device"),
        calls: vec![reason("SIP;cause=200")],
        ..Procedure::new("near_with_tablet", "far_is_left")
    };
    a_device_that_still_rings_is_cancelled => Procedure {
        policy: "".into(),
        device: Some("far_is_cancelled"),
        calls: vec![reason("SIP;cause=200")],
        ..Procedure::new("near_with_tablet", "far_is_left")
    };
    the_isf_is_asked_after_a_404 => Procedure {
        policy: "interworking_after = [404]\ndirect_delivery = false".into(),
        isf: Some("far_is_left"),
        calls: vec![[reason("SIP;cause=200"), vec![("CODE", "404".to_owned())]].concat()],
        ..Procedure::new("near_leaves", "far_refuses")
    };
    nobody_needs_pf_and_it_is_a_proxy => Procedure {
        policy: PROXY.into(),
        ..Procedure::new("near_proxied", "far_proxied")
    };
    through_the_proxy_the_caller_changes_the_session => Procedure {
        policy: PROXY.into(),
        calls: ["INVITE", "UPDATE"].map(|method| seen(changed_by(method), "FAR_HOST", "NEAR_HOST")).into(),
        ..Procedure::new("near_changes", "far_is_changed")
    };
    through_the_proxy_the_far_end_changes_the_session => Procedure {
        policy: PROXY.into(),
        calls: ["INVITE", "UPDATE"].map(|method| seen(changed_back_by(method), "FAR_HOST", "NEAR_HOST")).into(),
        ..Procedure::new("near_is_changed", "far_changes")
    };
    through_the_proxy_the_far_end_leaves => Procedure {
        policy: PROXY.into(),
        calls: reasons(),
        ..Procedure::new("near_is_left", "far_leaves")
    };
    through_the_proxy_the_far_end_refuses => Procedure {
        policy: PROXY.into(),
        calls: refusals(),
        ..Procedure::new("near_hears_of_failure", "far_refuses")
    };
    through_the_proxy_the_caller_cancels => Procedure {
        policy: PROXY.into(),
        ..Procedure::new("near_cancels", "far_is_cancelled")
    };
}

/// The INVITE is answered with this warning.
fn refused(policy: &str, warning: &str, header: &str) -> Procedure {
    Procedure {
        policy: policy.into(),
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
    let words = vec![("HOW", method.to_owned()), ("CHANGE_OK", ok), ("CHANGE_ACK", ack.to_owned())];
    seen(words, "PF_HOST", "PF_HOST")
}

/// The same, asked for by the far end.
fn changed_back_by(method: &str) -> Words {
    let (acked, ack) = match method {
        "INVITE" => ("<recv request=\"ACK\"/>", "<?use ack_back CSEQ=1?>"),
        _ => ("", ""),
    };
    let words = [("HOW", method), ("ACKED", acked), ("ACK_BACK", ack)];
    seen(words.map(|(word, text)| (word, text.to_owned())).into(), "PF_HOST", "PF_HOST")
}

/// Whose MSRP path each side sees.
fn seen(words: Words, near: &str, far: &str) -> Words {
    [vec![("NEAR_SEES", near.to_owned()), ("FAR_SEES", far.to_owned())], words].concat()
}

/// Something that is said in the dialog; a REFER says to whom.
fn said(method: &str) -> Words {
    vec![("HOW", method.to_owned()), ("CHECKED", (method == "REFER").to_string())]
}

/// A change that is refused: an INVITE has an ACK.
fn refused_by(method: &str) -> Words {
    let (ack, acked) = match method {
        "INVITE" => ("<?use ack_of_refusal CSEQ=2?>", "<recv request=\"ACK\"/>"),
        _ => ("", ""),
    };
    [("HOW", method), ("REFUSAL_ACKED", acked), ("REFUSAL_ACK", ack)]
        .map(|(word, text)| (word, text.to_owned()))
        .into()
}

/// The same, and a BYE without Reason.
fn without_reason_for(method: &str) -> Words {
    [refused_by(method), without_reason()].concat()
}

/// The far end does not know its user, and two interworking functions take a stream each.
fn forked(leave: &str, near: &'static str, isf: &'static str, calls: Vec<Words>) -> Procedure {
    let second = "\nm=message 9 TCP/MSRP *\na=accept-types:message/cpim\na=accept-wrapped-types:text/plain\n\
                  a=path:msrp://[local_ip]:9/second;tcp\na=setup:active";
    let words: Words = [("CODE", "404"), ("SECOND_STREAM", second), ("REJECTED", "\nm=message 0 TCP/MSRP *")]
        .map(|(word, text)| (word, text.to_owned()))
        .into();
    Procedure {
        policy: format!("interworking_after = [404]\ndirect_delivery = false\n{leave}"),
        isf: Some(isf),
        calls: calls.into_iter().map(|call| [call, words.clone()].concat()).collect(),
        ..Procedure::new(near, "far_refuses")
    }
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
    let (allowed, acked, ok) = match method {
        "INVITE" => {
            let (answer, acked) =
                ("accept WHO=bob | TAG= | VERSION=1 | TYPES=text/plain", "<recv request=\"ACK\"/>");
            ("", acked, format!("<?use {answer} | {timer}?>{acked}"))
        }
        _ => (", UPDATE", "", format!("<?use ok {timer}?>")),
    };
    let words = [("HOW", method), ("ALLOWED", allowed), ("BUSY_ACKED", acked), ("CHANGE_OK", &ok)];
    Procedure {
        policy: "session_expires = 90\ndirect_delivery = false".into(),
        calls: vec![words.map(|(word, text)| (word, text.to_owned())).into()],
        limit: Duration::from_secs(90),
        ..Procedure::new("near_expires", "far_is_refreshed")
    }
}

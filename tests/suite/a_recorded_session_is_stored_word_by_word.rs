//! What is said in a recorded session is in the store: each message of both directions once, in order and octet by
//! octet, whoever carried it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Scene, SceneOptions},
    msrp::{Answer, Flag, Frame, Head, Incoming, Outgoing},
    path::{Faults, Way},
    store::Journal,
    wait::{QUIET, SOON},
};
use serde_json::Value;

use crate::fast::{diagnosis, fast, fast_on, open_minded, shares};

/// A user who wants the history recorded, and one other device.
pub(crate) fn recorded(store: &str) -> SceneOptions {
    SceneOptions {
        devices: vec!["UE-A", "UE-B"],
        user: "allow_offline_storage = true".into(),
        store: format!("kind = \"journal\"\nwait_seconds = 15\n{store}"),
        ..SceneOptions::default()
    }
}

/// The messages in the journal that went this way.
fn stored(journal: &Journal, direction: &str) -> Result<Vec<Value>> {
    let records = journal.records()?.into_iter();
    Ok(records.filter(|r| r["object"] == "chat-message" && r["direction"] == direction).collect())
}

/// The octets of a record.
fn octets(record: &Value) -> Result<Vec<u8>> {
    if let Some(text) = record["content"].as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let digits = record["content_hex"].as_str().with_context(|| format!("no content: {record}"))?;
    let pair = |at| u8::from_str_radix(digits.get(at..at + 2).unwrap_or_default(), 16).context("digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// The journal has exactly these messages of one direction, in this order.
pub(crate) fn compare(journal: &Journal, direction: &str, said: &[Outgoing], call: &Call) -> Result<()> {
    let records = stored(journal, direction)?;
    let ids: Vec<&str> = records.iter().filter_map(|record| record["message_id"].as_str()).collect();
    let expected: Vec<&str> = said.iter().map(|message| message.message_id.as_str()).collect();
    ensure!(ids == expected, "{direction}: {} of {}: {ids:?}, {expected:?}", ids.len(), expected.len());
    let mut last = "";
    for (record, message) in records.iter().zip(said) {
        ensure!(octets(record)? == message.body, "{direction}: altered: {record}");
        ensure!(record["content_type"] == message.content_type.as_str() && record["byte_range"].is_null());
        ensure!(record["user"] == Scene::ALICE);
        for (field, header) in [("conversation", "Conversation-ID"), ("session", "Contribution-ID")] {
            ensure!(record[field] == call.invite.required(header)?, "{field}");
        }
        let text = String::from_utf8_lossy(&message.body);
        let imdn = text.lines().find_map(|line| line.strip_prefix("imdn.Message-ID: "));
        ensure!(record["imdn_message_id"].as_str() == imdn, "{record}");
        let time = record["time"].as_str().context("no time")?;
        ensure!(time > last, "each is later than the one before");
        last = time;
    }
    Ok(())
}

/// Every third message is the far end's; now and then one comes in chunks, and one is no text.
pub(crate) async fn talk(a: &Call, far: &Call, count: usize) -> Result<[Vec<Outgoing>; 2]> {
    let mut said = [Vec::new(), Vec::new()];
    for number in 0..count {
        let who = usize::from(number % 3 == 2);
        let (from, to) = [(a, Scene::BOB), (far, Scene::ALICE)][who];
        let text = format!("message {number} {}", "x".repeat(number * 37 % 700));
        let message = Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, to, &text) };
        let message = match number % 50 {
            20 => Outgoing { explicit_end: false, ..message.chunked(300) },
            30 => {
                Outgoing { explicit_end: true, ..Outgoing::new("message/cpim", vec![b'F', 0xff, 0, b'\n']) }
            }
            _ => message,
        };
        from.media.send(&message).await?.accepted(SOON).await.with_context(|| format!("message {number}"))?;
        said[who].push(message);
    }
    Ok(said)
}

pub(crate) async fn hang_up(a: &mut Call, far: &mut Call) -> Result<()> {
    let (bye, ends) = tokio::join!(a.dialog.bye(None), far.hung_up());
    assert_eq!(bye?.code(), 200);
    ends.map(drop)
}

async fn word_by_word(scene: &Scene, count: usize) -> Result<()> {
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far, _others) = scene.full_call_with(&open_minded()).await?;
    let mut said = talk(&a, &far, count).await.with_context(|| diagnosis(scene))?;
    let shown = scene.pf.cli_json("sessions")?;
    assert_eq!(shown[0]["recorded"], true);
    let legs = scene.pf.cli_json("legs")?;
    for (role, said) in [("originator", &said[0]), ("far", &said[1])] {
        let leg = legs.as_array().context("no legs")?.iter().find(|leg| leg["role"] == role).context(role)?;
        assert_eq!((&leg["recorded"], &leg["counters"]["recorded"]), (&true.into(), &said.len().into()));
    }
    // One more, at the last moment.
    let last = Outgoing { explicit_end: true, ..Outgoing::chat(Scene::ALICE, Scene::BOB, "bye") };
    a.media.send(&last).await?.accepted(SOON).await?;
    said[0].push(last);
    // All of it is in the store before the end is confirmed.
    hang_up(&mut a, &mut far).await?;
    let kinds = journal.kinds()?;
    assert_eq!(kinds.first().map(String::as_str), Some("session-info"));
    assert_eq!(kinds.last().map(String::as_str), Some("session-end"));
    compare(&journal, "sent", &said[0], &a)?;
    compare(&journal, "received", &said[1], &a)?;
    let recording = scene.pf.cli_json("stats")?["recording"].clone();
    assert_eq!((&recording["messages"], &recording["lost"]), (&(count + 1).into(), &0.into()));
    scene.verify()
}

#[tokio::test]
async fn a_recorded_session_is_stored_word_by_word() -> Result<()> {
    let scene = Scene::start(SceneOptions { fast_path: "off", ..recorded("") }).await?;
    word_by_word(&scene, 100).await
}

#[tokio::test]
async fn a_recorded_session_stays_in_the_kernel() -> Result<()> {
    let Some(scene) = fast(recorded("")).await? else { return Ok(()) };
    word_by_word(&scene, 500).await?;
    let (kernel, passed) = shares(&scene)?;
    ensure!(
        kernel * 10 > (kernel + passed) * 9,
        "{kernel} in the kernel, {passed} not\n{}",
        diagnosis(&scene)
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_recorded_that_nobody_wants_recorded() -> Result<()> {
    let options = SceneOptions { user: "allow_offline_storage = false".into(), ..recorded("") };
    let scene = Scene::start(options).await?;
    let (mut a, mut far, _others) = scene.full_call().await?;
    talk(&a, &far, 10).await?;
    assert_eq!(scene.pf.cli_json("sessions")?[0]["recorded"], false);
    hang_up(&mut a, &mut far).await?;
    assert!(Journal::of(&scene.pf).records()?.is_empty());
    assert_eq!(scene.pf.cli_json("stats")?["media"]["recorded"], 0);
    scene.verify()
}

/// A chunk of `message`: octets from `first` to `last`, counted from 1.
fn chunk(call: &Call, message: &Outgoing, first: usize, last: usize, flag: Flag) -> Frame {
    let head = Head::request("SEND", &lab::token(8), &call.media.remote.join(" "), &call.media.uri)
        .with("Message-ID", &message.message_id)
        .with("Byte-Range", format!("{first}-{last}/{}", message.body.len()))
        .with("Content-Type", &message.content_type);
    Frame::with_body(head, message.body.slice(first - 1..last), flag)
}

// Rows: MED-01
#[tokio::test]
async fn chunks_out_of_order_that_overlap_are_one_message() -> Result<()> {
    let scene = Scene::start(recorded("recorded_octets = 1024")).await?;
    let journal = Journal::of(&scene.pf);
    let (mut a, mut far) = scene.call().await?;
    far.media.script(|_| Answer::Apart(200));
    let text: String = (0..60).map(|n| format!("line {n}\r\n")).collect();
    let message = Outgoing::chat(Scene::ALICE, Scene::BOB, &text);
    let length = message.body.len();
    assert!((400..1024).contains(&length));
    let before = journal.grown_to(1).await?.len();
    // The last chunk first; the first and the second one have octets in common, and so have the second and the last.
    for (first, last, flag) in [(301, length, Flag::End), (1, 150, Flag::More), (101, 320, Flag::More)] {
        assert_eq!(journal.records()?.len(), before, "stored when it is whole");
        let answer = a.media.request(&chunk(&a, &message, first, last, flag)).await?;
        assert_eq!(tokio::time::timeout(SOON, answer).await??.code(), 200);
        // Forwarding waits for no other chunk.
        let Incoming::Request(frame) = far.media.next(SOON).await? else { anyhow::bail!("no chunk") };
        assert_eq!(frame.body.as_deref(), Some(&message.body[first - 1..last]));
        tokio::time::sleep(QUIET / 8).await;
    }
    // One that its sender gives up is none; one that is larger than what is held is stored in parts.
    let given_up = Outgoing::chat(Scene::ALICE, Scene::BOB, "no, never mind");
    a.media.request(&chunk(&a, &given_up, 1, 20, Flag::More)).await?.await?;
    a.media.request(&chunk(&a, &given_up, 21, 30, Flag::Abort)).await?.await?;
    let long = Outgoing::chat(Scene::ALICE, Scene::BOB, &"long, longer ".repeat(400)).chunked(700);
    a.media.send(&long).await?.accepted(SOON).await?;
    hang_up(&mut a, &mut far).await?;
    let records = stored(&journal, "sent")?;
    let (whole, parts) = records.split_first().context("nothing")?;
    assert_eq!(whole["message_id"], message.message_id.as_str());
    assert_eq!(octets(whole)?, message.body);
    assert!(parts.len() as u64 >= long.body.len() as u64 / 1024);
    let mut joined = Vec::new();
    for part in parts {
        assert_eq!(part["message_id"], long.message_id.as_str());
        let part_octets = octets(part)?;
        let (first, last) = (joined.len() + 1, joined.len() + part_octets.len());
        assert_eq!(part["byte_range"], format!("{first}-{last}/{}", long.body.len()));
        joined.extend(part_octets);
    }
    assert_eq!(joined, long.body);
    let recording = scene.pf.cli_json("stats")?["recording"].clone();
    assert_eq!((&recording["messages"], &recording["abandoned"]), (&2.into(), &1.into()));
    scene.verify()
}

#[tokio::test]
async fn a_recorded_session_on_a_bad_link_is_stored_once() -> Result<()> {
    let Some(mut network) = lab::net::Network::for_test()? else { return Ok(()) };
    let links = ["UE-A", "FAR"];
    links.iter().for_each(|name| network.put_behind(name, 0x5eed_00ec));
    let Some(scene) = fast_on(network, recorded("")).await? else { return Ok(()) };
    let (mut a, mut far, _others) = scene.full_call_with(&open_minded()).await?;
    let mut said = talk(&a, &far, 15).await?;
    let set = |faults: Faults| -> Result<()> {
        for link in links {
            let path = scene.network()?.path(link)?;
            [Way::Out, Way::In].into_iter().for_each(|way| path.set(way, faults));
        }
        Ok(())
    };
    let delay = Duration::from_millis(1);
    set(Faults { lose_data: 30, lose_acks: 50, double: 50, reorder: 50, delay, zero_window: false })?;
    let [ours, theirs] = talk(&a, &far, 150).await.with_context(|| diagnosis(&scene))?;
    set(Faults {
        lose_data: 0,
        lose_acks: 0,
        double: 0,
        reorder: 0,
        delay: Duration::ZERO,
        zero_window: false,
    })?;
    said[0].extend(ours);
    said[1].extend(theirs);
    assert!(shares(&scene)?.0 > 0, "nothing in the kernel\n{}", diagnosis(&scene));
    hang_up(&mut a, &mut far).await?;
    let journal = Journal::of(&scene.pf);
    compare(&journal, "sent", &said[0], &a)?;
    compare(&journal, "received", &said[1], &a)
}

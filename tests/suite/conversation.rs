//! Conversations that can be had twice, octet by octet: who says what, in how many pieces, and what happens meanwhile.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use lab::{
    actor::{Call, Invited, Scene},
    msrp::{Endpoint, Outgoing},
    wait::{QUIET, SOON},
};

use crate::{
    fast::{PAUSE, diagnosis, open_minded, rounds, shares},
    sessions_change_on_the_way::{accept, changed, re_invite},
};

/// Somebody says something.
#[derive(Clone)]
pub(crate) struct Line {
    /// 0: the originator, 1: the far end, 2: the device that joins late.
    who: usize,
    message: Outgoing,
    /// The next line waits for its answer.
    waits: bool,
    /// Each frame is written in so many pieces.
    pieces: usize,
}

/// Part of a conversation.
#[derive(Clone)]
pub(crate) enum Part {
    /// One line after the other.
    Talk(Vec<Line>),
    /// The originator talks until the kernel carries at least so many of [`TRIED`] messages.
    Settle(u64),
    /// The last device accepts while the originator says this.
    Join(Vec<Line>),
    /// The originator negotiates anew while it says this.
    Change(Vec<Line>),
    /// The first device leaves.
    Leave,
}

/// Messages of a try to settle.
pub(crate) const TRIED: u64 = 30;
/// Between two pieces of a frame.
const BETWEEN: Duration = Duration::from_millis(2);

/// Seeded dice, and the number of the next line.
pub(crate) struct Dice(u32, usize);

impl Dice {
    pub(crate) fn new(seed: u32) -> Dice {
        Dice(seed | 1, 0)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % sides
    }

    /// As people, and some programs, talk: mostly short messages, some that are not for the kernel.
    fn line(&mut self, who: usize) -> Line {
        let number = self.1;
        self.1 += 1;
        let most = if self.roll(20) == 0 { 8 } else { 5 };
        let size = [5, 30, 200, 600, 900, 1_200, 3_000, 9_000][self.roll(most)];
        let text = format!("{number} {}", "-wonderland-".repeat(size / 12));
        let mut message = Outgoing::chat(Scene::ALICE, Scene::BOB, &text);
        message.message_id = format!("m{who}-{number:05}");
        message.explicit_end = self.roll(40) != 0;
        message.chunk = if self.roll(40) == 0 { 500 } else { 65_536 };
        if self.roll(30) == 0 {
            message.failure_report = Some("no".to_owned());
        }
        if self.roll(40) == 0 {
            message.headers.push(("X-Mood".to_owned(), "curious".to_owned()));
        }
        let pieces = if self.roll(25) == 0 { 2 + self.roll(2) } else { 1 };
        // Some are in a hurry.
        Line { who, message, waits: self.roll(20) != 0, pieces }
    }

    fn monologue(&mut self, lines: usize) -> Vec<Line> {
        (0..lines).map(|_| self.line(0)).collect()
    }

    /// Of originator and far end, and now and then of the device that joined late.
    fn talk(&mut self, lines: usize, device: bool) -> Part {
        let mut who = || if device && self.roll(40) == 0 { 2 } else { self.roll(2) };
        let who: Vec<usize> = (0..lines).map(|_| who()).collect();
        Part::Talk(who.into_iter().map(|who| self.line(who)).collect())
    }

    /// So many lines, with a device that joins late, one that leaves (the same where there is only one), and a change of
    /// the session. Before each talk, the kernel must get hold of so many of [`TRIED`] messages, if it serves so many
    /// devices beside the originator.
    pub(crate) fn script(&mut self, lines: usize, others: usize, most: usize, kernel: u64) -> Vec<Part> {
        let settle = |others: usize| (others <= most).then_some(Part::Settle(kernel));
        let mut parts = vec![self.talk(lines / 10, false), Part::Join(self.monologue(8))];
        parts.extend(settle(others));
        parts.extend([self.talk(lines * 3 / 10, true), Part::Change(self.monologue(12))]);
        parts.extend(settle(others));
        parts.extend([self.talk(lines * 3 / 10, true), Part::Leave]);
        parts.extend(settle(others - 1));
        parts.push(self.talk(lines * 3 / 10, others > 1));
        parts
    }
}

/// What a leg got from one sender, in order: per message its id, its chunks without paths, its body.
pub(crate) type Heard = BTreeMap<char, Vec<(String, Vec<String>, Vec<u8>)>>;

async fn say(endpoint: &Endpoint, line: &Line) -> Result<()> {
    let mut answers = Vec::new();
    let id = &line.message.message_id;
    for (nth, mut frame) in
        line.message.frames(&endpoint.remote.join(" "), &endpoint.uri).into_iter().enumerate()
    {
        frame.head.tid = format!("t{id}-{nth}");
        let octets = frame.encode().len();
        // Never at the same place.
        let end = |nth: usize| octets * nth / line.pieces - (id.len() * 7 + octets) % (octets / line.pieces);
        let ends: Vec<usize> = (1..line.pieces).map(|nth| end(nth).max(nth)).collect();
        answers.push(endpoint.request_in_pieces(&frame, &ends, BETWEEN).await?);
    }
    if line.message.failure_report.is_none() && line.waits {
        for answer in answers {
            let code = tokio::time::timeout(SOON, answer).await.context("no answer in time")??.code();
            ensure!(code == 200, "{id} answered {code}");
        }
    }
    Ok(())
}

async fn says(endpoint: &Endpoint, lines: &[Line]) -> Result<()> {
    for line in lines {
        say(endpoint, line).await?;
    }
    Ok(())
}

/// Everybody, and what was said.
struct Talk<'a> {
    scene: &'a Scene,
    a: Call,
    far: Call,
    others: Vec<Call>,
    ringing: Option<Invited>,
    /// Lines of originator, far end, device.
    said: [usize; 3],
    left: Option<Heard>,
}

impl<'a> Talk<'a> {
    async fn start(scene: &'a Scene) -> Result<Talk<'a>> {
        let (a, far) = scene.call().await?;
        let (mut others, mut ringing) = (Vec::new(), None);
        for (number, device) in scene.devices.iter().enumerate().skip(1) {
            let invited = device.invited(SOON).await?;
            if number + 1 == scene.devices.len() {
                ringing = Some(invited);
                break;
            }
            let call = invited.accept_with(&open_minded(), |_| {}).await?;
            call.media.ready(SOON).await.with_context(|| device.name.clone())?;
            others.push(call);
        }
        Ok(Talk { scene, a, far, others, ringing, said: [0; 3], left: None })
    }

    async fn lines(&mut self, lines: &[Line]) -> Result<()> {
        for (number, line) in lines.iter().enumerate() {
            let who = match line.who {
                0 => &self.a,
                1 => &self.far,
                _ => self.others.last().context("nobody to talk")?,
            };
            let said = say(&who.media, line).await;
            said.with_context(|| format!("{}\n{}", line.message.message_id, diagnosis(self.scene)))?;
            self.said[line.who] += 1;
            if number % 60 == 59 {
                // Time to fall asleep.
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        Ok(())
    }

    /// Gives what it took.
    async fn settle(&mut self, dice: &mut Dice, least: u64) -> Result<Vec<Line>> {
        let mut all = Vec::new();
        for _ in rounds() {
            let before = shares(self.scene)?.0;
            for _ in 0..TRIED {
                let message = Outgoing { explicit_end: true, failure_report: None, ..dice.line(0).message };
                let body = message.body.slice(..message.body.len().min(1_000));
                let message = Outgoing { chunk: 65_536, headers: Vec::new(), body, ..message };
                let line = Line { who: 0, message, waits: true, pieces: 1 };
                self.lines(std::slice::from_ref(&line)).await?;
                all.push(line);
            }
            if shares(self.scene)?.0 - before >= least {
                return Ok(all);
            }
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::bail!("not in the kernel\n{}", diagnosis(self.scene))
    }

    async fn join(&mut self, lines: &[Line]) -> Result<()> {
        let ringing = self.ringing.take().context("nobody rings")?;
        let joining = async {
            let call = ringing.accept_with(&open_minded(), |_| {}).await?;
            call.media.ready(SOON).await?;
            Ok(call)
        };
        let (call, ()) = tokio::try_join!(joining, says(&self.a.media, lines))?;
        self.said[0] += lines.len();
        self.others.push(call);
        Ok(())
    }

    async fn change(&mut self, lines: &[Line]) -> Result<()> {
        let offer = changed(&self.a.invite.body)?;
        let request = re_invite(&mut self.a, offer);
        let number = request.cseq();
        let mut tx = self.a.dialog.send(request).await?;
        let (a, far, others) = (&self.a, &mut self.far, &mut self.others);
        let changing = async {
            for call in [far].into_iter().chain(others) {
                let at = call.dialog.expect("INVITE", SOON).await?;
                accept(call, &at, changed(&call.answer.body)?).await?;
                if call.party.name == "FAR" {
                    ensure!(tx.last(SOON).await?.code() == 200, "refused");
                    a.dialog.ack(number, None).await?;
                }
                at.acked(SOON).await?;
            }
            Ok(())
        };
        tokio::try_join!(changing, says(&a.media, lines))?;
        self.said[0] += lines.len();
        Ok(())
    }

    async fn leave(&mut self) -> Result<()> {
        let own = if self.others.len() == 1 { self.said[2] } else { 0 };
        let expected = self.said.iter().sum::<usize>() - own;
        let mut first = self.others.remove(0);
        self.left = Some(hear(&mut first, expected).await?);
        first.hang_up().await
    }

    /// What every leg has heard: originator, far end, who left, the others.
    async fn end(mut self) -> Result<Vec<Heard>> {
        let all: usize = self.said.iter().sum();
        let mut heard = vec![
            hear(&mut self.a, all - self.said[0]).await?,
            hear(&mut self.far, all - self.said[1]).await?,
            self.left.context("nobody left")?,
        ];
        let last = self.others.len();
        for (nth, other) in self.others.iter_mut().enumerate() {
            let own = if nth + 1 == last { self.said[2] } else { 0 };
            heard.push(hear(other, all - own).await?);
        }
        self.scene.verify()?;
        Ok(heard)
    }
}

async fn hear(call: &mut Call, expected: usize) -> Result<Heard> {
    let mut heard = Heard::new();
    for number in 0..expected {
        let name = call.party.name.clone();
        let got =
            call.media.message(SOON).await.with_context(|| format!("{name}: {number} of {expected}"))?;
        let chunks = got.chunks.iter().map(|head| {
            let headers = head.headers.iter().filter(|(name, _)| !name.ends_with("-Path"));
            format!("{} {:?} {:?}", head.tid, head.kind, headers.collect::<Vec<_>>())
        });
        let sender = got.message_id.chars().nth(1).context("no sender")?;
        heard.entry(sender).or_default().push((got.message_id.clone(), chunks.collect(), got.body.to_vec()));
    }
    call.media.quiet(QUIET / 4).await?;
    Ok(heard)
}

/// Has the conversation; gives what every leg heard, and the conversation as it was: with what it took to settle.
pub(crate) async fn have(
    scene: &Scene,
    parts: Vec<Part>,
    dice: &mut Dice,
) -> Result<(Vec<Heard>, Vec<Part>)> {
    let mut talk = Talk::start(scene).await?;
    let mut had = Vec::new();
    for part in parts {
        let number = had.len();
        let done = match &part {
            Part::Talk(lines) => talk.lines(lines).await,
            Part::Join(lines) => talk.join(lines).await,
            Part::Change(lines) => talk.change(lines).await,
            Part::Leave => talk.leave().await,
            Part::Settle(least) => {
                had.push(Part::Talk(talk.settle(dice, *least).await?));
                continue;
            }
        };
        done.with_context(|| format!("part {number}"))?;
        had.push(part);
    }
    Ok((talk.end().await?, had))
}

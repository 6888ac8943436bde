//! What the demo shows at its end.

use std::{io::Write, time::Duration};

use anyhow::Result;
use serde::Serialize;

use super::{kernel::Carried, receiver::Tally};
use crate::table::table;

/// One receiver.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) device: &'static str,
    invited: bool,
    answered: &'static str,
    received: usize,
    octets: u64,
    verified: usize,
    lost: usize,
    duplicated: usize,
    reordered: usize,
    altered: usize,
    p50_microseconds: Option<u128>,
    p99_microseconds: Option<u128>,
    /// Share of its SENDs that never left the kernel, in percent.
    in_kernel_percent: Option<f64>,
    /// The same of the chat alone.
    chat_in_kernel_percent: Option<f64>,
    fault: Option<String>,
    good: bool,
}

/// The whole of it.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) fast_path: &'static str,
    pub(super) messages: usize,
    pub(super) octets: u64,
    pub(super) seconds: f64,
    /// Messages that UE-A heard to be accepted.
    pub(super) accepted: usize,
    pub(super) devices: Vec<Line>,
    pub(super) ladder: String,
    pub(super) fault: Option<String>,
}

impl Line {
    /// `whole`: it must have got all of `expected`; else whatever it got must be right.
    pub(super) fn new(
        device: &'static str,
        answered: &'static str,
        tally: &Tally,
        expected: usize,
        whole: bool,
    ) -> Line {
        let mut latencies = tally.latencies.clone();
        latencies.sort_unstable();
        let lost = if whole { expected.saturating_sub(tally.received) } else { 0 };
        Line {
            device,
            invited: true,
            answered,
            received: tally.received,
            octets: tally.octets,
            verified: tally.verified,
            lost,
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            altered: tally.altered,
            p50_microseconds: percentile(&latencies, 50),
            p99_microseconds: percentile(&latencies, 99),
            in_kernel_percent: None,
            chat_in_kernel_percent: None,
            fault: tally.fault.clone(),
            good: lost + tally.duplicated + tally.reordered + tally.altered == 0
                && tally.verified == tally.received
                && tally.fault.is_none(),
        }
    }
}

impl Report {
    pub(super) fn good(&self) -> bool {
        self.fault.is_none() && self.accepted == self.messages && self.devices.iter().all(|line| line.good)
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<()> {
        let rows: Vec<Vec<String>> = self
            .devices
            .iter()
            .map(|line| {
                let time = |value: Option<u128>| {
                    value.map_or("-".to_owned(), |us| format!("{:.2}", us as f64 / 1_000.0))
                };
                vec![
                    line.device.to_owned(),
                    if line.invited { "yes" } else { "no" }.to_owned(),
                    line.answered.to_owned(),
                    line.received.to_string(),
                    line.octets.to_string(),
                    line.verified.to_string(),
                    time(line.p50_microseconds),
                    time(line.p99_microseconds),
                    share(line.in_kernel_percent),
                    share(line.chat_in_kernel_percent),
                    line.remark(),
                ]
            })
            .collect();
        let head = [
            "device",
            "invited",
            "answered",
            "messages",
            "octets",
            "verified",
            "p50 ms",
            "p99 ms",
            "in kernel",
            "chat in kernel",
            "result",
        ];
        write!(out, "\n{}", table(&head, &rows))?;
        writeln!(
            out,
            "\nUE-A: {} of {} messages accepted, {:.1} MB in {:.2} s",
            self.accepted,
            self.messages,
            self.octets as f64 / 1e6,
            self.seconds
        )?;
        writeln!(out, "ladder diagram: {}", self.ladder)?;
        if let Some(fault) = &self.fault {
            writeln!(out, "pf: {fault}")?;
        }
        let verdict = if self.good() {
            "nothing lost, duplicated, reordered or altered"
        } else {
            "FAILED: messages were lost, duplicated, reordered or altered"
        };
        writeln!(out, "{verdict}")?;
        Ok(())
    }
}

fn share(percent: Option<f64>) -> String {
    percent.map_or("-".to_owned(), |percent| format!("{percent:.1} %"))
}

impl Line {
    /// How much of all, and of the chat, never left the kernel.
    pub(super) fn in_kernel(&mut self, all: Option<Carried>, chat: Option<Carried>) {
        self.in_kernel_percent = all.and_then(Carried::percent);
        self.chat_in_kernel_percent = chat.and_then(Carried::percent);
    }

    fn remark(&self) -> String {
        if let Some(fault) = &self.fault {
            return fault.clone();
        }
        let counts = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.reordered, "reordered"),
            (self.altered, "altered"),
        ];
        let bad: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if bad.is_empty() { "ok".to_owned() } else { bad.join(", ") }
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<u128> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last * percent / 100).map(Duration::as_micros)
}

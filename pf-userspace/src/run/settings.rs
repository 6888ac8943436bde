//! Settings that can be changed while `pf` runs.

use std::sync::Mutex;

use crate::{
    admin::{
        Answer,
        protocol::{Change, Setting},
    },
    config::{kind::Kind, model, options},
    fastpath::{Statistics, StatisticsError},
    msrp::{Relay, Tunables},
};

/// What the settings of the fast path are now.
pub(super) struct Settings {
    tunables: tokio::sync::Mutex<Tunables>,
    statistics: Mutex<Option<Statistics>>,
}

impl Settings {
    /// As configured. Where the kernel does not measure although it should, one line in the log says so.
    pub(super) fn new(config: &model::Datapath, loaded: bool) -> Settings {
        let wanted = (config.statistics && loaded).then(Statistics::start);
        let statistics = wanted.and_then(|started| match started {
            Ok(statistics) => Some(statistics),
            Err(error) => {
                tracing::warn!("datapath.statistics: {error}");
                None
            }
        });
        Settings { tunables: tokio::sync::Mutex::new(tunables(config)), statistics: Mutex::new(statistics) }
    }

    /// Does the kernel measure its programs?
    pub(super) fn measures(&self) -> bool {
        self.held().is_some() || Statistics::sysctl()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Statistics>> {
        self.statistics.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes a setting of the fast path; gives the answer for the operator.
    pub(super) async fn set(&self, relay: &Relay, change: Change) -> Answer {
        let value = match valid(change) {
            Ok(value) => value,
            Err(message) => return Answer::Error { message },
        };
        let was = match change.key {
            Setting::Statistics => match self.measure(value != 0) {
                Ok(was) => was.into(),
                Err(error) => return Answer::Error { message: error.to_string() },
            },
            key => {
                let mut tunables = self.tunables.lock().await;
                let mut wanted = *tunables;
                let Some(place) = place(&mut wanted, key) else {
                    return Answer::Error { message: format!("{} is not of the fast path", key.name()) };
                };
                let was = std::mem::replace(place, value);
                if wanted.backoff_ms > wanted.backoff_max_ms {
                    let (first, longest) = (wanted.backoff_ms, wanted.backoff_max_ms);
                    let message = format!(
                        "datapath.backoff_ms ({first} ms) would be above datapath.backoff_max_ms ({longest} ms)"
                    );
                    return Answer::Error { message };
                }
                relay.tune(wanted).await;
                *tunables = wanted;
                was
            }
        };
        tracing::info!(setting = change.key.name(), was, now = value, "changed until the next start");
        Answer::Set { key: change.key, was: was.into(), now: value.into() }
    }

    /// Begins or ends the measurement: did it run before?
    fn measure(&self, on: bool) -> Result<bool, StatisticsError> {
        let mut held = self.held();
        let was = held.is_some();
        if on != was {
            *held = on.then(Statistics::start).transpose()?;
        }
        Ok(was)
    }
}

/// The tunables of the configuration.
pub(super) fn tunables(config: &model::Datapath) -> Tunables {
    Tunables {
        in_flight_segments: config.in_flight_segments,
        fan_out: config.fan_out,
        single_messages: config.single_messages,
        backoff_octets: config.backoff_octets,
        backoff_ms: config.backoff_ms,
        backoff_max_ms: config.backoff_max_ms,
    }
}

fn place(tunables: &mut Tunables, key: Setting) -> Option<&mut u32> {
    match key {
        Setting::InFlight => Some(&mut tunables.in_flight_segments),
        Setting::FanOut => Some(&mut tunables.fan_out),
        Setting::SingleMessages => Some(&mut tunables.single_messages),
        Setting::BackoffOctets => Some(&mut tunables.backoff_octets),
        Setting::Backoff => Some(&mut tunables.backoff_ms),
        Setting::BackoffMax => Some(&mut tunables.backoff_max_ms),
        Setting::GuardConnections | Setting::GuardPackets | Setting::Statistics => None,
    }
}

/// The value, if the option of that name could have it; of a switch 0 or 1.
pub(super) fn valid(change: Change) -> Result<u32, String> {
    let name = change.key.name();
    let (min, max, unit) = match options::find(name).map(|option| option.kind) {
        Some(Kind::Integer(min, max, unit)) => (min, max, unit),
        Some(Kind::Bool) => (0, 1, "0: off, 1: on"),
        _ => return Err(format!("{name} cannot be set")),
    };
    match u32::try_from(change.value) {
        Ok(value) if (min..=max).contains(&change.value) => Ok(value),
        _ => Err(format!("{name}: {} is not within {min} to {max} ({unit})", change.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_the_bounds_of_its_option() {
        for key in Setting::ALL {
            let change = |value| valid(Change { key, value });
            let fine = match key {
                Setting::Statistics | Setting::FanOut | Setting::InFlight => 1,
                _ => 1000,
            };
            assert_eq!(change(fine), Ok(fine as u32), "{key:?}");
            for bad in [u64::from(u32::MAX), u64::MAX] {
                let refused = change(bad).unwrap_err();
                assert!(refused.contains(key.name()) && refused.contains("is not within"), "{refused}");
            }
            assert_eq!(serde_json::to_value(key).unwrap(), key.name());
        }
        assert!(valid(Change { key: Setting::FanOut, value: 0 }).is_err());
    }

    #[test]
    fn each_setting_changes_its_own_tunable() {
        let default = Tunables::default();
        let mut seen = Vec::new();
        for key in Setting::ALL {
            let mut changed = default;
            if let Some(place) = place(&mut changed, key) {
                *place += 1;
                assert!(changed != default && !seen.contains(&changed), "{key:?}");
                seen.push(changed);
            }
        }
        assert_eq!(seen.len(), 6);
        assert_eq!(tunables(&model::Datapath::default()), default);
    }
}

//! Tests once more with the SIP of all actors over TCP.

use std::thread;

use anyhow::{Result, ensure};
use lab::sip::{Transport, over};

/// A test that plays these tests of its file with SIP over TCP.
macro_rules! the_same_over_tcp {
    ($($test:ident),+) => {
        #[test]
        fn the_same_over_tcp() -> anyhow::Result<()> {
            $crate::over_tcp::play(&[$((stringify!($test), $test)),+])
        }
    };
}
pub(crate) use the_same_over_tcp;

/// A test by its name.
type Named<'a> = (&'a str, fn() -> Result<()>);

/// Plays them beside each other, as they wait most of the time.
pub(crate) fn play(tests: &[Named<'_>]) -> Result<()> {
    let failed: Vec<String> = thread::scope(|scope| {
        let started: Vec<_> = tests
            .iter()
            .map(|(name, test)| {
                let named = thread::Builder::new().name(format!("{name}, over TCP"));
                (name, named.spawn_scoped(scope, move || over(Transport::Tcp, test)))
            })
            .collect();
        let outcomes = started.into_iter().map(|(name, thread)| (name, thread.map(|thread| thread.join())));
        outcomes
            .filter_map(|(name, outcome)| match outcome {
                Ok(Ok(Ok(()))) => None,
                Ok(Ok(Err(why))) => Some(format!("{name}: {why:?}")),
                Ok(Err(_)) => Some(format!("{name}: panicked, see above")),
                Err(why) => Some(format!("{name}: no thread: {why}")),
            })
            .collect()
    });
    ensure!(failed.is_empty(), "over TCP {} of {} failed\n{}", failed.len(), tests.len(), failed.join("\n"));
    Ok(())
}

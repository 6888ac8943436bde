//! Waiting for conditions, never for a fixed time.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result, anyhow};

/// How long a test waits for something that must happen. Long, because a loaded machine is slow and waiting ends
/// as soon as it happens.
pub const SOON: Duration = Duration::from_secs(10);

/// How long a test watches for something that must not happen.
pub const QUIET: Duration = Duration::from_millis(400);

/// Waits for `future`, at most `limit`; `what` names it in the error.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result.with_context(|| what.to_owned()),
        Err(_) => Err(anyhow!("{what}: not within {limit:?}")),
    }
}

/// Asserts that `future` does not complete within `limit`.
pub async fn never<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> Result<()> {
    match tokio::time::timeout(limit, future).await {
        Ok(_) => Err(anyhow!("{what}: happened, and must not")),
        Err(_) => Ok(()),
    }
}

/// Asks `condition` again and again until it holds, at most `limit`.
pub async fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    within(limit, what, poll).await
}

//! Waiting for something to become true, with an end.

use std::time::{Duration, Instant};

/// How long anything that has to happen may take. Generous: it is only ever used up by a failure.
pub const LONG: Duration = Duration::from_secs(30);

/// Asks every few milliseconds until there is an answer.
///
/// # Panics
/// After [`LONG`], naming `what`.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < LONG, "waited {LONG:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Gives a future [`LONG`] to end.
///
/// # Panics
/// When it doesn't, naming `what`.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("not over after {LONG:?}: {what}"),
    }
}

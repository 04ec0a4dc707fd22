//! Happy eyeballs: an endpoint with several addresses is reached at the one that answers first (RFC 8305 section 5).
//!
//! As Envoy's `HappyEyeballsConnectionImpl`: one address after the other, the next 300 ms after the last or at once when
//! one fails; whichever is connected first wins, and the others are dropped. The books see one connection.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use config::model::address::Address;
use config::model::cluster::{HappyEyeballs, IpFamily, SocketOptions};
use tokio::time::{Instant, Sleep, sleep};

use super::connect;
use super::host::Host;
use crate::error::ConnectError;
use crate::stream::Stream;

/// Between one attempt and the next, as in Envoy. RFC 8305 recommends 250 ms.
const DELAY: Duration = Duration::from_millis(300);

/// Opens a connection to a host, at any of its addresses, with no books kept and no deadline.
pub(super) async fn open(host: &Host, options: Option<&SocketOptions>) -> Result<Stream, ConnectError> {
    match (host.address(), host.additional_addresses()) {
        (Address::Socket(first), Some(detail)) => {
            let settings = options.map(|o| o.happy_eyeballs).unwrap_or_default();
            let addresses = in_order(*first, &detail.additional_addresses, settings);
            // Its state is large and few need it.
            Box::pin(race(addresses, options)).await
        }
        (address, _) => connect::open(address, options).await,
    }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send + 'a>>;

async fn race(addresses: Vec<SocketAddr>, options: Option<&SocketOptions>) -> Result<Stream, ConnectError> {
    let mut next = addresses.into_iter().map(move |address| -> Attempt<'_> {
        Box::pin(async move { connect::open(&Address::Socket(address), options).await })
    });
    let mut running: Vec<Attempt<'_>> = next.next().into_iter().collect();
    let mut failure = ConnectError::Other;
    let mut pause: Pin<Box<Sleep>> = Box::pin(sleep(DELAY));
    poll_fn(move |cx| {
        let mut at = 0;
        while let Some(attempt) = running.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                Poll::Ready(Err(error)) => {
                    failure = error;
                    drop(running.swap_remove(at));
                    if let Some(attempt) = next.next() {
                        running.push(attempt);
                        pause.as_mut().reset(Instant::now() + DELAY);
                    }
                    // What was swapped in, or the new one, has still to be polled.
                }
                Poll::Pending => at += 1,
            }
            while at == running.len() && pause.as_mut().poll(cx).is_ready() {
                let Some(attempt) = next.next() else { break };
                running.push(attempt);
                pause.as_mut().reset(Instant::now() + DELAY);
            }
        }
        if running.is_empty() { Poll::Ready(Err(failure)) } else { Poll::Pending }
    })
    .await
}

/// `count` addresses of the first family, one of the other, and so on (RFC 8305 section 4, and Envoy's
/// `HappyEyeballsConnectionProvider::sortAddresses`).
fn in_order(first: SocketAddr, additional: &[SocketAddr], settings: HappyEyeballs) -> Vec<SocketAddr> {
    let preferred = settings.first.unwrap_or_else(|| family(first));
    let all = || std::iter::once(first).chain(additional.iter().copied());
    let mut leading = all().filter(|a| family(*a) == preferred);
    let mut other = all().filter(|a| family(*a) != preferred);
    let count = usize::try_from(settings.count).unwrap_or(usize::MAX);
    let mut order = Vec::with_capacity(1 + additional.len());
    while order.len() <= additional.len() {
        order.extend(leading.by_ref().take(count));
        order.extend(other.next());
    }
    order
}

fn family(address: SocketAddr) -> IpFamily {
    match address.ip() {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}

#[cfg(test)]
#[path = "happy_tests.rs"]
mod tests;

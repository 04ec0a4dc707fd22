//! What is asked of a proxy, and what of it is measured.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bootstrap::server_name;
use crate::client::{Client, Target};
use crate::cpu;
use crate::error::Error;
use crate::order::{Order, Pattern};

/// Bytes of the answer on a connection of [`Scenario::Connections`].
pub const ANSWER: u64 = 1024;
/// Time for a proxy to do what it does behind the last byte: closing, freeing.
const SETTLE: Duration = Duration::from_millis(100);

/// The process that is measured and where it listens.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where the load goes.
    pub target: Target,
    /// Whose CPU time and memory count, descendants included.
    pub pid: u32,
    /// How many server names there are.
    pub names: u32,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Short connections: connect, hello, 1 KiB back, end. CPU time per connection.
    Connections {
        /// Connections in all.
        count: u32,
        /// Connections at a time, at least 1.
        concurrency: u32,
    },
    /// One connection that brings many bytes. CPU time per GiB.
    Bulk {
        /// Bytes from the backend to the client.
        bytes: u64,
    },
    /// One connection that takes many bytes. CPU time per GiB.
    Upload {
        /// Bytes from the client to the backend.
        bytes: u64,
    },
    /// Open connections with 64 bytes there and back, each at its own pace. CPU time per round trip.
    PingPong {
        /// Round trips of each connection.
        rounds: u32,
        /// Connections.
        connections: u32,
    },
    /// Open connections that carried one ping and then nothing. Memory per connection, of the last
    /// three quarters.
    Idle {
        /// Connections.
        connections: u32,
    },
}

impl Scenario {
    /// The sizes of a run of some seconds, divided by `divisor`.
    pub fn all(divisor: u32) -> [Self; 5] {
        let divisor = divisor.max(1);
        [
            Self::Connections { count: 4000 / divisor, concurrency: 50 },
            Self::Bulk { bytes: (1 << 30) / u64::from(divisor) },
            Self::Upload { bytes: (1 << 30) / u64::from(divisor) },
            Self::PingPong { rounds: 400 / divisor, connections: 50 },
            Self::Idle { connections: 2000 / divisor },
        ]
    }

    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections { .. } => "conn",
            Self::Bulk { .. } => "bulk",
            Self::Upload { .. } => "upload",
            Self::PingPong { .. } => "pingpong",
            Self::Idle { .. } => "idle",
        }
    }

    /// The unit of what [`Scenario::measure`] gives. Less is better in all of them.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Connections { .. } => "CPU us/connection",
            Self::Bulk { .. } | Self::Upload { .. } => "CPU ms/GiB",
            Self::PingPong { .. } => "CPU us/round trip",
            Self::Idle { .. } => "RSS KiB/connection",
        }
    }

    /// Whether it must see a process that has carried no load: freed memory is used again, so that
    /// a later measurement in the same process would find less than connections take.
    pub const fn needs_fresh_process(self) -> bool {
        matches!(self, Self::Idle { .. })
    }

    /// Does it once. Any connection that fails, and any wrong byte, is an error.
    pub async fn measure(self, subject: &Subject) -> Result<f64, Error> {
        match self {
            Self::Idle { connections } => idle(subject, connections).await,
            Self::Connections { count, concurrency } => {
                let spent = cpu_of(subject, short(subject, count, concurrency)).await?;
                Ok(micros(spent) / f64::from(count.max(1)))
            }
            Self::Bulk { bytes } => {
                let spent = cpu_of(subject, bulk(subject, bytes)).await?;
                Ok(per_gib(spent, bytes))
            }
            Self::Upload { bytes } => {
                let spent = cpu_of(subject, upload(subject, bytes)).await?;
                Ok(per_gib(spent, bytes))
            }
            Self::PingPong { rounds, connections } => {
                let mut clients = open(subject, connections).await?;
                let spent = cpu_of(subject, ping_pong(&mut clients, rounds)).await?;
                finish(clients).await?;
                Ok(micros(spent) / (f64::from(rounds.max(1)) * f64::from(connections.max(1))))
            }
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// In milliseconds.
fn per_gib(time: Duration, bytes: u64) -> f64 {
    micros(time) / 1000.0 * (1u64 << 30) as f64 / bytes.max(1) as f64
}

async fn cpu_of(subject: &Subject, work: impl Future<Output = Result<(), Error>>) -> Result<Duration, Error> {
    let before = cpu::time(subject.pid)?;
    work.await?;
    sleep(SETTLE).await;
    Ok(cpu::time(subject.pid)?.saturating_sub(before))
}

async fn short(subject: &Subject, count: u32, concurrency: u32) -> Result<(), Error> {
    let concurrency = concurrency.max(1);
    let mut tasks = JoinSet::new();
    for first in 0..concurrency.min(count) {
        let subject = subject.clone();
        tasks.spawn(async move {
            let pattern = Pattern::default();
            let mut number = first;
            while number < count {
                let mut client =
                    Client::open(&subject.target, &nth_name(&subject, number), Order::Send(ANSWER)).await?;
                client.receive(&pattern, ANSWER).await?;
                client.finish().await?;
                number += concurrency;
            }
            Ok(())
        });
    }
    all(tasks).await.map(drop)
}

async fn bulk(subject: &Subject, bytes: u64) -> Result<(), Error> {
    let mut client = Client::open(&subject.target, &nth_name(subject, 0), Order::Send(bytes)).await?;
    client.receive(&Pattern::default(), bytes).await?;
    client.finish().await
}

async fn upload(subject: &Subject, bytes: u64) -> Result<(), Error> {
    let mut client = Client::open(&subject.target, &nth_name(subject, 0), Order::Take(bytes)).await?;
    client.send(&Pattern::default(), bytes).await?;
    client.finish().await
}

async fn ping_pong(clients: &mut Vec<Client>, rounds: u32) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    for (number, mut client) in (0u64..).zip(clients.drain(..)) {
        tasks.spawn(async move {
            for round in 0..rounds {
                client.ping((number << 32) + u64::from(round)).await?;
            }
            Ok(client)
        });
    }
    clients.extend(all(tasks).await?);
    Ok(())
}

/// Memory is compared between a quarter of the connections and all of them. What a proxy allocates
/// for its first ones is not per connection, and they may find memory that its start left free.
async fn idle(subject: &Subject, connections: u32) -> Result<f64, Error> {
    let more = connections - connections / 4;
    let mut clients = open(subject, connections / 4).await?;
    sleep(SETTLE).await;
    let before = cpu::resident(subject.pid)?;
    clients.extend(open(subject, more).await?);
    sleep(SETTLE).await;
    let after = cpu::resident(subject.pid)?;
    finish(clients).await?;
    Ok((after as f64 - before as f64) / 1024.0 / f64::from(more.max(1)))
}

/// Connections through the proxy, each of which has carried a ping.
async fn open(subject: &Subject, connections: u32) -> Result<Vec<Client>, Error> {
    let mut clients = Vec::new();
    for number in 0..connections {
        let mut client = Client::open(&subject.target, &nth_name(subject, number), Order::Echo).await?;
        client.ping(u64::from(number)).await?;
        clients.push(client);
    }
    Ok(clients)
}

async fn finish(clients: Vec<Client>) -> Result<(), Error> {
    for client in clients {
        client.finish().await?;
    }
    Ok(())
}

async fn all<T: 'static>(mut tasks: JoinSet<Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut results = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        results.push(ended.map_err(|error| Error::Task(error.to_string()))??);
    }
    Ok(results)
}

fn nth_name(subject: &Subject, number: u32) -> String {
    server_name(number % subject.names.max(1))
}

#[cfg(test)]
mod tests;

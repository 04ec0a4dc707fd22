//! A connection manager, and clients that send what they like.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::model::address::Address;
use config::model::hcm::Manager;
use config::model::http_filter::{Buffer, FilterConfig, HttpFilter};
use proxy::control;
use proxy::error::CloseReason;
use proxy::http::{HttpChain, HttpConnection};
use proxy::lifecycle::drain::{Drain, Trigger};
use proxy::metrics::Registry;
use proxy::report::flow::Flow;
use proxy::report::{Sinks, sink};
use proxy::shared::{Limits, Shared};
use proxy::stream::Stream;
use proxy::upstream::Clusters;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::http::Chain;
use crate::http::chain::{Common, Node, Place};
use crate::http::routes::Book;
use crate::upstream::Pools;

pub(super) struct World {
    pub(super) chain: Arc<Chain>,
    pub(super) drain: Trigger,
    shared: Arc<Shared>,
}

/// The client's end of a connection, and what serves the other.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    served: JoinHandle<CloseReason>,
}

impl World {
    pub(super) fn new(change: impl FnOnce(&mut Manager)) -> Self {
        Self::at(Place::default(), change)
    }

    pub(super) fn at(place: Place, change: impl FnOnce(&mut Manager)) -> Self {
        let mut manager = Manager { stat_prefix: "test".into(), ..Manager::default() };
        change(&mut manager);
        let registry = Registry::new(1);
        let clusters = Clusters::new(Arc::clone(&registry), tokio::runtime::Handle::current());
        let sinks = Sinks::new(&registry, sink::Options::default());
        let shared = Shared::new(clusters, registry, sinks, Limits::default(), None);
        let manager = Arc::new(manager);
        let common = Common { pools: Pools::new(1), own_ip: IpAddr::from([192, 0, 2, 1]), node: Node::default() };
        let routes = Book::default().routes(&manager.routes);
        let chain = Chain::new(&manager, place, &shared, (&common, routes));
        tokio::spawn(async {
            loop {
                control::tick();
                tokio::time::sleep(control::TICK).await;
            }
        });
        Self { chain, drain: Drain::new().0, shared }
    }

    /// Requests with a body are answered once all of it is there.
    pub(super) fn with_waiting_requests(change: impl FnOnce(&mut Manager)) -> Self {
        Self::new(|manager| {
            let config = FilterConfig::Buffer(Buffer { max_request_bytes: 1024 });
            manager.filters = [HttpFilter { name: "buffer".into(), disabled: false, config }].into();
            change(manager);
        })
    }

    pub(super) fn connect(&self) -> Client {
        let (near, far) = UnixStream::pair().unwrap();
        let control = control::Registered::new();
        let connection = HttpConnection {
            stream: Stream::Unix(far),
            head: Box::default(),
            flow: Arc::new(Flow::new(1, None, Address::Socket(([127, 0, 0, 1], 80).into()))),
            shared: Arc::clone(&self.shared),
            stats: self.shared.registry.listener("test"),
            control: control.share(),
            drain: self.drain.watch(),
        };
        let chain = Arc::clone(&self.chain);
        let served = tokio::spawn(async move {
            let _control = control;
            chain.serve(connection).await
        });
        Client { stream: near, served }
    }
}

impl Client {
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One answer without a body, or with one of the length it says.
    pub(super) async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            let mut byte = [0];
            if timeout(LONG, self.stream.read(&mut byte)).await.expect("an answer").unwrap() == 0 {
                return String::from_utf8(text).unwrap();
            }
            text.push(byte[0]);
            if text.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let mut text = String::from_utf8(text).unwrap();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body).await.unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
        text
    }

    /// Everything until the connection's end.
    pub(super) async fn rest(&mut self) -> String {
        let mut text = String::new();
        timeout(LONG, self.stream.read_to_string(&mut text)).await.expect("an end").unwrap();
        text
    }

    /// The end of what serves it, whose client stays.
    pub(super) async fn served(&mut self) -> CloseReason {
        timeout(LONG, &mut self.served).await.expect("an end").unwrap()
    }

    pub(super) async fn ended(self) -> CloseReason {
        let Self { stream, served } = self;
        drop(stream);
        timeout(LONG, served).await.expect("an end").unwrap()
    }
}

const LONG: Duration = Duration::from_secs(10);

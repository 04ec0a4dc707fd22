//! One request on its way through the engine.

use std::fmt;
use std::sync::Arc;

use proxy::report::http::HttpFlow;
use proxy::shared::Shared;

use super::chain::Chain;
use crate::filter::States;
use crate::route::{Match, Table};
use crate::trace::Span;

/// One request and its answer.
pub struct Exchange {
    /// What is known of it; the head is in `flow.request`.
    pub flow: HttpFlow,
    /// The connection manager that took it.
    pub chain: Arc<Chain>,
    /// The routes in force when it came.
    pub table: Option<Arc<Table>>,
    /// Its route; `None`: there is none.
    pub matched: Option<Match>,
    /// What filters keep for the answer.
    pub states: States,
    /// Its span; `None`: none is made.
    pub span: Option<Span>,
    /// One random number: it chooses weighted clusters and fractions.
    pub random: u64,
    /// Where the client's bytes go after an upgrade or CONNECT; taken by who answers it with success.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// The endpoint's side, once it has agreed to an upgrade or CONNECT.
    pub tunnel: Option<crate::upstream::Tunnel>,
    /// What all connections share.
    pub shared: Arc<Shared>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.flow.id)
            .field("path", &self.flow.request.path)
            .finish_non_exhaustive()
    }
}

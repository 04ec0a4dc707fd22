//! The exchange: one request at a time, again and again until it works, is refused, or the time is over.

use std::error::Error as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use tracing::{info, warn};

use super::super::{Bootstrap, BootstrapError, envoy};
use super::ControlPlane;
use super::request::Request;
use super::roots::{RootsError, ServerTrust};
use crate::verify::explain;
use crate::xds::token::TokenError;

/// For one attempt, as kuma-dp.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A bootstrap is some 10 KiB.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What the control plane answered.
#[derive(Debug)]
pub struct Fetched {
    /// Understood.
    pub bootstrap: Bootstrap,
    /// What else it said.
    pub sidecar: Sidecar,
}

/// `kumaSidecarConfiguration`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sidecar {
    networking: Networking,
    metrics: MetricsConfig,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Networking {
    address: String,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct MetricsConfig {
    aggregate: Option<Vec<Aggregate>>,
}

/// An application whose metrics are to be merged with ours (`Mesh.metrics`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Aggregate {
    /// For people.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Its port.
    pub port: u32,
    /// Path of its metrics.
    pub path: String,
}

impl Sidecar {
    /// `networking.address` of the Dataplane; empty for zone proxies of 2.x.
    pub fn address(&self) -> &str {
        &self.networking.address
    }

    /// Applications to scrape.
    pub fn aggregate(&self) -> &[Aggregate] {
        self.metrics.aggregate.as_deref().unwrap_or_default()
    }
}

/// Why there is no bootstrap, for good.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// `--cp-address`.
    #[error("the address of the control plane, {url:?}, is not a URL: {reason}")]
    Url {
        /// As given.
        url: String,
        /// The parser's words.
        reason: String,
    },
    /// Neither http nor https.
    #[error("unsupported URL scheme {0:?}, must be http or https")]
    Scheme(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    /// The control plane says that the request is wrong.
    #[error("Invalid request: {0}")]
    Invalid(String),
    /// Tried long enough.
    #[error("no answer from {url} within {after:?}; the last attempt: {last}")]
    OutOfTime {
        /// Where.
        url: String,
        /// `KUMA_CONTROL_PLANE_RETRY_MAX_DURATION`.
        after: Duration,
        /// What happened last.
        last: Refusal,
    },
    /// The answer is none.
    #[error("the control plane's answer is not what /bootstrap answers: {0}")]
    Answer(String),
    /// The answer's bootstrap is not to be used.
    #[error("the control plane's {0}")]
    Bootstrap(#[from] BootstrapError),
}

/// Why one attempt failed. All of these are tried again.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// 404, empty.
    #[error(
        "Dataplane entity not found. On Universal, pass the resource with --dataplane-file or create it on the control \
         plane before; on Kubernetes, look into the control plane's log for why the Pod was not converted"
    )]
    NotFound,
    /// 404 of another server.
    #[error(
        "There is no /bootstrap endpoint for provided CP address. Double check if the address passed to the CP has a \
         DP Server port (5678 by default), not HTTP API (5681 by default)"
    )]
    WrongPort,
    /// Another status.
    #[error("unexpected status code: {0}; make sure that this is a zone control plane, not the global one")]
    Status(u16),
    /// No answer.
    #[error("request to bootstrap server failed: {0}")]
    Transport(String),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

enum Attempt {
    Again(Refusal),
    Final(FetchError),
}

/// Asks until there is an answer. Ends at once when the request itself is wrong (4xx but 404).
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch(control_plane: &ControlPlane, request: &Request) -> Result<Fetched, FetchError> {
    let url = bootstrap_url(&control_plane.url)?;
    let client = client(&control_plane.trust, &url)?;
    let started = Instant::now();
    loop {
        info!(%url, "asking the control plane for a bootstrap");
        let refusal = match attempt(&client, &url, request).await {
            Ok(body) => return understand(&body),
            Err(Attempt::Final(error)) => return Err(error),
            Err(Attempt::Again(refusal)) => refusal,
        };
        let left = control_plane.patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            let (url, after) = (url.to_string(), control_plane.patience);
            return Err(FetchError::OutOfTime { url, after, last: refusal });
        }
        let pause = control_plane.backoff.min(left);
        match refusal {
            // Quite normal on Kubernetes, while the control plane is still busy with the Pod.
            Refusal::NotFound => info!(again_in = ?pause, "{refusal}"),
            _ => warn!(again_in = ?pause, "could not fetch the bootstrap: {refusal}"),
        }
        tokio::time::sleep(pause).await;
    }
}

fn bootstrap_url(text: &str) -> Result<Url, FetchError> {
    let bad = |reason: String| FetchError::Url { url: text.to_owned(), reason };
    let mut url = Url::parse(text).map_err(|e| bad(e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(FetchError::Scheme(url.scheme().to_owned()));
    }
    url.set_path("/bootstrap");
    Ok(url)
}

fn client(trust: &ServerTrust, url: &Url) -> Result<Client, FetchError> {
    let mut builder = Client::builder().timeout(ATTEMPT).no_proxy();
    if url.scheme() == "https" {
        if *trust == ServerTrust::Nobody {
            warn!("--skip-verify is set, the control plane's certificate is not verified");
        }
        builder = builder.tls_backend_preconfigured((*trust.tls()?).clone());
    } else {
        // Never used, but the client wants to have one.
        builder = builder.tls_backend_preconfigured((*ServerTrust::Nobody.tls()?).clone());
    }
    builder.build().map_err(FetchError::Client)
}

async fn attempt(client: &Client, url: &Url, request: &Request) -> Result<Vec<u8>, Attempt> {
    let token = match &request.token {
        Some(secret) => secret.read().await.map_err(|e| Attempt::Again(e.into()))?,
        None => "".into(),
    };
    let failed = |e: reqwest::Error| Attempt::Again(Refusal::Transport(causes(&e)));
    let body = serde_json::to_vec(&request.wire(&token))
        .map_err(|e| Attempt::Final(FetchError::Answer(format!("the request cannot be written: {e}"))))?;
    let sent = client.post(url.clone()).header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
    let mut response = sent.body(body).send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(Attempt::Final(FetchError::Answer(format!("it is longer than {LONGEST_ANSWER} bytes"))));
        }
        body.extend_from_slice(&chunk);
    }
    judge(status, body)
}

fn judge(status: StatusCode, body: Vec<u8>) -> Result<Vec<u8>, Attempt> {
    match status.as_u16() {
        200 => Ok(body),
        404 if body.is_empty() => Err(Attempt::Again(Refusal::NotFound)),
        404 if body.trim_ascii() == b"404: Page Not Found" => Err(Attempt::Again(Refusal::WrongPort)),
        code @ 400..=499 => {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            let text =
                if text.is_empty() { format!("the control plane answered {code} and said no more") } else { text };
            Err(Attempt::Final(FetchError::Invalid(text)))
        }
        code => Err(Attempt::Again(Refusal::Status(code))),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    bootstrap: String,
    #[serde(default)]
    kuma_sidecar_configuration: Sidecar,
}

fn understand(body: &[u8]) -> Result<Fetched, FetchError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|e| FetchError::Answer(e.to_string()))?;
    let yaml = STANDARD.decode(&answer.bootstrap).map_err(|e| FetchError::Answer(format!("its bootstrap: {e}")))?;
    let yaml = String::from_utf8(yaml).map_err(|e| FetchError::Answer(format!("its bootstrap: {e}")))?;
    let bootstrap = envoy::parse("bootstrap", &yaml)?;
    Ok(Fetched { bootstrap, sidecar: answer.kuma_sidecar_configuration })
}

/// reqwest's own words say little; the causes behind them say what happened.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(refusal) = explain::refusal(cause) {
            return format!("{text}: {refusal}; name the control plane's CA with --ca-cert-file");
        }
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

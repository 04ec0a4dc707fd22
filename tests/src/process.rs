//! A proxy as a process: started with a bootstrap, asked through its admin interface, ended by a signal.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::address::{at, loopback};
use crate::prometheus::Stats;
use crate::wait::until;
use crate::{envoy, http, ours};

/// The admin interface's port, on the site's own address.
pub const ADMIN: u16 = 9901;

/// Whose binary it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `zone-ingress`, built from this workspace.
    Ours,
    /// `zone-egress`, built from this workspace.
    Egress,
    /// `mesh-gateway`, built from this workspace.
    Gateway,
    /// Real Envoy.
    Envoy,
}

/// Where a proxy lives: an address and a directory of its own.
#[derive(Debug)]
pub struct Site {
    /// Every port of it but 59999 is the proxy's.
    pub address: Ipv4Addr,
    directory: TempDir,
}

impl Site {
    /// A new one.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("zonegate-").tempdir().expect("a temporary directory");
        Self { address: loopback(), directory }
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the access log is written.
    pub fn access_log(&self) -> String {
        self.file("access.log").display().to_string()
    }

    /// A port of its address.
    pub fn at(&self, port: u16) -> SocketAddr {
        at(self.address, port)
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// A running proxy; it is killed when it is dropped, and its log is shown if the test has failed.
#[derive(Debug)]
pub struct Proxy {
    /// Whose binary it is.
    pub kind: Kind,
    /// Where it lives.
    pub site: Site,
    child: Child,
}

/// The command line for a binary and its configuration file.
pub(crate) type CommandLine = fn(&Path, &Path) -> Command;

impl Proxy {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, with its log.
    pub async fn start(kind: Kind, site: Site, bootstrap: &Value) -> Self {
        let mut proxy = Self::spawn(kind, site, bootstrap);
        proxy.is_ready().await;
        proxy
    }

    /// Starts the ingress as `kuma-dp` is started, with these arguments after `run`, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead, with its log.
    pub async fn run(site: Site, arguments: &[&str]) -> Self {
        Self::run_as(Kind::Ours, site, arguments).await
    }

    /// The same with any program of ours.
    ///
    /// # Panics
    /// When it ends instead, with its log.
    pub async fn run_as(kind: Kind, site: Site, arguments: &[&str]) -> Self {
        let mut command = Command::new(ours::binary(kind));
        command.arg("run").args(arguments).arg("--work-dir").arg(site.file("work")).env("NO_COLOR", "1");
        let mut proxy = Self::launch(kind, site, command);
        proxy.is_ready().await;
        proxy
    }

    async fn is_ready(&mut self) {
        until("the proxy's readiness", async || {
            self.assert_running();
            let answer = http::request(self.admin(), "GET", "/ready").await;
            answer.is_ok_and(|(status, _)| status == 200).then_some(())
        })
        .await;
    }

    /// Starts it without waiting.
    pub fn spawn(kind: Kind, site: Site, bootstrap: &Value) -> Self {
        let (binary, line): (PathBuf, CommandLine) = match kind {
            Kind::Ours | Kind::Egress | Kind::Gateway => (ours::binary(kind), ours::command),
            Kind::Envoy => (envoy::binary().expect("Envoy, looked for before"), envoy::command),
        };
        let file = site.file("bootstrap.yaml");
        // JSON is YAML.
        std::fs::write(&file, format!("{bootstrap:#}")).expect("a bootstrap file");
        Self::launch(kind, site, line(&binary, &file))
    }

    fn launch(kind: Kind, site: Site, mut command: Command) -> Self {
        let log = std::fs::File::create(site.file("log")).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { kind, site, child }
    }

    fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("the proxy ended with {status}");
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A port of its address.
    pub fn at(&self, port: u16) -> SocketAddr {
        self.site.at(port)
    }

    /// Its admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.at(ADMIN)
    }

    /// What the admin interface answers to a GET.
    pub async fn get(&self, path: &str) -> http::Answer {
        http::request(self.admin(), "GET", path).await.unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// What the admin interface answers to a POST.
    pub async fn post(&self, path: &str) -> http::Answer {
        http::request(self.admin(), "POST", path).await.unwrap_or_else(|e| panic!("POST {path}: {e}"))
    }

    /// All statistics, with the proxy's address called `SITE`.
    pub async fn stats(&self) -> Stats {
        let (status, text) = self.get("/stats/prometheus").await;
        assert_eq!(status, 200, "{text}");
        Stats::parse(&text).replace(&self.site.address.to_string(), "SITE")
    }

    /// Waits until no client and no endpoint is connected, so that all has been counted, then reads the statistics.
    pub async fn quiet_stats(&self) -> Stats {
        const ACTIVE: [&str; 3] = [
            "envoy_listener_downstream_cx_active",
            "envoy_listener_downstream_pre_cx_active",
            "envoy_cluster_upstream_cx_active",
        ];
        until("all connections to end", async || {
            let stats = self.stats().await;
            ACTIVE.iter().all(|family| stats.sum(family) == 0.0).then_some(stats)
        })
        .await
    }

    /// The access log, once it has at least this many lines.
    pub async fn access_log(&self, lines: usize) -> Vec<String> {
        until("access log lines", async || {
            let text = std::fs::read_to_string(self.site.access_log()).unwrap_or_default();
            // A line being written is not there yet.
            let whole: Vec<_> = text.split_inclusive('\n').filter(|l| l.ends_with('\n')).collect();
            (whole.len() >= lines).then(|| whole.iter().map(|l| l.trim_end().to_owned()).collect())
        })
        .await
    }

    /// What it has written so far to standard output and error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.site.file("log")).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("a process to signal");
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        until("the proxy's end", async || self.child.try_wait().expect("a child")).await
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            eprintln!("--- the end of the log of {:?} ---\n{}\n---", self.kind, tail.join("\n"));
        }
    }
}

//! What the demonstrations share: edges as processes, what they log in words, and checks that decide the exit code.

mod told;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::bootstrap::kind;
use crate::http;
use crate::wait::{until, within};

pub use told::{FORMAT, Told};

/// Whatever goes wrong is printed.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Observations, each true or not.
#[derive(Debug, Default)]
pub struct Checks {
    made: usize,
    failed: usize,
}

impl Checks {
    /// Prints what was observed, and remembers whether it is as it must be.
    pub fn check(&mut self, holds: bool, what: impl std::fmt::Display) {
        self.made += 1;
        self.failed += usize::from(!holds);
        println!("  {} {what}", if holds { "ok     " } else { "NOT SO:" });
    }

    /// The end.
    ///
    /// # Errors
    /// One observation was not as it must be.
    pub fn conclude(&self) -> Outcome<()> {
        let Self { made, failed } = self;
        if *failed > 0 {
            return Err(format!("{failed} of {made} observations are not as they must be").into());
        }
        println!("\nAll {made} observations are as they must be.");
        Ok(())
    }
}

/// A zone ingress, an egress or a gateway that runs.
#[derive(Debug)]
pub struct Edge {
    /// For people.
    pub name: &'static str,
    /// Where others reach it.
    pub address: SocketAddr,
    /// What it was started with.
    pub file: PathBuf,
    log: mpsc::UnboundedReceiver<String>,
    process: Child,
}

impl Edge {
    /// Starts `program` (`zone-ingress`, `zone-egress` or `mesh-gateway`) and waits until it is ready. It lies beside
    /// this one, if `ZONE_INGRESS_BIN`, `ZONE_EGRESS_BIN` or `MESH_GATEWAY_BIN` does not say where else.
    ///
    /// # Errors
    /// It can't be started.
    pub async fn start(program: &str, name: &'static str, bootstrap: &Value, address: SocketAddr) -> Outcome<Self> {
        let here = std::env::current_exe()?;
        let variable = format!("{}_BIN", program.replace('-', "_").to_uppercase());
        let program = std::env::var_os(variable).map_or_else(|| here.with_file_name(program), PathBuf::from);
        let directory = here.with_file_name("demo-files");
        std::fs::create_dir_all(&directory)?;
        let file = directory.join(format!("{}.yaml", name.replace(' ', "-")));
        write_private(&file, &serde_yaml_ng::to_string(bootstrap)?)?;
        let (process, log) = spawn(&program, &file)?;
        let edge = Self { name, address, file, log, process };
        let admin = admin_of(bootstrap).ok_or("no admin server")?;
        until("the edge to be ready", async || {
            http::request(admin, "GET", "/ready").await.is_ok_and(|(status, _)| status == 200).then_some(())
        })
        .await;
        Ok(edge)
    }

    /// The next line of its access log.
    ///
    /// # Errors
    /// It has ended.
    pub async fn told(&mut self) -> Outcome<Told> {
        let line = within("an access-log line", self.log.recv()).await.ok_or("the edge has ended")?;
        Ok(Told::parse(&line))
    }

    /// The next line of its access log about this name, whatever is said before.
    ///
    /// # Errors
    /// It has ended.
    pub async fn told_of(&mut self, name: &str) -> Outcome<Told> {
        loop {
            let told = self.told().await?;
            if told.name == name {
                return Ok(told);
            }
        }
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill(&mut self) -> Outcome<()> {
        Ok(self.process.kill().await?)
    }
}

fn admin_of(bootstrap: &Value) -> Option<SocketAddr> {
    let at = bootstrap.pointer("/admin/address/socket_address")?;
    let port = u16::try_from(at.get("port_value")?.as_u64()?).ok()?;
    Some(SocketAddr::new(at.get("address")?.as_str()?.parse().ok()?, port))
}

/// Keys may be in it.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}

/// Starts a program with a bootstrap; its standard output is the access log, its standard error goes to a file.
///
/// # Errors
/// It can't be started.
pub fn spawn(program: &Path, bootstrap: &Path) -> Outcome<(Child, mpsc::UnboundedReceiver<String>)> {
    let mut process = Command::new(program)
        .arg("-c")
        .arg(bootstrap)
        .args(["--concurrency", "2", "--file-flush-interval-msec", "100"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(bootstrap.with_extension("log"))?)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}; `make` builds it with the demonstration", program.display()))?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            // Nobody listens any more once the demonstration ends.
            let _ = sender.send(line);
        }
    });
    Ok((process, receiver))
}

/// An access log on standard output, for [`Told`].
pub fn log() -> Value {
    json!([{
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": kind("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"),
            "log_format": {"text_format_source": {"inline_string": format!("{FORMAT}\n")}},
        },
    }])
}

/// The ports of an address that somebody listens on, all 65,535 tried.
pub async fn open_ports(address: Ipv4Addr) -> Outcome<Vec<u16>> {
    let scan = move || {
        let open = |port: &u16| {
            std::net::TcpStream::connect_timeout(&SocketAddr::from((address, *port)), Duration::from_secs(5)).is_ok()
        };
        (1..=u16::MAX).filter(open).collect()
    };
    Ok(tokio::task::spawn_blocking(scan).await?)
}

/// Runs a demonstration until it ends or is interrupted.
///
/// # Errors
/// What it says.
pub async fn play(demonstration: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = demonstration => return done,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    println!("\nStopped.");
    Ok(())
}

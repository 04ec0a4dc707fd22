//! A proxy under load: its command, its files, its process.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::backend::Backend;
use crate::bootstrap::{Setup, bootstrap, server_name};
use crate::client::{Client, Target};
use crate::error::Error;
use crate::order::Order;
use crate::scenario::Subject;

const READY: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
const LOG_END: usize = 2000;

/// A proxy's name and command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What the report calls it.
    pub name: String,
    /// Program and arguments. `{config}` in any of them becomes the bootstrap's path.
    pub command: Vec<String>,
}

/// A running proxy with a backend of its own. Dropping it sends SIGTERM to its process group, waits
/// up to 10 s, sends SIGKILL if need be, and removes its files.
#[derive(Debug)]
pub struct Proxy {
    name: String,
    child: Child,
    address: SocketAddr,
    setup: Setup,
    files: Files,
    _backend: Backend,
}

impl Proxy {
    /// Writes the bootstrap, starts the command, and waits until a connection came through.
    ///
    /// The port is one that was free just before; should another program take it in between, the
    /// proxy ends and the error shows its log.
    pub async fn start(spec: &Spec, setup: &Setup) -> Result<Self, Error> {
        let backend = Backend::start()?;
        let address = free_address().map_err(Error::Setup)?;
        let files = Files::create(spec, &bootstrap(address, backend.address(), setup))?;
        let child = spawn(spec, &files)?;
        let mut proxy =
            Self { name: spec.name.clone(), child, address, setup: setup.clone(), files, _backend: backend };
        proxy.ready().await?;
        Ok(proxy)
    }

    /// What a scenario needs to know of it.
    pub fn subject(&self) -> Subject {
        Subject { target: self.target(), pid: self.child.id(), names: self.setup.names }
    }

    fn target(&self) -> Target {
        Target { address: self.address, tls: self.setup.tls.as_ref().map(|tls| Arc::clone(&tls.client)) }
    }

    /// An accepted connection is not enough: the kernel accepts as soon as the proxy listens.
    async fn ready(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.not_ready(format!("ended with {status}")));
            }
            let Err(why) = self.probe().await else { return Ok(()) };
            if start.elapsed() > READY {
                return Err(self.not_ready(format!("carried no connection within {} s: {why}", READY.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One round trip through the last name, which is there when all are.
    async fn probe(&self) -> Result<(), Error> {
        let name = server_name(self.setup.names.saturating_sub(1));
        let mut client = Client::open(&self.target(), &name, Order::Echo).await?;
        client.ping(0).await?;
        client.finish().await
    }

    fn not_ready(&self, why: String) -> Error {
        let log = fs::read(self.files.log()).unwrap_or_default();
        let end = log.get(log.len().saturating_sub(LOG_END)..).unwrap_or_default();
        Error::NotReady { name: self.name.clone(), why, log: String::from_utf8_lossy(end).into_owned() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // An error means that the group has ended already.
        let _ = group.map(|group| kill_process_group(group, Signal::TERM));
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > END {
                let _ = group.map(|group| kill_process_group(group, Signal::KILL));
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The directory with a proxy's bootstrap and log; removed on drop.
#[derive(Debug)]
struct Files(PathBuf);

impl Files {
    fn create(spec: &Spec, config: &str) -> Result<Self, Error> {
        let unique = format!("loadtest-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let files = Self(std::env::temp_dir().join(unique));
        fs::create_dir(&files.0).map_err(start_error(spec, "creating", &files.0))?;
        fs::write(files.config(), config).map_err(start_error(spec, "writing", &files.config()))?;
        Ok(files)
    }

    fn config(&self) -> PathBuf {
        self.0.join("bootstrap.json")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// In a process group of its own, so that what it starts ends with it.
fn spawn(spec: &Spec, files: &Files) -> Result<Child, Error> {
    let config = files.config().display().to_string();
    let mut words = spec.command.iter().map(|word| word.replace("{config}", &config));
    let program = words.next().unwrap_or_default();
    let log = File::create(files.log()).map_err(start_error(spec, "writing", &files.log()))?;
    let also = log.try_clone().map_err(start_error(spec, "writing", &files.log()))?;
    Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also)
        .process_group(0)
        .spawn()
        .map_err(start_error(spec, "starting", Path::new(&program)))
}

fn start_error(spec: &Spec, doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let (name, path) = (spec.name.clone(), path.to_owned());
    move |source| Error::Start { name, doing, path, source }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn start(command: &[&str]) -> Result<Proxy, Error> {
        let spec = Spec { name: "x".to_owned(), command: command.iter().map(|&word| word.to_owned()).collect() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Proxy::start(&spec, &Setup { names: 2, tls: None }))
    }

    #[test]
    fn a_proxy_that_ends_shows_its_log() {
        let error = start(&["cat", "{config}"]).unwrap_err();
        let Error::NotReady { name, why, log } = error else { panic!("{error}") };
        assert_eq!(name, "x");
        assert!(why.contains("ended"), "{why}");
        assert!(log.contains("svc-00001.mesh.test"), "{log}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = start(&["/nowhere/proxy", "-c", "{config}"]).unwrap_err().to_string();
        assert!(error.contains("proxy x: starting /nowhere/proxy"), "{error}");
    }
}

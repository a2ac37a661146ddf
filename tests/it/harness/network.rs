//! Machines with addresses of their own, as Linux network namespaces that a bridge joins. Nothing of it
//! touches the network of this machine, and all of it is gone when its processes are.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::real;

/// The switch that all machines are connected to.
pub(crate) struct Network {
    switch: Namespace,
}

/// A machine, whose programs are to be started by [`command`](Self::command).
pub(crate) struct Host {
    namespace: Namespace,
    pub(crate) address: Ipv4Addr,
    /// Its place at the switch.
    port: String,
    switch: PathBuf,
}

/// Lives as long as this process, which waits for an input that never comes.
struct Namespace(Child);

impl Network {
    /// `None`, and a line that says why, where namespaces cannot be made.
    pub(crate) fn new() -> Option<Self> {
        for part in ["ip", "nsenter", "unshare"] {
            real::find(part)?;
        }
        match Namespace::new() {
            Ok(switch) => {
                let path = switch.path();
                if !try_ip(&path, "link add bridge type bridge")
                    .status
                    .success()
                {
                    real::missing("a kernel with bridges between network namespaces");
                    return None;
                }
                ip(&path, "link set bridge up");
                Some(Self { switch })
            }
            Err(error) => {
                real::missing(&format!("the right to make network namespaces ({error})"));
                None
            }
        }
    }

    /// Another machine at this address of `10.0.0.0/24`.
    pub(crate) fn host(&self, last: u8) -> Host {
        let namespace = Namespace::new().unwrap();
        let (switch, address) = (self.switch.path(), Ipv4Addr::new(10, 0, 0, last));
        let (port, machine) = (format!("port{last}"), namespace.0.id());
        ip(
            &switch,
            &format!("link add {port} type veth peer name eth0 netns {machine}"),
        );
        ip(&switch, &format!("link set {port} master bridge up"));
        let here = namespace.path();
        ip(&here, "link set lo up");
        ip(&here, &format!("addr add {address}/24 dev eth0"));
        ip(&here, "link set eth0 up");
        Host {
            namespace,
            address,
            port,
            switch,
        }
    }
}

impl Host {
    /// A program that is to run there.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace.path().display()));
        command.arg(program.as_ref());
        command
    }

    /// From now on, this thread opens its sockets there.
    pub(crate) fn enter(&self) {
        let namespace = File::open(self.namespace.path()).unwrap();
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), network).unwrap();
    }

    /// Pulls its cable: nobody gets there, and nothing comes from it.
    pub(crate) fn cut_off(&self) {
        ip(&self.switch, &format!("link set {} down", self.port));
    }

    pub(crate) fn join_again(&self) {
        ip(&self.switch, &format!("link set {} up", self.port));
    }
}

impl Namespace {
    fn new() -> io::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped());
        let mut namespace = Self(command.stdout(Stdio::null()).spawn()?);
        let own = std::fs::read_link("/proc/thread-self/ns/net")?;
        for _ in 0..3000 {
            if let Some(status) = namespace.0.try_wait()? {
                return Err(io::Error::other(format!("unshare: {status}")));
            }
            // Until then it is where this thread is.
            if std::fs::read_link(namespace.path()).is_ok_and(|its| its != own) {
                return Ok(namespace);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(namespace: &Path, arguments: &str) {
    let ran = try_ip(namespace, arguments);
    assert!(ran.status.success(), "ip {arguments}: {ran:?}");
}

fn try_ip(namespace: &Path, arguments: &str) -> Output {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace.display()));
    let ran = command.arg("ip").args(arguments.split(' ')).output();
    ran.unwrap()
}

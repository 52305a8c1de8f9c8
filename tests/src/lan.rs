//! A network of hosts of our own: namespaces on a bridge, each with an address, that can be unplugged.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use rand::Rng;

use crate::{Error, Result};

/// A host: commands run in it by [`Host::command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    namespace: String,
    link: String,
    ip: Ipv4Addr,
}

impl Host {
    /// Its address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        IpAddr::V4(self.ip)
    }

    /// `program`, to be run there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}

/// The network. Dropping it removes hosts and bridge.
#[derive(Debug)]
pub struct Lan {
    bridge: String,
    network: [u8; 3],
    hosts: Vec<Host>,
}

/// Whether this user may make networks: root in its own user namespace's sense.
#[must_use]
pub fn may_make_networks() -> bool {
    Lan::new().is_ok()
}

impl Lan {
    /// A bridge whose own address, the test's, ends in 1.
    ///
    /// # Errors
    /// [`Error::Missing`] without iproute2, [`Error::Process`] without the right to make one.
    pub fn new() -> Result<Self> {
        let mut random = rand::rng();
        let number: u32 = random.random_range(0..1_000_000);
        let network = [10, random.random_range(64..128), random.random_range(1..255)];
        let lan = Self { bridge: format!("hlb{number}"), network, hosts: Vec::new() };
        ip(&["link", "add", &lan.bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", lan.address(1)), "dev", &lan.bridge])?;
        ip(&["link", "set", &lan.bridge, "up"])?;
        Ok(lan)
    }

    /// The address that ends in `last`.
    #[must_use]
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Plugs a host with the address that ends in `last` in.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub fn host(&mut self, last: u8) -> Result<Host> {
        let number = self.bridge.trim_start_matches("hlb");
        let host = Host {
            namespace: format!("hl{number}-{last}"),
            link: format!("hl{number}v{last}"),
            ip: self.address(last),
        };
        // Known before it is whole, so that what exists of it is removed.
        self.hosts.push(host.clone());
        let (ns, link) = (host.namespace.as_str(), host.link.as_str());
        ip(&["netns", "add", ns])?;
        ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", ns])?;
        ip(&["link", "set", link, "master", &self.bridge, "up"])?;
        ip(&["-n", ns, "addr", "add", &format!("{}/24", host.ip), "dev", "eth0"])?;
        ip(&["-n", ns, "link", "set", "eth0", "up"])?;
        ip(&["-n", ns, "link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// Pulls a host's cable: nothing of it answers any more, not even with an ICMP error.
    ///
    /// # Errors
    /// [`Error::Process`].
    pub fn unplug(&self, host: &Host) -> Result<()> {
        ip(&["link", "set", &host.link, "down"])
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // What isn't there need not be removed.
        for host in &self.hosts {
            let _ = ip(&["link", "del", &host.link]);
            let _ = ip(&["netns", "del", &host.namespace]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::Missing { program: "ip".into(), remedy: "run ops/install --test (iproute2)".into() }
        }
        _ => Error::io("ip")(e),
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Process {
        program: format!("ip {}", arguments.join(" ")),
        detail: format!("ended with {}", output.status),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

//! A bad network before one address. Each client gets a port of its own towards it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use super::{Counts, Datagram, Impairment, Line};
use crate::net::bind_udp;
use crate::{Error, Result};

/// A relay in front of one address; dropping it closes everything.
#[derive(Debug)]
pub struct UdpRelay {
    local: SocketAddr,
    shared: Arc<Shared>,
    reader: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    front: Arc<std::net::UdpSocket>,
    upstream: SocketAddr,
    ip: IpAddr,
    clients: Mutex<HashMap<SocketAddr, Client>>,
    up: Line,
    down: Line,
}

#[derive(Debug)]
struct Client {
    socket: Arc<std::net::UdpSocket>,
    reader: AbortHandle,
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.reader.abort();
        for client in lock(&self.shared.clients).values() {
            client.reader.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpRelay {
    /// Starts on a free port of `ip`, which is also the source towards `upstream`; both directions
    /// suffer alike.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start(ip: IpAddr, upstream: SocketAddr, impairment: Impairment, seed: u64) -> Result<Self> {
        let (receiver, front) = bind_udp(SocketAddr::new(ip, 0))?;
        let local = front.local_addr().map_err(Error::io("UDP relay"))?;
        let shared = Arc::new(Shared {
            front: Arc::new(front),
            upstream,
            ip,
            clients: Mutex::default(),
            up: Line::start(impairment, seed),
            down: Line::start(impairment, seed.wrapping_add(1)),
        });
        let reader = tokio::spawn(read_front(shared.clone(), receiver)).abort_handle();
        Ok(Self { local, shared, reader })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Changes what happens to datagrams from now on.
    pub fn set(&self, impairment: Impairment) {
        self.shared.up.set(impairment);
        self.shared.down.set(impairment);
    }

    /// What was done towards the address, and back.
    #[must_use]
    pub fn counts(&self) -> (Counts, Counts) {
        (self.shared.up.counts(), self.shared.down.counts())
    }

    /// Datagrams lost so far in both directions, by chance or for want of room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let (up, down) = self.counts();
        up.lost + up.crowded_out + down.lost + down.crowded_out
    }
}

impl Shared {
    fn client(self: &Arc<Self>, address: SocketAddr) -> Result<Arc<std::net::UdpSocket>> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&address) {
            return Ok(client.socket.clone());
        }
        let (receiver, socket) = bind_udp(SocketAddr::new(self.ip, 0))?;
        let socket = Arc::new(socket);
        let reader = tokio::spawn(read_back(self.clone(), receiver, address)).abort_handle();
        clients.insert(address, Client { socket: socket.clone(), reader });
        Ok(socket)
    }
}

async fn read_front(shared: Arc<Shared>, receiver: UdpSocket) {
    let mut buffer = vec![0_u8; 65_535];
    loop {
        // ICMP errors of earlier datagrams show up here.
        let Ok((length, from)) = receiver.recv_from(&mut buffer).await else {
            continue;
        };
        if let Ok(socket) = shared.client(from) {
            shared.up.push(Datagram { socket, to: shared.upstream, bytes: buffer[..length].into() });
        }
    }
}

async fn read_back(shared: Arc<Shared>, receiver: UdpSocket, client: SocketAddr) {
    let mut buffer = vec![0_u8; 65_535];
    loop {
        let Ok((length, _)) = receiver.recv_from(&mut buffer).await else {
            continue;
        };
        shared.down.push(Datagram { socket: shared.front.clone(), to: client, bytes: buffer[..length].into() });
    }
}

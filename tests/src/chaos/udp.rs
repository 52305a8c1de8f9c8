//! A UDP relay that loses, delays, doubles and reorders datagrams by a seed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::limits::RELAY_QUEUE_LEN_MAX;
use crate::{Error, Result};

/// Impairment in both directions; percentages 0–100.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpFaults {
    /// Datagrams lost.
    pub loss_percent: u8,
    /// Datagrams sent twice.
    pub duplicate_percent: u8,
    /// Least delay, milliseconds.
    pub delay_ms: u64,
    /// Random delay on top, milliseconds; more than the packet interval reorders.
    pub jitter_ms: u64,
}

/// A relay in front of one address. Each client gets a port of its own towards it.
#[derive(Debug)]
pub struct UdpRelay {
    local: SocketAddr,
    shared: Arc<Shared>,
    reader: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    front: UdpSocket,
    upstream: SocketAddr,
    ip: IpAddr,
    faults: Mutex<UdpFaults>,
    random: Mutex<StdRng>,
    clients: Mutex<HashMap<SocketAddr, Client>>,
    room: Arc<Semaphore>,
    lost: Mutex<u64>,
}

#[derive(Debug)]
struct Client {
    socket: Arc<UdpSocket>,
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
    /// Starts on a free port of `ip`, which is also the source towards `upstream`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn start(ip: IpAddr, upstream: SocketAddr, faults: UdpFaults, seed: u64) -> Result<Self> {
        let front = UdpSocket::bind(SocketAddr::new(ip, 0)).await.map_err(Error::io("UDP relay"))?;
        let local = front.local_addr().map_err(Error::io("UDP relay"))?;
        let shared = Arc::new(Shared {
            front,
            upstream,
            ip,
            faults: Mutex::new(faults),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            clients: Mutex::default(),
            room: Arc::new(Semaphore::new(RELAY_QUEUE_LEN_MAX)),
            lost: Mutex::default(),
        });
        let reader = tokio::spawn(read_front(shared.clone())).abort_handle();
        Ok(Self { local, shared, reader })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.local
    }

    /// Changes the impairment.
    pub fn set(&self, faults: UdpFaults) {
        *lock(&self.shared.faults) = faults;
    }

    /// Datagrams lost so far, by chance or for want of room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        *lock(&self.shared.lost)
    }
}

impl Shared {
    /// Sends now, later, twice or never.
    async fn pass(self: &Arc<Self>, socket: Option<Arc<UdpSocket>>, to: SocketAddr, bytes: &[u8]) {
        let faults = *lock(&self.faults);
        let (copies, delays) = {
            let mut random = lock(&self.random);
            let mut chance = |percent: u8| random.random_range(0..100) < percent;
            let copies = match (chance(faults.loss_percent), chance(faults.duplicate_percent)) {
                (true, _) => 0,
                (false, true) => 2,
                (false, false) => 1,
            };
            let delays = [(); 2].map(|()| faults.delay_ms + random.random_range(0..=faults.jitter_ms));
            (copies, delays)
        };
        if copies == 0 {
            *lock(&self.lost) += 1;
        }
        for delay_ms in delays.into_iter().take(copies) {
            if delay_ms == 0 {
                // At once and in order. A peer that is gone is a lost datagram.
                let _ = socket.as_deref().unwrap_or(&self.front).send_to(bytes, to).await;
                continue;
            }
            let Ok(room) = self.room.clone().try_acquire_owned() else {
                *lock(&self.lost) += 1;
                continue;
            };
            let (shared, socket, bytes) = (self.clone(), socket.clone(), bytes.to_vec());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                let socket = socket.as_deref().unwrap_or(&shared.front);
                // A peer that is gone is a lost datagram.
                let _ = socket.send_to(&bytes, to).await;
                drop(room);
            });
        }
    }

    async fn client(self: &Arc<Self>, address: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
        if let Some(client) = lock(&self.clients).get(&address) {
            return Ok(client.socket.clone());
        }
        let socket = Arc::new(UdpSocket::bind(SocketAddr::new(self.ip, 0)).await?);
        let reader = tokio::spawn(read_back(self.clone(), socket.clone(), address)).abort_handle();
        lock(&self.clients).insert(address, Client { socket: socket.clone(), reader });
        Ok(socket)
    }
}

async fn read_front(shared: Arc<Shared>) {
    let mut buffer = vec![0_u8; 65_535];
    loop {
        // ICMP errors of earlier datagrams show up here.
        let Ok((length, from)) = shared.front.recv_from(&mut buffer).await else {
            continue;
        };
        if let Ok(socket) = shared.client(from).await {
            shared.pass(Some(socket), shared.upstream, &buffer[..length]).await;
        }
    }
}

async fn read_back(shared: Arc<Shared>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0_u8; 65_535];
    loop {
        let Ok((length, _)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        shared.pass(None, client, &buffer[..length]).await;
    }
}

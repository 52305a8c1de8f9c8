//! Resident memory of INVITEs whose 200 is never acknowledged, and what strangers get.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hotline_tests::gateway::Gateway;
use hotline_tests::net::{STRANGER_IP, TRUNK_IP};
use hotline_tests::{Error, Result};

use crate::core::Core;
use crate::memory::{kib, metric, process_id};
use crate::options::Options;
use crate::process::resident_kib;
use crate::setup::config;
use crate::table::{head, note, row};

/// INVITEs a second.
const RATE: u32 = 500;
/// Time for the last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

pub(crate) async fn run(options: &Options) -> Result<()> {
    let invites = options.invites;
    let command = format!("ops/bench/run unacked --unacked {invites}");
    let title = format!("unacked: VmRSS over {invites} INVITEs at {RATE}/s without an ACK");
    head(&title, &command, &["", "before KiB", "at the most KiB", "growth MiB", "KiB/INVITE", "datagrams"]);
    let config = config(invites + 500)?.with("sip.sessions_max", i64::from(invites) * 2);
    let gateway = Gateway::start(config).await?;
    let id = process_id(&gateway)?;
    for (name, ip) in [("product, stranger", STRANGER_IP), ("product, trunk", TRUNK_IP)] {
        of_one(name, id, ip, gateway.sip(), invites).await?;
    }
    note(&format!("{:.0} SIP sessions stand", metric(&gateway, "hotline_sip_sessions").await?));
    if let Some(core) = Core::start().await? {
        of_one("SIP core, stranger", core.id(), STRANGER_IP, core.address, invites).await?;
        of_one("SIP core, trunk", core.id(), TRUNK_IP, core.address, invites).await?;
    }
    note(
        "whole product: sessions, transactions, media legs, call tasks and their rows under way; before includes no call",
    );
    Ok(())
}

/// A row: the process `id` answers at `target`, called from `ip`.
async fn of_one(name: &str, id: u32, ip: IpAddr, target: SocketAddr, invites: u32) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident_kib(id)?;
    let flood = tokio::task::spawn_blocking(move || flood(ip, target, invites));
    let mut most = before;
    while !flood.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(resident_kib(id)?);
    }
    let answers = flood.await.map_err(|e| Error::io("flood")(std::io::Error::other(e)))??;
    let growth = kib(most.saturating_sub(before));
    row(&[
        name.into(),
        before.to_string(),
        most.to_string(),
        format!("{:.1}", growth / 1024.0),
        format!("{:.1}", growth / f64::from(invites)),
        answers.to_string(),
    ]);
    Ok(())
}

/// Sends the INVITEs; how many datagrams came back.
fn flood(ip: IpAddr, target: SocketAddr, invites: u32) -> Result<u64> {
    let io = |e| Error::io("flood socket")(e);
    let socket = UdpSocket::bind((ip, 0)).map_err(io)?;
    let local = socket.local_addr().map_err(io)?;
    socket.set_read_timeout(Some(Duration::from_millis(1))).map_err(io)?;
    let mut buffer = [0; 4096];
    let mut answers = 0;
    let started = Instant::now();
    for n in 0..invites {
        let sdp = format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n");
        let text = format!(
            "INVITE sip:12319@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKu{n};rport\r\n\
             From: <sip:138{n:08}@{ip}>;tag=u{n}\r\nTo: <sip:12319@{target}>\r\nCall-ID: u{n}@{ip}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:u@{local}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        socket.send_to(text.as_bytes(), target).map_err(io)?;
        let due = started + Duration::from_secs(1) * (n + 1) / RATE;
        while Instant::now() < due {
            answers += u64::from(socket.recv(&mut buffer).is_ok());
        }
    }
    let end = Instant::now() + LAST_ANSWERS;
    while Instant::now() < end {
        answers += u64::from(socket.recv(&mut buffer).is_ok());
    }
    Ok(answers)
}

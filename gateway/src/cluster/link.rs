//! One connection between two gateways: greeting, proof, then sealed frames both ways.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Frame;
use super::crypt::{Hello, Seal, VERSION, keys};
use super::limits::{FRAME_BYTES_MAX, HANDSHAKE_MS, HELLO_BYTES_MAX, LINK_BEAT_MS, LINK_SILENT_MS};

/// What a sealed frame adds to its content.
const TAG_BYTES: usize = 16;

/// Why a link doesn't come about, or ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("超时 / no answer in time")]
    Timeout,
    #[error("对端不是网关 / the other side is no gateway")]
    Stranger,
    #[error("版本不同:升级两端 / the other gateway speaks another version: update both")]
    Version,
    #[error("密钥不符:核对 cluster.secret / wrong secret: compare cluster.secret of both gateways")]
    Secret,
    #[error("报文过长 / a frame is too long")]
    TooLong,
    #[error("连接过多 / too many connections")]
    Full,
    #[error("连接已替换或关闭 / replaced or closed")]
    Cut,
}

/// A proven connection.
pub(super) struct Joined {
    pub(super) peer: Hello,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    opens: Seal,
    seals: Seal,
}

impl Joined {
    /// Greets and proves; `dials`: we called.
    pub(super) async fn new(stream: TcpStream, me: &Hello, secret: &str, dials: bool) -> Result<Self, LinkError> {
        let handshake = greet(stream, me, secret, dials);
        timeout(Duration::from_millis(HANDSHAKE_MS), handshake).await.map_err(|_| LinkError::Timeout)?
    }
}

async fn greet(stream: TcpStream, me: &Hello, secret: &str, dials: bool) -> Result<Joined, LinkError> {
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    let ours = serde_json::to_vec(me).map_err(io::Error::other)?;
    let theirs;
    if dials {
        write_block(&mut write, &ours).await?;
        theirs = read_block(&mut read, HELLO_BYTES_MAX).await?;
    } else {
        theirs = read_block(&mut read, HELLO_BYTES_MAX).await?;
        write_block(&mut write, &ours).await?;
    }
    let peer: Hello = serde_json::from_slice(&theirs).map_err(|_| LinkError::Stranger)?;
    if peer.version != VERSION {
        return Err(LinkError::Version);
    }
    let (dialler, acceptor) = if dials { (&ours, &theirs) } else { (&theirs, &ours) };
    let (of_dialler, of_acceptor) = keys(secret, dialler, acceptor).ok_or(LinkError::Secret)?;
    let (seals, opens) = if dials { (of_dialler, of_acceptor) } else { (of_acceptor, of_dialler) };
    let mut joined = Joined { peer, read, write, opens, seals };
    // Who dials proves itself first: a scanner learns nothing to guess the secret with.
    if dials {
        send(&mut joined.write, &mut joined.seals, &Frame::Beat).await?;
    }
    // The proof is as long as a beat: a stranger gets no room for more.
    let proof = receive_up_to(1 + TAG_BYTES, &mut joined.read, &mut joined.opens).await;
    match proof {
        Ok(Frame::Beat) => {}
        // Who closes here got something that didn't open.
        Ok(_) | Err(LinkError::Io(_) | LinkError::Secret | LinkError::TooLong) => return Err(LinkError::Secret),
        Err(e) => return Err(e),
    }
    if !dials {
        send(&mut joined.write, &mut joined.seals, &Frame::Beat).await?;
    }
    Ok(joined)
}

/// Carries frames until the link ends; when something was heard last, and why it ended.
pub(super) async fn carry<F: Future<Output = bool>>(
    joined: Joined,
    mut out: mpsc::Receiver<Frame>,
    mut take: impl FnMut(Frame) -> F,
) -> (Instant, LinkError) {
    let Joined { mut read, mut write, mut opens, mut seals, .. } = joined;
    let mut heard = Instant::now();
    let silent = Duration::from_millis(LINK_SILENT_MS);
    let reads = async {
        loop {
            let frame = match timeout(silent, receive(&mut read, &mut opens)).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(e)) => return e,
                Err(_) => return LinkError::Timeout,
            };
            heard = Instant::now();
            if !matches!(frame, Frame::Beat) && !take(frame).await {
                return LinkError::Cut;
            }
        }
    };
    let writes = async {
        loop {
            let frame = match timeout(Duration::from_millis(LINK_BEAT_MS), out.recv()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return LinkError::Cut,
                Err(_) => Frame::Beat,
            };
            match timeout(silent, send(&mut write, &mut seals, &frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return e,
                Err(_) => return LinkError::Timeout,
            }
        }
    };
    let why = tokio::select! {
        why = reads => why,
        why = writes => why,
    };
    (heard, why)
}

async fn send(write: &mut OwnedWriteHalf, seals: &mut Seal, frame: &Frame) -> Result<(), LinkError> {
    let sealed = seals.seal(&frame.encode()).ok_or(LinkError::TooLong)?;
    write_block(write, &sealed).await
}

async fn receive(read: &mut OwnedReadHalf, opens: &mut Seal) -> Result<Frame, LinkError> {
    receive_up_to(FRAME_BYTES_MAX + 1 + TAG_BYTES, read, opens).await
}

async fn receive_up_to(max: usize, read: &mut OwnedReadHalf, opens: &mut Seal) -> Result<Frame, LinkError> {
    let sealed = read_block(read, max).await?;
    let plain = opens.open(&sealed).ok_or(LinkError::Secret)?;
    Frame::decode(plain).ok_or(LinkError::Version)
}

async fn write_block(write: &mut OwnedWriteHalf, block: &[u8]) -> Result<(), LinkError> {
    let length = u32::try_from(block.len()).map_err(|_| LinkError::TooLong)?;
    let mut bytes = Vec::with_capacity(4 + block.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(block);
    Ok(write.write_all(&bytes).await?)
}

async fn read_block(read: &mut OwnedReadHalf, max: usize) -> Result<Vec<u8>, LinkError> {
    let length = read.read_u32().await? as usize;
    if length > max {
        return Err(LinkError::TooLong);
    }
    let mut block = vec![0; length];
    read.read_exact(&mut block).await?;
    Ok(block)
}

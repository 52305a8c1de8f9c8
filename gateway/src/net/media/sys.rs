//! The few system calls the standard library lacks: epoll and eventfd.
#![allow(unsafe_code, reason = "epoll and eventfd have no safe interface in std")]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

use super::limits::READY_MAX;

/// A level-triggered epoll instance.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    ready: Vec<libc::epoll_event>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked and owned by nobody else.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was just created and is open.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let ready = vec![libc::epoll_event { events: 0, u64: 0 }; READY_MAX];
        Ok(Self { epoll, ready })
    }

    /// Reports `token` whenever `fd` can be read. Closing the descriptor removes it.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: both descriptors are open for the call; `event` outlives it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Reports `fd` no longer.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let nothing = std::ptr::null_mut();
        // SAFETY: both descriptors are open for the call; Linux takes no event here.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), nothing) })?;
        Ok(())
    }

    /// Waits for readable descriptors, at most `timeout` (rounded up to a millisecond), and
    /// appends their tokens to `tokens`. An interrupting signal counts as nothing readable.
    pub(super) fn wait(&mut self, timeout: Duration, tokens: &mut Vec<u64>) -> io::Result<()> {
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        let ms = libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX);
        // SAFETY: the buffer holds READY_MAX events and is ours alone during the call.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.ready.as_mut_ptr(), READY_MAX as libc::c_int, ms) };
        let count = match check(count) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        tokens.extend(self.ready[..count].iter().map(|event| event.u64));
        Ok(())
    }
}

/// An eventfd: wakes a poller from another thread.
#[derive(Debug)]
pub(super) struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked and owned by nobody else.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: `fd` was just created and is open.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub(super) fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes are read from `one`. A full counter (EAGAIN) is awake enough.
        let _ = unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wake-ups so far.
    pub(super) fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: at most eight bytes are written into `count`. EAGAIN: there was nothing.
        let _ = unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.fd.as_fd()
    }
}

/// Processor time the calling thread has used.
pub(super) fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call. The clock always exists; otherwise the time stays 0.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Has the kernel note when each datagram arrived (socket(7), `SO_TIMESTAMPNS`).
pub(super) fn stamp_arrivals(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = std::mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the call; `on` outlives it and is `len` bytes long.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const on).cast(), len)
    })?;
    Ok(())
}

/// Room for one control message with a `timespec`, aligned as `cmsghdr` has to be.
type Control = [u64; 8];

/// Reads a datagram: its length, source, and when it arrived as Unix time, if the kernel noted it.
pub(super) fn receive_stamped(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, Option<Duration>)> {
    let mut control: Control = [0; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut stamp = None;
    let mut receive = |name: *mut libc::c_void, name_len: &mut libc::socklen_t| {
        // SAFETY: all-zero is a valid value of this struct of integers and pointers.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_name, message.msg_namelen) = (name, *name_len);
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), std::mem::size_of::<Control>());
        // SAFETY: every pointer of `message` is valid for its length during the call.
        let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        *name_len = message.msg_namelen;
        // SAFETY: the kernel has written the control messages that `message` now describes.
        stamp = unsafe { stamp_of(&message) };
        Ok(len)
    };
    // SAFETY: the pointers are valid for the call; where `recvmsg` succeeds on a UDP socket it has
    // written the source's address and its length.
    let (len, from) = unsafe { socket2::SockAddr::try_init(|name, len| receive(name.cast(), &mut *len)) }?;
    let from = from.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((len, from, stamp))
}

/// # Safety
/// The control messages of `message` are as the kernel left them.
unsafe fn stamp_of(message: &libc::msghdr) -> Option<Duration> {
    // SAFETY: see above; null if there is no message.
    let first = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: not null, so a whole header is there.
    let header = unsafe { first.as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    // SAFETY: a message of this type carries a `timespec`, not necessarily aligned.
    let time = unsafe { libc::CMSG_DATA(first).cast::<libc::timespec>().read_unaligned() };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Lets a connected UDP socket hear everybody again; its port stays.
pub(super) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero `sockaddr` is a valid value of plain integers.
    let mut nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let len = std::mem::size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the call; `nobody` outlives it and is `len` bytes long.
    check(unsafe { libc::connect(fd.as_raw_fd(), &raw const nobody, len) })?;
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<RawFd> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

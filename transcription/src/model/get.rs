//! `hotline model get`: fetches one model once, resumably and checked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};

use super::part::{Part, sum_of};
use super::{catalog, check};
use crate::limits;

/// Called with the bytes there so far and, once known, of the whole file.
pub type Progress<'a> = &'a (dyn Fn(u64, Option<u64>) + Send + Sync);

/// Why no model was installed.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Not in the catalogue and not a file name.
    #[error("no model is called {name:?}; known are {}", catalog::names())]
    UnknownName {
        /// What was asked for.
        name: String,
    },
    /// Nothing to verify the file with.
    #[error("no checksum is known for {file}: pass --sha256, or put {file}.sha256 beside it at {url}")]
    NoChecksum {
        /// The file.
        file: String,
        /// Where it would come from.
        url: String,
    },
    /// The checksum given isn't one.
    #[error("{0:?} is not a SHA-256: 64 hex digits are needed")]
    BadChecksum(String),
    /// The server answered, but not with the file.
    #[error("{url}: the server answered {status}; check --from and the name")]
    Status {
        /// The address.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// No connection, or it broke too often.
    #[error("{url}: {why}; run the same command again to go on from byte {have}")]
    Network {
        /// The address.
        url: String,
        /// The last error.
        why: String,
        /// Bytes kept in the `.part` file.
        have: u64,
    },
    /// The bytes are not the ones the checksum names.
    #[error(
        "{file}: SHA-256 is {found}, expected {expected}; the download was deleted: check --from, or pass the right --sha256"
    )]
    Checksum {
        /// The file.
        file: String,
        /// What arrived.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The server offers an absurd size.
    #[error("{url}: {bytes} bytes is larger than any known model ({} at most)", limits::MODEL_BYTES_MAX)]
    TooLarge {
        /// The address.
        url: String,
        /// The size it names.
        bytes: u64,
    },
    /// The checksum fits, but the file is no model.
    #[error(transparent)]
    NotAModel(#[from] check::CheckError),
    /// Not enough space.
    #[error("{dir}: {needed} more bytes are needed and {free} are free: make room or choose a smaller model")]
    DiskFull {
        /// The folder.
        dir: PathBuf,
        /// Missing bytes of the file plus the reserve.
        needed: u64,
        /// What the disk offers.
        free: u64,
    },
    /// Another download of the same model runs.
    #[error("{0}: another download of this model is running")]
    Busy(PathBuf),
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Fetches model `name` into `dir` and returns its path. A file already there
/// with the right checksum is left alone. `base_url` empty: the publisher's.
/// `sha256` overrides the catalogue's checksum.
///
/// A broken download stays as `<file>.part` and is resumed by the next call.
///
/// # Errors
/// [`GetError`], each with its remedy.
pub async fn get(
    name: &str,
    dir: &Path,
    base_url: &str,
    sha256: Option<&str>,
    progress: Progress<'_>,
) -> Result<PathBuf, GetError> {
    let (file, base) = resolve(name, base_url)?;
    let url = format!("{base}/{file}");
    let client = client(&url)?;
    let expected = match sha256.or(catalog::find(name).and_then(|e| e.sha256)) {
        Some(sum) => parse_sum(sum)?,
        None => published_sum(&client, &url, &file).await?,
    };
    fs::create_dir_all(dir).map_err(|source| GetError::Io { path: dir.into(), source })?;
    let dest = dir.join(&file);
    if dest.is_file() && sum_of(&dest)? == expected {
        check::check(&dest)?;
        return Ok(dest);
    }
    let mut part = Part::open(dir.join(format!("{file}.part")))?;
    let resumed = part.len > 0;
    let mut fetch = Fetch { client: &client, url: &url, dir, progress };
    fetch.all(&mut part).await?;
    let mut found = part.sum()?;
    if found != expected && resumed {
        // The kept part may belong to another version of the file.
        part.restart()?;
        fetch.all(&mut part).await?;
        found = part.sum()?;
    }
    if found != expected {
        part.remove();
        return Err(GetError::Checksum { file, found, expected });
    }
    if let Err(err) = check::check(&part.path) {
        part.remove();
        return Err(err.into());
    }
    part.install(&dest)?;
    Ok(dest)
}

/// A progress bar for the command line; pass [`report`] of it to [`get`].
#[must_use]
pub fn bar() -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar());
    indicatif::ProgressBar::new(0).with_style(style)
}

/// The progress function that moves `bar`.
pub fn report(bar: &indicatif::ProgressBar) -> impl Fn(u64, Option<u64>) + Send + Sync + '_ {
    move |done, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    }
}

fn resolve(name: &str, base_url: &str) -> Result<(String, String), GetError> {
    let unknown = || GetError::UnknownName { name: name.into() };
    let entry = catalog::find(name);
    let file = match entry {
        Some(e) => e.file.to_owned(),
        // A site's own model: a plain file name, never a path.
        None if name.ends_with(".bin") => name.to_owned(),
        None => return Err(unknown()),
    };
    let plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !plain || file.starts_with('.') || file.contains("..") {
        return Err(unknown());
    }
    let base = match base_url.trim().trim_end_matches('/') {
        "" => entry.map_or(catalog::SPEECH_BASE_URL, |e| e.base_url),
        given => given,
    };
    Ok((file, base.to_owned()))
}

fn client(url: &str) -> Result<Client, GetError> {
    // Fails only where another part of the program already chose a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stall = Duration::from_millis(limits::DOWNLOAD_STALL_MS_MAX);
    Client::builder().connect_timeout(stall).read_timeout(stall).build().map_err(|e| GetError::Network {
        url: url.into(),
        why: chain(&e),
        have: 0,
    })
}

fn parse_sum(sum: &str) -> Result<String, GetError> {
    let sum = sum.trim();
    if sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(sum.to_ascii_lowercase());
    }
    Err(GetError::BadChecksum(sum.chars().take(80).collect()))
}

/// Reads `<url>.sha256`, in the form `sha256sum` writes.
async fn published_sum(client: &Client, url: &str, file: &str) -> Result<String, GetError> {
    let missing = || GetError::NoChecksum { file: file.into(), url: url.into() };
    let network = |e: reqwest::Error| GetError::Network { url: format!("{url}.sha256"), why: chain(&e), have: 0 };
    let mut answer = client.get(format!("{url}.sha256")).send().await.map_err(network)?;
    if !answer.status().is_success() {
        return Err(missing());
    }
    let mut text = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(network)? {
        text.extend(&piece);
        if text.len() > limits::CHECKSUM_FILE_BYTES_MAX {
            return Err(missing());
        }
    }
    let text = String::from_utf8_lossy(&text);
    let first = text.split_whitespace().next().ok_or_else(missing)?;
    parse_sum(first)
}

struct Fetch<'a> {
    client: &'a Client,
    url: &'a str,
    dir: &'a Path,
    progress: Progress<'a>,
}

/// How one connection ended.
enum Ended {
    Complete,
    Broken(String),
}

impl Fetch<'_> {
    /// Repeats connections until the file is complete or no byte arrives any more.
    async fn all(&mut self, part: &mut Part) -> Result<(), GetError> {
        let mut tries = 0;
        loop {
            let before = part.len;
            let why = match self.once(part).await? {
                Ended::Complete => return part.flush(),
                Ended::Broken(why) => why,
            };
            tries = if part.len > before { 1 } else { tries + 1 };
            if tries >= limits::DOWNLOAD_TRIES_MAX {
                part.flush()?;
                return Err(GetError::Network { url: self.url.into(), why, have: part.len });
            }
            tracing::debug!(why, have = part.len, "download broke, resuming");
            tokio::time::sleep(Duration::from_millis(100 << tries)).await;
        }
    }

    async fn once(&self, part: &mut Part) -> Result<Ended, GetError> {
        let mut request = self.client.get(self.url);
        if part.len > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.len));
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(e) => return Ok(Ended::Broken(chain(&e))),
        };
        let total = match answer.status() {
            StatusCode::PARTIAL_CONTENT => match content_range(&answer) {
                Some((start, total)) if start == part.len => total,
                // The server begins elsewhere: what we hold can't be joined.
                _ => {
                    part.restart()?;
                    return Ok(Ended::Broken("the server sent another range".into()));
                }
            },
            // RFC 9110 §15.5.17: nothing left to send, or the kept part is too long.
            StatusCode::RANGE_NOT_SATISFIABLE if part.len > 0 => {
                if content_range(&answer).and_then(|(_, t)| t) == Some(part.len) {
                    return Ok(Ended::Complete);
                }
                part.restart()?;
                return Ok(Ended::Broken("the kept part does not fit".into()));
            }
            StatusCode::OK => {
                part.restart()?;
                answer.content_length()
            }
            s if s.is_server_error() => {
                return Ok(Ended::Broken(format!("the server answered {s}")));
            }
            s => {
                return Err(GetError::Status { url: self.url.into(), status: s.as_u16() });
            }
        };
        self.room(part, total)?;
        self.body(part, answer, total).await
    }

    async fn body(&self, part: &mut Part, mut answer: Response, total: Option<u64>) -> Result<Ended, GetError> {
        (self.progress)(part.len, total);
        loop {
            match answer.chunk().await {
                Ok(Some(piece)) => {
                    part.append(&piece)?;
                    if part.len > limits::MODEL_BYTES_MAX {
                        return Err(GetError::TooLarge { url: self.url.into(), bytes: part.len });
                    }
                    (self.progress)(part.len, total);
                }
                Ok(None) if total.is_none_or(|t| part.len >= t) => return Ok(Ended::Complete),
                Ok(None) => return Ok(Ended::Broken("the connection ended early".into())),
                Err(e) => return Ok(Ended::Broken(chain(&e))),
            }
        }
    }

    fn room(&self, part: &Part, total: Option<u64>) -> Result<(), GetError> {
        let total = total.unwrap_or(0);
        if total > limits::MODEL_BYTES_MAX {
            return Err(GetError::TooLarge { url: self.url.into(), bytes: total });
        }
        let needed = total.saturating_sub(part.len) + limits::DISK_SPARE_BYTES;
        let free = free_bytes(self.dir)?;
        if needed > free {
            return Err(GetError::DiskFull { dir: self.dir.into(), needed, free });
        }
        Ok(())
    }
}

/// Free bytes for ordinary users on the disk that holds `dir`.
fn free_bytes(dir: &Path) -> Result<u64, GetError> {
    let stat = rustix::fs::statvfs(dir).map_err(|e| GetError::Io { path: dir.into(), source: io::Error::from(e) })?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// `bytes 5-9/10` → (5, Some(10)); `bytes */10` → (0, Some(10)).
fn content_range(answer: &Response) -> Option<(u64, Option<u64>)> {
    let value = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let start = if range == "*" { 0 } else { range.split_once('-')?.0.trim().parse().ok()? };
    Some((start, total.trim().parse().ok()))
}

/// The whole chain of causes: reqwest's own text names only the outermost.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text.chars().take(limits::ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
#[path = "get_tests.rs"]
mod tests;

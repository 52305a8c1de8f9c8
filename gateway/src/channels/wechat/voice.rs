//! Voices: AMR made a WAV by a program of the system's, as a child with limits, and queued for our own
//! transcription. Without such a program the item says 语音待听 and the file waits for an ear.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hotline_db::{MessageMedia, NewVoiceJob};
use tokio::process::Command;
use tracing::{info, warn};

use super::limits::{DECODE_MS, DECODE_TRIES_MAX, VOICE_S_MAX, VOICE_WAV_BYTES_MAX};
use crate::app::Services;
use crate::attachment::{Kind, Stored, View};
use crate::clock::{local_date, now_ms};

/// Where the system keeps programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What a voice becomes: 8 kHz, 16 bits, mono.
const WAV_BYTES_PER_MS: u64 = 16;
const WAV_HEAD: u64 = 44;

/// Why a voice wasn't decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// Neither program is there.
    #[error("没有 ffmpeg 或 sox / neither ffmpeg nor sox is installed: voices wait for an ear")]
    NoDecoder,
    /// The program couldn't be run, or the disk refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It refused the file.
    #[error("the decoder ended with {0}")]
    Refused(std::process::ExitStatus),
    /// It took too long and was killed.
    #[error("the decoder took too long")]
    Overrun,
    /// Its output is no voice.
    #[error("nothing came out of the decoder")]
    Empty,
}

/// Which band an AMR file is of (RFC 4867 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Band {
    Narrow,
    Wide,
}

fn band(bytes: &[u8]) -> Option<Band> {
    if bytes.starts_with(b"#!AMR-WB\n") {
        Some(Band::Wide)
    } else if bytes.starts_with(b"#!AMR\n") {
        Some(Band::Narrow)
    } else {
        None
    }
}

/// A voice was stored: its WAV and its job, which a second call leaves as they are. `Err`: try again.
/// A voice nothing here can decode is a file that people can hear.
pub(super) async fn arrived(sv: &Services, row: &MessageMedia, stored: &Stored) -> anyhow::Result<()> {
    if stored.kind != Kind::Amr {
        info!(kind = stored.kind.as_str(), "语音待听 / a voice that isn't AMR waits for an ear");
        return Ok(());
    }
    let input = sv.attachments.path(&stored.sha256, View::Original);
    let (year, month, day) = local_date(now_ms(), sv.config.site.utc_offset_min);
    let path = format!("voice/{year:04}/{month:02}/{day:02}/{}.wav", row.id);
    let output = sv.config.storage.recordings().join(&path);
    match to_wav(&sv.config.wechat.voice_decoder, &input, &output).await {
        Ok(duration_ms) => {
            let job = NewVoiceJob { media: row.id, message: row.message, path, duration_ms, at: now_ms() };
            sv.store.voice_job_add(job).await?;
            Ok(())
        }
        // A full disk or a busy machine passes.
        Err(e @ (DecodeError::Overrun | DecodeError::Io(_))) if row.attempts < DECODE_TRIES_MAX => Err(e.into()),
        Err(e) => {
            warn!(error = %e, "语音待听 / a voice wasn't decoded");
            Ok(())
        }
    }
}

/// Decodes `input` into `output`; its length in ms.
pub(super) async fn to_wav(setting: &str, input: &Path, output: &Path) -> Result<i64, DecodeError> {
    let mut head = vec![0; 16];
    let n = {
        use tokio::io::AsyncReadExt as _;
        tokio::fs::File::open(input).await?.read(&mut head).await?
    };
    let band = band(&head[..n]).ok_or(DecodeError::Empty)?;
    if let Some(folder) = output.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let part = output.with_extension("part");
    let mut command = decoder(setting, band, input, &part).ok_or(DecodeError::NoDecoder)?;
    let ended = tokio::time::timeout(Duration::from_millis(DECODE_MS), command.status()).await;
    let outcome = match ended {
        Err(_) => Err(DecodeError::Overrun),
        Ok(Err(e)) => Err(e.into()),
        Ok(Ok(status)) if !status.success() => Err(DecodeError::Refused(status)),
        Ok(Ok(_)) => keep(&part, output).await,
    };
    if outcome.is_err() {
        // Half a file under a name nobody reads.
        let _ = tokio::fs::remove_file(&part).await;
    }
    outcome
}

async fn keep(part: &Path, output: &Path) -> Result<i64, DecodeError> {
    let bytes = tokio::fs::metadata(part).await?.len();
    if bytes <= WAV_HEAD || bytes > VOICE_WAV_BYTES_MAX {
        return Err(DecodeError::Empty);
    }
    tokio::fs::File::open(part).await?.sync_all().await?;
    tokio::fs::rename(part, output).await?;
    Ok(i64::try_from((bytes - WAV_HEAD) / WAV_BYTES_PER_MS).unwrap_or(i64::MAX))
}

/// The child: no environment, no input, nothing said, and the format fixed, so that a file that lies
/// about what it is reaches no other of its decoders.
fn decoder(setting: &str, band: Band, input: &Path, output: &Path) -> Option<Command> {
    let wanted: &[&str] = match setting {
        "none" => &[],
        "ffmpeg" => &["ffmpeg"],
        "sox" => &["sox"],
        _ => &["ffmpeg", "sox"],
    };
    let (name, program) = wanted.iter().find_map(|name| Some((*name, find(name)?)))?;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    let seconds = VOICE_S_MAX.to_string();
    if name == "ffmpeg" {
        // Its AMR demuxer reads both bands.
        command.args(["-nostdin", "-hide_banner", "-loglevel", "quiet", "-y", "-protocol_whitelist", "file"]);
        command.args(["-f", "amr", "-i"]).arg(input).args(["-t", &seconds, "-map", "0:a:0", "-map_metadata", "-1"]);
        command.args(["-ac", "1", "-ar", "8000", "-c:a", "pcm_s16le", "-bitexact", "-f", "wav"]).arg(output);
    } else {
        command.args(["-V0", "-t", if band == Band::Wide { "amr-wb" } else { "amr-nb" }]).arg(input);
        command.args(["-t", "wavpcm", "-r", "8000", "-c", "1", "-b", "16", "-e", "signed-integer"]).arg(output);
        command.args(["trim", "0", &seconds]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Some(command)
}

fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` frames of 20 ms at 12.2 kbit/s (RFC 4867 §5.3); any bits are some sound.
    fn amr(n: usize) -> Vec<u8> {
        let mut bytes = b"#!AMR\n".to_vec();
        for i in 0..n {
            bytes.push(0x3C);
            bytes.extend((0..31).map(|b| u8::try_from((i * 37 + b * 11) % 251).unwrap()));
        }
        bytes
    }

    #[tokio::test]
    async fn a_voice_becomes_a_wav_of_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("v.amr"), dir.path().join("2026/v.wav"));
        std::fs::write(&input, amr(100)).unwrap();
        let ms = to_wav("auto", &input, &output).await.expect("install sox or ffmpeg: ops/install --test");
        assert!((1_900..=2_100).contains(&ms), "{ms}");
        let wav = hound::WavReader::open(&output).unwrap();
        assert_eq!((wav.spec().sample_rate, wav.spec().channels), (8_000, 1));
        assert!(!output.with_extension("part").exists());
    }

    #[tokio::test]
    async fn what_is_no_amr_and_a_missing_decoder_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("v.amr"), dir.path().join("v.wav"));
        std::fs::write(&input, b"RIFF....WAVE").unwrap();
        assert!(matches!(to_wav("auto", &input, &output).await, Err(DecodeError::Empty)));
        std::fs::write(&input, amr(5)).unwrap();
        assert!(matches!(to_wav("none", &input, &output).await, Err(DecodeError::NoDecoder)));
        assert!(!output.exists());
    }

    #[test]
    fn the_band_is_in_the_first_bytes() {
        assert_eq!(band(b"#!AMR\n\x3c"), Some(Band::Narrow));
        assert_eq!(band(b"#!AMR-WB\n"), Some(Band::Wide));
        assert_eq!(band(b"#!SILK_V3"), None);
    }
}

//! Spoken Mandarin from espeak-ng, brought to what a telephone sends.

use std::path::Path;
use std::process::Stdio;

use hotline_tests::rtp::Source;
use hotline_tests::wav::Wav;
use hotline_tests::{Error, Result};
use tokio::process::Command;

use crate::ear::Speech;

/// Words per minute.
const SPEED: &str = "180";
/// The voice that reads Chinese characters with the right tones.
const VOICE: &str = "cmn-latn-pinyin";

/// A sentence, spoken.
pub(crate) struct Sentence {
    pub(crate) text: &'static str,
    pub(crate) speech: Speech,
    pub(crate) duration_ms: u64,
    samples: Vec<i16>,
}

impl Sentence {
    /// Renders `text` into `folder` as `name.wav`: 8 kHz, mono, 16 bits.
    ///
    /// # Errors
    /// [`Error::Missing`] without espeak-ng or sox, [`Error::Process`] when one fails.
    pub(crate) async fn render(folder: &Path, name: &str, text: &'static str) -> Result<Self> {
        let raw = folder.join(format!("{name}.raw.wav"));
        let path = folder.join(format!("{name}.wav"));
        run(Command::new("espeak-ng").args(["-v", VOICE, "-s", SPEED, "-w"]).arg(&raw).args(["--", text])).await?;
        let mut sox = Command::new("sox");
        sox.args(["-R", "-D"]).arg(&raw).args(["-r", "8000", "-c", "1", "-b", "16", "-e", "signed-integer"]).arg(&path);
        sox.args("gain -6 highpass 150 rate -h 8000 gain -n -5 pad 0.2 0.3".split(' '));
        run(&mut sox).await?;
        let wav = Wav::read(&path)?;
        let samples = wav.channel(0).to_vec();
        Ok(Self { text, speech: Speech::new(text, &samples)?, duration_ms: wav.duration_ms(), samples })
    }

    /// To be played once.
    pub(crate) fn source(&self) -> Source {
        Source::Pcm { samples: self.samples.clone().into(), repeat: false }
    }
}

async fn run(command: &mut Command) -> Result<()> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().await.map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            Error::Missing { program: program.clone(), remedy: "ops/install --demo".into() }
        } else {
            Error::Io { what: program.clone(), source }
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Process { program, detail: format!("ended with {}", output.status), log })
}

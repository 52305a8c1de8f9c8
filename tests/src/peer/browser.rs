//! A browser phone: Chromium with JsSIP in a page of the console's origin, run by `tests/browser/phone.cjs`.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{peers_dir, program};
use crate::process::Process;
use crate::wav::Wav;
use crate::{Error, Result, repo_root, until};

/// Chromium on a busy machine.
const START_MS: u64 = 60_000;

/// See the module's description.
pub struct BrowserPhone {
    process: Process,
    _dir: TempDir,
    next: u64,
}

impl BrowserPhone {
    /// Opens the page, signed in with `token`, whose microphone is a tone of `hz`. It doesn't register yet.
    ///
    /// # Errors
    /// [`Error::Missing`] without Node, Chromium or the packages, [`Error::Process`] when it doesn't start.
    pub async fn open(console: SocketAddr, token: &str, hz: f64) -> Result<Self> {
        let dir = TempDir::with_prefix("browser-").map_err(Error::io("temp dir"))?;
        let wav = dir.path().join("tone.wav");
        Wav::tone(hz, -12.0, 10_000).write(&wav)?;
        let mut command = Command::new(program("node")?);
        command.arg(repo_root().join("tests/browser/phone.cjs")).arg(peers_dir()?).arg(program("chromium")?);
        command.arg(format!("http://{console}")).arg(token).arg(&wav);
        let process = Process::start_listening("phone.cjs", &mut command, &dir.path().join("phone.log"))?;
        let mut phone = Self { process, _dir: dir, next: 0 };
        let ready = until("the browser's page", START_MS, || {
            let ready = phone.lines().iter().any(|line| line["ready"] == true);
            let gone = !phone.process.is_running();
            async move { (ready || gone).then_some(ready) }
        });
        match ready.await {
            Ok(true) => Ok(phone),
            _ => Err(phone.process.failed("opens no page")),
        }
    }

    /// Says one of the script's words; see its head.
    ///
    /// # Errors
    /// [`Error::Process`] when the page fails at it, [`Error::Timeout`].
    pub async fn ask(&mut self, word: &str) -> Result<Value> {
        self.ask_with(word, json!({})).await
    }

    /// The same with the word's own fields, an object.
    ///
    /// # Errors
    /// As [`BrowserPhone::ask`].
    pub async fn ask_with(&mut self, word: &str, mut line: Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        line["id"] = id.into();
        line["do"] = word.into();
        self.process.say(&line.to_string())?;
        let answered = until(&format!("the browser's answer to {word}"), START_MS, || {
            let line = self.lines().into_iter().find(|line| line["id"] == id);
            let gone = !self.process.is_running();
            async move { line.map_or_else(|| gone.then_some(Value::Null), Some) }
        })
        .await?;
        match answered.get("error").or(answered.is_null().then_some(&Value::Null)) {
            Some(why) => Err(self.process.failed(format!("{word}: {why}"))),
            None => Ok(answered["answer"].clone()),
        }
    }

    /// Asks for the page's state until it is as wanted.
    ///
    /// # Errors
    /// As [`BrowserPhone::ask`]; [`Error::Process`] with the last state after a minute.
    pub async fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_for("state", json!({}), what, wanted).await
    }

    /// Waits until the page hears a tone of about `hz`.
    ///
    /// # Errors
    /// As [`BrowserPhone::wait`].
    pub async fn wait_hears(&mut self, hz: f64) -> Result<()> {
        let is_it = |heard: &Value| {
            let (heard_hz, db) = (heard["hz"].as_f64().unwrap_or(0.0), heard["db"].as_f64().unwrap_or(-200.0));
            (heard_hz - hz).abs() < 25.0 && db > -60.0
        };
        self.wait_for("hears", json!({}), &format!("{hz} Hz in the browser"), is_it).await.map(|_| ())
    }

    /// Waits until the page hears all of `present` and none of `absent` (dB of full scale: above −40, below −65).
    ///
    /// # Errors
    /// As [`BrowserPhone::wait`].
    pub async fn wait_hears_all(&mut self, present: &[f64], absent: &[f64]) -> Result<()> {
        let is_so = |levels: &Value| {
            let db = |n: usize| levels[n].as_f64().unwrap_or(-200.0);
            (0..present.len()).all(|n| db(n) > -40.0) && (0..absent.len()).all(|n| db(present.len() + n) < -65.0)
        };
        let what = format!("{present:?} and not {absent:?} in the browser");
        let all = [present, absent].concat();
        self.wait_for("hears", json!({ "hz": all }), &what, is_so).await.map(|_| ())
    }

    async fn wait_for(
        &mut self,
        word: &str,
        with: Value,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(START_MS);
        loop {
            let answer = self.ask_with(word, with.clone()).await?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(self.process.failed(format!("waited for {what}; last: {answer}")));
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    fn lines(&self) -> Vec<Value> {
        self.process.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

//! Libraries from npm and PyPI as peers: a script of a few lines around each, fed with JSON.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// Where `ops/install --test` puts them: `HOTLINE_PEERS`, or `peers` in this test binary's target folder.
///
/// # Errors
/// [`Error::Missing`] with the command that installs them.
pub fn peers_dir() -> Result<PathBuf> {
    let named = std::env::var_os("HOTLINE_PEERS").map(PathBuf::from);
    let exe = std::env::current_exe().map_err(Error::io("current exe"))?;
    // target/debug/deps/name-hash → target
    let beside = exe.ancestors().skip(1).take(4).map(|dir| dir.join("peers"));
    named.into_iter().chain(beside).find(|dir| dir.is_dir()).ok_or_else(|| Error::Missing {
        program: "the peers from npm and PyPI".into(),
        remedy: "run ops/install --test".into(),
    })
}

/// Runs `script` in Python with the packages of `ops/peers/requirements.txt`, `input` on its standard
/// input; what it prints.
///
/// # Errors
/// [`Error::Missing`], [`Error::Process`] with what it wrote.
pub fn python(script: &str, input: &str) -> Result<String> {
    let mut command = python_command()?;
    command.arg("-c").arg(script);
    run("python3", &mut command, input)
}

/// Python with those packages, to be started on a script file.
///
/// # Errors
/// [`Error::Missing`].
pub fn python_command() -> Result<Command> {
    let mut command = Command::new(super::program("python3")?);
    command.env("PYTHONPATH", peers_dir()?.join("python"));
    Ok(command)
}

/// Runs `script` in Node with the packages of `ops/peers/package.json`, as [`python`].
///
/// # Errors
/// As [`python`].
pub fn node(script: &str, input: &str) -> Result<String> {
    let mut command = Command::new(super::program("node")?);
    command.arg("-e").arg(script).env("NODE_PATH", peers_dir()?.join("node_modules"));
    run("node", &mut command, input)
}

fn run(name: &str, command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io(format!("start {name}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(Error::io(format!("wait for {name}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let detail = format!("ended with {} (ops/install --test installs the peers)", output.status);
    Err(Error::Process { program: name.into(), detail, log: text(&output.stderr) })
}

//! `hotline model get` and `hotline model check`.

use std::path::Path;

use hotline_transcription::model::{check, get};

use super::say;
use crate::config::Config;

/// Fetches a published model into the data directory.
pub async fn fetch(config: &Config, name: &str, base_url: Option<&str>, sha256: Option<&str>) -> anyhow::Result<()> {
    let base = base_url.unwrap_or(&config.models.base_url);
    let bar = get::bar();
    let path = get::get(name, &config.storage.models(), base, sha256, &get::report(&bar)).await?;
    bar.finish_and_clear();
    say(&format!("已安装 / installed {}", path.display()));
    say("等待模型的录音将自动转写 / recordings that waited for a model will be transcribed");
    Ok(())
}

/// Judges a file without loading it.
pub fn judge(path: &Path) -> anyhow::Result<()> {
    let info = check::check(path)?;
    say(&format!("{}: {info}", path.display()));
    Ok(())
}

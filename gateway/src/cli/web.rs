//! `hotline web qr`: the report page's QR code for posters.

use std::path::Path;

use anyhow::{Context, bail};

use super::say;
use crate::channels::web::qr;
use crate::config::Config;
use crate::privacy::Sealer;

/// Pixels of one module in a PNG: 300 dpi and 3 cm at the usual size.
const MODULE_PX: u32 = 10;

/// Prints the code as SVG, or writes it to a file whose name ends in `.svg` or `.png`.
pub fn print(config: &Config, place: Option<&str>, file: Option<&Path>) -> anyhow::Result<()> {
    // The running gateway must know the key: a code signed with another one loses its place.
    let sealer = Sealer::open(&config.storage.data_dir.join("secret.key"), place.is_none())
        .context("先启动一次网关 / start the gateway once first")?;
    let address = qr::address(&sealer, &config.web, place)?;
    match file {
        None => say(&qr::svg(&address)?),
        Some(path) => {
            let bytes = match path.extension().and_then(|e| e.to_str()) {
                Some("svg") => qr::svg(&address)?.into_bytes(),
                Some("png") => qr::png(&address, MODULE_PX)?,
                _ => bail!("文件名以 .svg 或 .png 结尾 / name the file .svg or .png"),
            };
            std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
            say(&address);
        }
    }
    Ok(())
}

//! `hotline ivr check` and `hotline ivr graph`.

use std::collections::BTreeSet;

use anyhow::bail;
use hotline_ivr::{Flow, Severity};

use super::say;
use crate::config::Config;
use crate::voice::{FLOWS, load_flow, sounds_dir};

/// Judges the named flow (or file), or all; fails if one has an error.
pub fn check(config: &Config, flow: Option<&str>) -> anyhow::Result<()> {
    let dir = sounds_dir(config)?.join(&config.site.language);
    let mut prompts: BTreeSet<String> =
        std::fs::read_dir(&dir)?.flatten().filter_map(|e| Some(e.path().file_stem()?.to_str()?.to_owned())).collect();
    prompts.extend(hotline_media::tone::named().into_iter().map(|(id, _)| id.to_owned()));
    let mut errors = 0;
    for name in names(config, flow) {
        let flow = load(config, &name)?;
        let findings = flow.check(&|id: &str| prompts.contains(id));
        for f in &findings {
            if f.severity == Severity::Error {
                errors += 1;
            }
            say(&format!("{name}: {f}"));
        }
        if findings.is_empty() {
            say(&format!("{name}: 正常 / ok"));
        }
    }
    if errors > 0 {
        bail!("{errors} 处错误 / errors: 修改后再启用 / mend them before use");
    }
    Ok(())
}

/// Prints Mermaid.
pub fn graph(config: &Config, flow: &str) -> anyhow::Result<()> {
    say(&load(config, flow)?.mermaid());
    Ok(())
}

fn names(config: &Config, flow: Option<&str>) -> Vec<String> {
    match flow {
        Some(name) => vec![name.to_owned()],
        None => {
            let all: BTreeSet<String> =
                FLOWS.iter().map(|s| (*s).to_owned()).chain(config.hotlines.iter().map(|h| h.flow.clone())).collect();
            all.into_iter().collect()
        }
    }
}

fn load(config: &Config, name: &str) -> anyhow::Result<Flow> {
    if std::path::Path::new(name).extension().is_some_and(|e| e == "toml") {
        let text = std::fs::read_to_string(name)?;
        return Ok(Flow::parse(name, &text)?);
    }
    Ok(load_flow(config, name)?)
}

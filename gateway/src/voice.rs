//! Prompts and flows in memory: loaded once at start, shared by all calls.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotline_ivr::{Flow, FlowError, Say, say};
use hotline_media::{Clip, tone};
use tracing::warn;

use crate::config::Config;

/// Flows every site has; a file of the same name in `voice.flows_dir` replaces one.
pub const FLOWS: [&str; 6] = ["hotline", "survey", "callback", "missed", "desk", "desk_finished"];

/// Why prompts or flows can't be used.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// No folder with prompts.
    #[error("找不到语音文件夹 / no prompt folder; looked at {0}. 设置 voice.sounds_dir / set voice.sounds_dir")]
    NoSounds(String),
    /// A flow file can't be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// A flow file says something impossible.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// No such flow.
    #[error("没有名为 {0:?} 的流程 / no flow named {0:?}: 放入 voice.flows_dir / put {0}.toml into voice.flows_dir")]
    NoFlow(String),
}

/// All prompts and flows.
pub struct Voice {
    prompts: HashMap<String, Arc<Clip>>,
    flows: HashMap<String, Arc<Flow>>,
}

impl Voice {
    /// Loads every prompt of the site's language, the tones beside them (a file of a tone's name replaces it), and every flow the configuration names.
    /// A prompt file that can't be read is left out with a warning; `hotline ivr check` names it.
    pub fn load(config: &Config) -> Result<Self, VoiceError> {
        let dir = sounds_dir(config)?.join(&config.site.language);
        let mut prompts: HashMap<String, Arc<Clip>> =
            tone::named().into_iter().map(|(id, clip)| (id.to_owned(), Arc::new(clip))).collect();
        for entry in std::fs::read_dir(&dir).map_err(|e| VoiceError::Read(dir.clone(), e))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "wav")
                && let Some(id) = path.file_stem().and_then(|s| s.to_str())
            {
                match Clip::from_wav(&path) {
                    Ok(clip) => drop(prompts.insert(id.to_owned(), Arc::new(clip))),
                    Err(e) => warn!(prompt = id, error = %e, "prompt left out"),
                }
            }
        }
        let mut flows = HashMap::new();
        let wanted = FLOWS.iter().copied().chain(config.hotlines.iter().map(|h| h.flow.as_str()));
        for name in wanted {
            if !flows.contains_key(name) {
                flows.insert(name.to_owned(), Arc::new(load_flow(config, name)?));
            }
        }
        Ok(Self { prompts, flows })
    }

    /// A flow by name.
    #[must_use]
    pub fn flow(&self, name: &str) -> Option<Arc<Flow>> {
        self.flows.get(name).cloned()
    }

    /// All flows.
    pub fn flows(&self) -> impl Iterator<Item = (&str, &Flow)> {
        self.flows.iter().map(|(n, f)| (n.as_str(), f.as_ref()))
    }

    /// Whether a prompt is there.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.prompts.contains_key(id)
    }

    /// The clips of a speech; a missing prompt is skipped, the caller hears the rest.
    #[must_use]
    pub fn clips(&self, pieces: &[Say]) -> Vec<Arc<Clip>> {
        say::expand(pieces)
            .iter()
            .filter_map(|id| {
                let clip = self.prompts.get(id).cloned();
                if clip.is_none() {
                    warn!(prompt = id, "missing prompt skipped");
                }
                clip
            })
            .collect()
    }
}

/// A site's own flow, or the built-in one.
pub fn load_flow(config: &Config, name: &str) -> Result<Flow, VoiceError> {
    if let Some(dir) = &config.voice.flows_dir {
        let path = dir.join(format!("{name}.toml"));
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(|e| VoiceError::Read(path.clone(), e))?;
            return Ok(Flow::parse(&path.display().to_string(), &text)?);
        }
    }
    Flow::builtin(name).ok_or_else(|| VoiceError::NoFlow(name.into()))
}

/// The configured folder, else the first of the usual ones that exists.
pub fn sounds_dir(config: &Config) -> Result<PathBuf, VoiceError> {
    if let Some(dir) = &config.voice.sounds_dir {
        return if dir.is_dir() { Ok(dir.clone()) } else { Err(VoiceError::NoSounds(dir.display().to_string())) };
    }
    let beside = std::env::current_exe().ok();
    let candidates: Vec<PathBuf> = beside
        .iter()
        .flat_map(|exe| exe.ancestors().skip(1).take(4).map(|a| a.join("sounds")))
        .chain([PathBuf::from("sounds"), PathBuf::from("/usr/share/hotline/sounds")])
        .collect();
    let usable = |p: &&PathBuf| p.join("zh-CN").is_dir() || p.join("en").is_dir();
    candidates.iter().find(usable).cloned().ok_or_else(|| VoiceError::NoSounds(list(&candidates)))
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|p: &PathBuf| Path::display(p).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_play_tones_by_name_without_files() {
        let mut config = Config::default();
        config.voice.sounds_dir = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../sounds"));
        let voice = Voice::load(&config).unwrap();
        for (id, clip) in tone::named() {
            assert!(voice.has(id), "{id}");
            assert_eq!(voice.clips(&[Say::Prompt(id.into())])[0].duration_ms(), clip.duration_ms());
        }
    }
}

//! Broken files are refused, never fatal.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failing test may panic

mod support;

use hotline_ivr::Flow;
use support::Seeded;

/// Parses, and does everything one can do with a flow that could be read.
fn swallow(text: &str) {
    match Flow::parse("x.toml", text) {
        Ok(flow) => {
            let _ = flow.check(&|id| id.len() % 2 == 0);
            assert!(flow.mermaid().starts_with("flowchart"));
        }
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{error}");
            assert!(error.to_string().len() < 4096, "{error}");
        }
    }
}

fn builtin_texts() -> impl Iterator<Item = &'static str> {
    Flow::builtin_names().iter().map(|name| Flow::builtin_text(name).unwrap())
}

#[test]
fn truncated_files_never_panic() {
    for text in builtin_texts() {
        for end in (0..text.len()).step_by(7).filter(|end| text.is_char_boundary(*end)) {
            swallow(&text[..end]);
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let alphabet: Vec<char> = "\0\n\"'[]{}=.,#$\\1a井 _-\u{2028}\u{ffff}".chars().collect();
    for (salt, text) in builtin_texts().enumerate() {
        let chars: Vec<char> = text.chars().collect();
        for seed in 0..400 {
            let mut seeded = Seeded::new(seed * 4 + salt as u64);
            let mut mutated = chars.clone();
            for _ in 0..=seeded.below(4) {
                let at = seeded.below(mutated.len());
                match seeded.below(3) {
                    0 => mutated[at] = alphabet[seeded.below(alphabet.len())],
                    1 => mutated.insert(at, alphabet[seeded.below(alphabet.len())]),
                    _ => {
                        let end = (at + seeded.below(40)).min(mutated.len());
                        mutated.drain(at..end);
                    }
                }
            }
            swallow(&mutated.into_iter().collect::<String>());
        }
    }
}

#[test]
fn lines_in_any_order_never_panic() {
    for text in builtin_texts() {
        let lines: Vec<&str> = text.lines().collect();
        for seed in 0..200 {
            let mut seeded = Seeded::new(seed);
            let mut shuffled = lines.clone();
            for _ in 0..3 {
                let (a, b) = (seeded.below(lines.len()), seeded.below(lines.len()));
                shuffled.swap(a, b);
            }
            swallow(&shuffled.join("\n"));
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    swallow(&format!("a = {}", "[".repeat(100_000)));
    swallow(&format!("a = {}", "{a=".repeat(50_000)));
    swallow(&"a.".repeat(60_000));
    swallow(&format!("[{}a]", "a.".repeat(60_000)));
}

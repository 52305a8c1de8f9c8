//! The one decision about every outgoing call to an outside number (domain rule 2.4: only from a task).

use crate::config::{Config, Trunk};

/// Why a number isn't dialled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No trunk places calls.
    #[error("没有可外呼的中继 / no trunk with `outbound` is configured")]
    NoTrunk,
    /// The number's prefix isn't allowed on the trunk.
    #[error("号码不在允许外呼的号段内 / the number's prefix is not allowed on the trunk")]
    Prefix,
}

/// Mainland mobiles, and fixed numbers with area code (Numbering plan of the PRC).
const DEFAULT_PREFIXES: [&str; 2] = ["1", "0"];

/// The trunk and the digits to dial for an E.164 `number` that an open task names.
pub fn outgoing<'a>(config: &'a Config, number: &str) -> Result<(&'a Trunk, String), Refusal> {
    let wanted = &config.callback.trunk;
    let trunk = config
        .trunks
        .iter()
        .find(|t| t.outbound.is_some() && (wanted.is_empty() || t.name == *wanted))
        .ok_or(Refusal::NoTrunk)?;
    let dialled = match number.strip_prefix("+86") {
        Some(rest) if rest.starts_with('1') && rest.len() == 11 => rest.to_owned(),
        Some(rest) => format!("0{rest}"),
        None => number.to_owned(),
    };
    let digits_only = !dialled.is_empty() && dialled.bytes().all(|b| b.is_ascii_digit());
    let allowed = if trunk.dial_prefixes.is_empty() {
        DEFAULT_PREFIXES.iter().any(|p| dialled.starts_with(p))
            && (10..=12).contains(&dialled.len())
            && !dialled.starts_with("00")
    } else {
        trunk.dial_prefixes.iter().any(|p| dialled.starts_with(p.as_str()))
    };
    if digits_only && allowed { Ok((trunk, dialled)) } else { Err(Refusal::Prefix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let trunk = Trunk { name: "ims".into(), outbound: "127.0.0.1:5070".parse().ok(), ..Trunk::default() };
        Config { trunks: vec![trunk], ..Config::default() }
    }

    #[test]
    fn only_mainland_numbers_are_dialled_by_default() {
        let c = config();
        assert_eq!(outgoing(&c, "+8613812345678").unwrap().1, "13812345678");
        assert_eq!(outgoing(&c, "+8651912345678").unwrap().1, "051912345678");
        for toll in
            ["+1900555123", "0019005551234", "+882161234567", "95588", "", "138123456789999", "+8613812345678;x"]
        {
            assert_eq!(outgoing(&c, toll).unwrap_err(), Refusal::Prefix, "{toll}");
        }
        assert_eq!(outgoing(&Config::default(), "+8613812345678").unwrap_err(), Refusal::NoTrunk);
    }
}

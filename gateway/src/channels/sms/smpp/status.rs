//! What a response's `command_status` (SMPP 3.4 §5.1.3) means for a text.

use rusmpp::CommandStatus;

/// What became of one submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The carrier has it, under this id.
    Accepted(String),
    /// It wants us to be slower: the same again after a pause.
    Throttled,
    /// Not this time: the same again later, or by another line.
    Later(String),
    /// Never.
    Refused(String),
    /// It certainly didn't leave.
    NotSent(String),
    /// It may have left, and nobody answered.
    Unknown(String),
}

/// A response's status as an outcome.
pub(super) fn outcome(status: CommandStatus, id: Option<&str>) -> Submitted {
    match status {
        CommandStatus::EsmeRok => Submitted::Accepted(id.unwrap_or_default().to_owned()),
        CommandStatus::EsmeRthrottled | CommandStatus::EsmeRmsgqful => Submitted::Throttled,
        CommandStatus::EsmeRsyserr
        | CommandStatus::EsmeRsubmitfail
        | CommandStatus::EsmeRinvbndsts
        | CommandStatus::EsmeRxTAppn
        | CommandStatus::EsmeRunknownerr
        | CommandStatus::EsmeRsertypunavail => Submitted::Later(name(status)),
        // What a carrier made up itself says nothing about whether it is for good.
        CommandStatus::Other(n) if n >= 0x400 => Submitted::Later(name(status)),
        _ => Submitted::Refused(name(status)),
    }
}

/// `ESME_RINVDSTADR (0x0000000B)`.
pub(super) fn name(status: CommandStatus) -> String {
    let word = match status {
        CommandStatus::Other(_) => "VENDOR".to_owned(),
        known => format!("{known:?}").replacen("Esme", "ESME_", 1).to_ascii_uppercase(),
    };
    format!("{word} (0x{:08X})", u32::from(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_consequence() {
        let of = |n: u32| outcome(CommandStatus::from(n), Some("7"));
        assert_eq!(of(0), Submitted::Accepted("7".into()));
        assert_eq!((of(0x58), of(0x14)), (Submitted::Throttled, Submitted::Throttled));
        assert_eq!(of(8), Submitted::Later("ESME_RSYSERR (0x00000008)".into()));
        assert_eq!(of(0x0B), Submitted::Refused("ESME_RINVDSTADR (0x0000000B)".into()));
        assert!(matches!(of(0x401), Submitted::Later(_)));
        for n in 1..0x500 {
            assert!(!matches!(of(n), Submitted::Accepted(_) | Submitted::NotSent(_) | Submitted::Unknown(_)), "{n}");
        }
    }
}

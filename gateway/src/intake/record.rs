//! An envelope as the journal keeps it: JSON, sealed like every number at rest.

use serde::{Deserialize, Serialize};

use super::envelope::{Attached, Channel, Datum, Envelope, Fetch, MediaKind, Place, Sender};
use crate::privacy::{Pii, SealError, Sealer};

#[derive(Serialize, Deserialize)]
struct Record {
    channel: String,
    line: String,
    dedup_key: String,
    /// Kind and value.
    sender: Option<(String, String)>,
    to: String,
    provider_time: Option<i64>,
    at: i64,
    text: String,
    /// Longitude, latitude, datum, label.
    place: Option<(f64, f64, String, Option<String>)>,
    attached: Vec<String>,
    fetch: Vec<(MediaKind, String)>,
    automatic: bool,
    test: bool,
    link: Option<String>,
    limited: bool,
}

/// The sealed record of a message and of whether it was over a limit.
///
/// # Errors
/// [`SealError::Seal`].
pub fn seal(sealer: &Sealer, e: &Envelope, limited: bool) -> Result<Vec<u8>, SealError> {
    let sender = match &e.sender {
        Sender::Phone(v) => Some(("phone", v)),
        Sender::Openid(v) => Some(("openid", v)),
        Sender::Mail(v) => Some(("mail", v)),
        Sender::Unknown => None,
    };
    let record = Record {
        channel: e.channel.as_str().into(),
        line: e.line.clone(),
        dedup_key: e.dedup_key.clone(),
        sender: sender.map(|(kind, value)| (kind.into(), value.reveal().clone())),
        to: e.to.clone(),
        provider_time: e.provider_time,
        at: e.at,
        text: e.text.clone(),
        place: e.place.as_ref().map(|p| (p.lon, p.lat, p.datum.as_str().into(), p.label.clone())),
        attached: e.attached.iter().map(|a| a.sha256.clone()).collect(),
        fetch: e.fetch.iter().map(|f| (f.kind, f.reference.clone())).collect(),
        automatic: e.automatic,
        test: e.test,
        link: e.link.clone(),
        limited,
    };
    let text = serde_json::to_string(&record).map_err(|_| SealError::Seal)?;
    sealer.seal(&text)
}

/// The message again; `None` for what this key or this program can't read.
#[must_use]
pub fn open(sealer: &Sealer, sealed: &[u8]) -> Option<(Envelope, bool)> {
    let record: Record = serde_json::from_str(&sealer.open_sealed(sealed).ok()?).ok()?;
    let sender = match record.sender {
        Some((kind, value)) => match kind.as_str() {
            "phone" => Sender::Phone(Pii::new(value)),
            "openid" => Sender::Openid(Pii::new(value)),
            "mail" => Sender::Mail(Pii::new(value)),
            _ => return None,
        },
        None => Sender::Unknown,
    };
    let datum = |word: &str| [Datum::Wgs84, Datum::Gcj02, Datum::Cgcs2000].into_iter().find(|d| d.as_str() == word);
    let place = match record.place {
        Some((lon, lat, word, label)) => Some(Place { lon, lat, datum: datum(&word)?, label }),
        None => None,
    };
    let envelope = Envelope {
        channel: Channel::of(&record.channel)?,
        line: record.line,
        dedup_key: record.dedup_key,
        sender,
        to: record.to,
        provider_time: record.provider_time,
        at: record.at,
        text: record.text,
        place,
        attached: record.attached.into_iter().map(|sha256| Attached { sha256 }).collect(),
        fetch: record.fetch.into_iter().map(|(kind, reference)| Fetch { kind, reference }).collect(),
        automatic: record.automatic,
        test: record.test,
        link: record.link,
    };
    Some((envelope, record.limited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_sealed_and_comes_back_whole() {
        let sealer = Sealer::from_key([3; 32]);
        let sender = Sender::Phone(Pii::new("+8613812345678".into()));
        let mut e = Envelope::text(Channel::Wechat, "a", "k".into(), sender, "人民路88号".into(), 7);
        e.place = Some(Place { lon: 120.5, lat: 31.25, datum: Datum::Gcj02, label: Some("门口".into()) });
        e.attached = vec![Attached { sha256: "ab".into() }];
        e.fetch = vec![Fetch { kind: MediaKind::Voice, reference: "m".into() }];
        (e.provider_time, e.link, e.test) = (Some(5), Some("l".into()), true);
        let sealed = seal(&sealer, &e, true).unwrap();
        let plain = String::from_utf8_lossy(&sealed);
        assert!(!plain.contains("13812345678") && !plain.contains("人民路"));
        let (back, limited) = open(&sealer, &sealed).unwrap();
        assert!(limited && back == e);
        assert!(open(&Sealer::from_key([4; 32]), &sealed).is_none());
    }
}

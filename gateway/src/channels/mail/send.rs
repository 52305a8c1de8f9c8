//! Outgoing mail: claims rows of channel `mail`, makes the message, sends it, writes down what became of it.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{Outgoing, OutgoingPurpose, OutgoingState};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use rand::Rng;
use tracing::{error, info, warn};

use super::limits::{IDLE, LEASE_MARGIN_MS, SENT_AT_ONCE};
use super::parse::message_id_of;
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::{MailTls, Smtp};

const DAY_MS: i64 = 86_400_000;
/// The line's name in rows.
pub(super) const LINE: &str = "smtp";
/// How the Message-IDs of ours begin.
pub(super) const OUR_IDS: &str = "hl.";

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// What is done about a mail that wasn't taken.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The address or the mail is refused: never again.
    Never,
    /// The server asked to wait.
    Later,
    /// Connection, TLS, sign-in: nothing leaves until a person helps, or the server comes back.
    Ours,
}

/// Sends until cancelled.
pub(super) async fn run(sv: Arc<Services>) {
    let settings = &sv.config.mail.smtp;
    let mut transport = None;
    loop {
        let lease_ms = i64::try_from(settings.timeout_ms).unwrap_or(60_000) * 8 + LEASE_MARGIN_MS;
        let claimed = sv.store.outgoing_claim("mail", now_ms(), lease_ms, SENT_AT_ONCE).await.unwrap_or_else(|e| {
            warn!(error = %e, "outgoing mail");
            Vec::new()
        });
        if claimed.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(IDLE) => continue,
                () = sv.cancel.cancelled() => return,
            }
        }
        if transport.is_none() {
            transport = match open(settings) {
                Ok(open) => Some(open),
                Err(why) => {
                    alarm(&sv, &why);
                    None
                }
            };
        }
        for row in claimed {
            send(&sv, transport.as_ref(), row).await;
        }
    }
}

async fn send(sv: &Services, transport: Option<&Transport>, row: Outgoing) {
    let written = match attempt(sv, transport, &row).await {
        Ok(()) => Ok(()),
        Err(e) => written_down(sv, &row, &e).await,
    };
    if let Err(e) = written {
        // The lease runs out and the row comes again; a mail sent twice has the same Message-ID.
        warn!(row = %row.id, error = %e, "outgoing mail's row not updated");
    }
}

/// Why a mail didn't leave.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Never(String),
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// Connection, TLS or sign-in: nothing of the mail has left.
    #[error("{0}")]
    Unsent(lettre::transport::smtp::Error),
    #[error("mail.smtp can't be used, see the log")]
    NoTransport,
    #[error(transparent)]
    Store(#[from] hotline_db::DbError),
}

async fn attempt(sv: &Services, transport: Option<&Transport>, row: &Outgoing) -> Result<(), SendError> {
    let never = |why: &str| SendError::Never(why.into());
    let address = sv.sealer.open_sealed(&row.to_sealed).map_err(|_| never("the address can't be opened"))?;
    if has_enough(sv, row).await? {
        sv.metrics.mail.sent("held_back");
        return Err(never("held back: this address had its answers of the day (mail.answers_per_day)"));
    }
    let id = message_id(row, sv.config.mail.domain());
    let message = message(sv, row, &address, &id).await.map_err(|why| never(&why))?;
    let transport = transport.ok_or(SendError::NoTransport)?;
    let ids = [id];
    if row.once {
        // Proven first: a server that can't be reached mustn't use up the only try.
        transport.test_connection().await.map_err(SendError::Unsent)?;
        // Written before it leaves: at most once.
        if !sv.store.outgoing_submitted(row.id, LINE, &ids, now_ms()).await? {
            return Ok(());
        }
    }
    transport.send(message).await?;
    sv.metrics.mail.sent("sent");
    if sv.metrics.mail.smtp(true) {
        info!("outgoing mail works");
    }
    info!(row = %row.id, purpose = row.purpose.as_str(), "mail sent");
    if !row.once {
        sv.store.outgoing_submitted(row.id, LINE, &ids, now_ms()).await?;
    }
    Ok(())
}

async fn written_down(sv: &Services, row: &Outgoing, e: &SendError) -> hotline_db::Result<()> {
    let (fate, why) = match e {
        SendError::Never(why) => (Fate::Never, why.clone()),
        SendError::Smtp(e) => (fate(e.status().map(u16::from), e.is_transient()), outline(e)),
        SendError::Unsent(e) => (if e.is_transient() { Fate::Later } else { Fate::Ours }, outline(e)),
        SendError::NoTransport | SendError::Store(_) => (Fate::Ours, e.to_string()),
    };
    match fate {
        Fate::Never => {
            sv.metrics.mail.sent("failed");
            warn!(row = %row.id, why, "mail not sent, and not tried again");
            return sv.store.outgoing_failed(row, &why).await.map(|_| ());
        }
        Fate::Later => warn!(row = %row.id, why, "the mail server asks to wait"),
        Fate::Ours => alarm(sv, &why),
    }
    let pause = pause_ms(row.attempts, &sv.config.mail.smtp, &mut rand::rng());
    if row.once {
        let unsent = matches!(e, SendError::Unsent(_) | SendError::NoTransport | SendError::Store(_));
        // Not so if it stands as submitted, and only the database's answer was lost.
        if unsent && sv.store.outgoing_retry(row, now_ms() + pause, &why).await? {
            sv.metrics.mail.sent("retried");
            return Ok(());
        }
        // A reply is a clear no, whenever it comes (RFC 5321 §4.2.1): the server has taken nothing.
        let is_refused = matches!(e, SendError::Smtp(e) if e.status().is_some());
        if is_refused && sv.store.outgoing_unsubmitted(row, now_ms() + pause, &why).await? {
            sv.metrics.mail.sent("retried");
            return Ok(());
        }
        // It may have left before the connection broke: that was the only try.
        let state = if is_refused { OutgoingState::Failed } else { OutgoingState::Unknown };
        let id = message_id(row, sv.config.mail.domain());
        return sv.store.outgoing_report(LINE, &id, state, &why, now_ms()).await.map(|_| ());
    }
    sv.metrics.mail.sent("retried");
    sv.store.outgoing_retry(row, now_ms() + pause, &why).await.map(|_| ())
}

/// Once when it begins; `/healthz` and the gauge say how long.
fn alarm(sv: &Services, why: &str) {
    if sv.metrics.mail.smtp(false) {
        error!(
            why,
            "发信失败,持续重试:请检查 mail.smtp / mail can't be sent, tried again until it can: check mail.smtp"
        );
    }
}

/// What to do about a reply code (RFC 5321 §4.2.3). Refused sign-ins (530, 534, 535, 538) and commands
/// (50x) are about us, not about the citizen's address: the next mail would fare the same.
fn fate(code: Option<u16>, is_transient: bool) -> Fate {
    match code {
        Some(500 | 502..=504 | 521 | 530 | 534 | 535 | 538) => Fate::Ours,
        Some(501 | 505..=599) => Fate::Never,
        Some(_) if is_transient => Fate::Later,
        _ => Fate::Ours,
    }
}

/// The reply code, and the server's words without the address they quote.
fn outline(e: &lettre::transport::smtp::Error) -> String {
    let text: String = e.to_string().chars().take(300).collect();
    text.split_whitespace().map(|word| if word.contains('@') { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Half of the doubled pause is certain, the rest is drawn.
fn pause_ms(attempts: i64, settings: &Smtp, rng: &mut impl Rng) -> i64 {
    let doubled = settings.retry_ms.saturating_mul(1 << attempts.clamp(1, 20).unsigned_abs().saturating_sub(1));
    let ceiling = doubled.min(settings.retry_max_ms).max(2);
    i64::try_from(rng.random_range(ceiling / 2..=ceiling)).unwrap_or(i64::MAX)
}

/// Whether this address has had its automatic answers of the last 24 hours.
async fn has_enough(sv: &Services, row: &Outgoing) -> hotline_db::Result<bool> {
    if !is_automatic(row.purpose) {
        return Ok(false);
    }
    let most = sv.config.mail.answers_per_day;
    let since = now_ms() - DAY_MS;
    let sent = sv.store.outgoing_to(&row.to_hash, most.saturating_mul(2).saturating_add(20)).await?;
    let counts = |r: &&Outgoing| {
        r.id != row.id && r.channel == "mail" && is_automatic(r.purpose) && r.submitted_at.is_some_and(|at| at > since)
    };
    Ok(i64::try_from(sent.iter().filter(counts).count()).unwrap_or(i64::MAX) >= most)
}

fn is_automatic(purpose: OutgoingPurpose) -> bool {
    !matches!(purpose, OutgoingPurpose::Reply | OutgoingPurpose::Page | OutgoingPurpose::Test)
}

/// Ours, the same for every try of a row.
fn message_id(row: &Outgoing, domain: &str) -> String {
    format!("{OUR_IDS}{}@{domain}", row.id)
}

async fn message(sv: &Services, row: &Outgoing, address: &str, id: &str) -> Result<Message, String> {
    let mail = &sv.config.mail;
    let own = |address: &str| -> Result<Mailbox, String> {
        let parsed = address.parse().map_err(|_| "mail.address is no address".to_owned())?;
        Ok(Mailbox::new(Some(mail.name.clone()).filter(|n| !n.is_empty()), parsed))
    };
    let to: lettre::Address = address.parse().map_err(|_| "not an address mail can go to".to_owned())?;
    let automatic = if is_automatic(row.purpose) { "auto-replied" } else { "auto-generated" };
    let mut builder = Message::builder()
        .from(own(&mail.address)?)
        .to(Mailbox::new(None, to))
        .subject(subject(row))
        .message_id(Some(format!("<{id}>")))
        .raw_header(header("Auto-Submitted", automatic))
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        .raw_header(header("X-Loop", &mail.address));
    if !mail.reply_to.is_empty() {
        builder = builder.reply_to(own(&mail.reply_to)?);
    }
    if let Some(answered) = answered(sv, row).await {
        builder = builder.in_reply_to(format!("<{answered}>")).references(format!("<{answered}>"));
    }
    builder.header(ContentType::TEXT_PLAIN).body(row.text.clone()).map_err(|e| e.to_string())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// A subject of the template's own, else one by purpose; never words of a citizen's.
fn subject(row: &Outgoing) -> String {
    let given = row.params.0.get("subject").and_then(|s| s.as_str()).filter(|s| !s.is_empty());
    let by_purpose = match row.purpose {
        OutgoingPurpose::Receipt => "已收到您的反映 / We have your report",
        OutgoingPurpose::Question => "请补充信息 / One more question",
        OutgoingPurpose::Progress => "办理进度 / Progress",
        OutgoingPurpose::Survey => "请您评价 / How was it?",
        OutgoingPurpose::Test => "自检 / Self-test",
        _ => "热线回复 / From the hotline",
    };
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    clean(given.unwrap_or(by_purpose))
}

/// The Message-ID of the citizen's mail this one answers.
async fn answered(sv: &Services, row: &Outgoing) -> Option<String> {
    let messages = sv.store.messages_of_conversation(row.conversation?).await.ok()?;
    let ids = messages.iter().rev().filter(|m| m.channel == "mail").filter_map(|m| message_id_of(&m.dedup_key));
    let clean = |id: &&str| id.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'));
    ids.into_iter().find(clean).map(str::to_owned)
}

fn open(settings: &Smtp) -> Result<Transport, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let tls = match settings.tls {
        MailTls::Plain => Tls::None,
        how => {
            let mut parameters = TlsParameters::builder(settings.host.clone());
            if let Some(ca) = &settings.ca {
                let pem = std::fs::read(ca).map_err(|e| format!("mail.smtp.ca: {e}"))?;
                let roots = Certificate::from_pem(&pem).map_err(|e| text(&e))?;
                parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(roots);
            }
            let parameters = parameters.build().map_err(|e| text(&e))?;
            if how == MailTls::Tls { Tls::Wrapper(parameters) } else { Tls::Required(parameters) }
        }
    };
    let mut builder = Transport::builder_dangerous(settings.host.clone())
        .port(settings.port)
        .tls(tls)
        .hello_name(ClientId::default())
        .timeout(Some(Duration::from_millis(settings.timeout_ms)));
    if !settings.user.is_empty() {
        let password = super::secret(&settings.password, settings.password_file.as_deref())
            .map_err(|e| format!("mail.smtp.password_file: {e}"))?;
        builder = builder.credentials(Credentials::new(settings.user.clone(), password));
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_citizens_address_is_final() {
        for code in [550, 551, 552, 553, 554, 501, 556] {
            assert_eq!(fate(Some(code), false), Fate::Never, "{code}");
        }
        for code in [530, 534, 535, 538, 500, 502, 503, 504] {
            assert_eq!(fate(Some(code), false), Fate::Ours, "{code}: about our own set-up");
        }
        assert_eq!(fate(Some(451), true), Fate::Later);
        assert_eq!(fate(None, false), Fate::Ours, "connection and TLS errors have no code");
    }

    #[test]
    fn pauses_double_up_to_the_ceiling() {
        let settings = Smtp { retry_ms: 100, retry_max_ms: 5_000, ..Smtp::default() };
        let mut rng = rand::rng();
        for attempts in 0..80 {
            let pause = pause_ms(attempts, &settings, &mut rng);
            assert!((50..=5_000).contains(&pause), "{attempts}: {pause}");
        }
        assert!(pause_ms(12, &settings, &mut rng) >= 2_500);
    }
}

//! A gateway with a mailbox and a mail server around it.

use hotline_tests::gateway::{Gateway, GatewayConfig};
use hotline_tests::peer::{Dovecot, IMAP_PASSWORD, SinkTls, SmtpSink, SunkMail, python};
use hotline_tests::tls::Certificates;
use hotline_tests::until;
use serde_json::{Value, json};

pub(crate) const OWN: &str = "12319@city.example";
pub(crate) const CITIZEN: &str = "zhang@citizen.example";

pub(crate) struct Post {
    pub(crate) gateway: Gateway,
    pub(crate) imap: Dovecot,
    pub(crate) sink: SmtpSink,
    _certificates: Certificates,
}

impl Post {
    /// Starts all three; without a push of the server no mail would come within half an hour.
    pub(crate) async fn open(tls: SinkTls, settle: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        let mut post = Self::prepare(tls, settle).await;
        post.gateway.boot().await.unwrap();
        post
    }

    /// As [`Post::open`], with the gateway not yet started.
    pub(crate) async fn prepare(tls: SinkTls, settle: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Self {
        let certificates = Certificates::new(&["127.0.0.1", "localhost"]).unwrap();
        let imap = Dovecot::start(&certificates).await.unwrap();
        let user = (tls != SinkTls::Plain).then_some(("hotline", "smtp-secret"));
        let sink = SmtpSink::start(tls, &certificates, user).await.unwrap();
        let word = match tls {
            SinkTls::Plain => "plain",
            SinkTls::Tls => "tls",
            SinkTls::Starttls => "starttls",
        };
        let ca = certificates.ca().display().to_string();
        let config = GatewayConfig::default()
            .with("mail.address", OWN)
            .with("mail.imap.host", "127.0.0.1")
            .with("mail.imap.port", i64::from(imap.tls().port()))
            .with("mail.imap.ca", ca.as_str())
            .with("mail.imap.user", "hotline")
            .with("mail.imap.password", IMAP_PASSWORD)
            .with("mail.imap.idle_s", 1_700)
            .with("mail.imap.poll_s", 3_600)
            .with("mail.smtp.host", "127.0.0.1")
            .with("mail.smtp.port", i64::from(sink.address().port()))
            .with("mail.smtp.tls", word)
            .with("mail.smtp.ca", ca.as_str())
            .with("mail.smtp.user", user.map_or("", |(name, _)| name))
            .with("mail.smtp.password", user.map_or("", |(_, password)| password))
            .with("mail.smtp.timeout_ms", 20_000)
            .with("mail.smtp.retry_ms", 100)
            .with("mail.smtp.retry_max_ms", 400);
        let gateway = Gateway::prepare(settle(config)).unwrap();
        Self { gateway, imap, sink, _certificates: certificates }
    }

    /// Until the gateway waits in an IDLE.
    pub(crate) async fn waits(&self) {
        let look = || async { self.gateway.log().contains("waiting for mail").then_some(()) };
        until("the IDLE", 20_000, look).await.unwrap();
    }

    /// Until so many mails had this outcome.
    pub(crate) async fn taken(&self, outcome: &str, count: usize) {
        let line = format!("hotline_mail_in_total{{outcome=\"{outcome}\"}} {count}");
        let look = || async { self.gateway.api().metrics().await.ok()?.contains(&line).then_some(()) };
        until(&line, 20_000, look).await.unwrap();
    }

    /// Until so many outgoing texts are in this state.
    pub(crate) async fn outgoing(&self, state: &str, count: usize) {
        let query = format!("SELECT id FROM outgoing WHERE state = '{state}'");
        let look = || async { (self.rows(&query).len() == count).then_some(()) };
        until(&format!("{count} texts {state}"), 30_000, look).await.unwrap();
    }

    /// What a query of the gateway's database finds.
    pub(crate) fn rows(&self, query: &str) -> Vec<Value> {
        rows(&self.gateway, query)
    }

    /// A mail's text.
    pub(crate) fn body(&self, mail: &SunkMail) -> String {
        let script = "import email, email.policy, sys\n\
            m = email.message_from_string(sys.stdin.read(), policy=email.policy.default)\n\
            sys.stdout.buffer.write(m.get_content().encode())";
        python(script, &mail.raw).unwrap()
    }
}

/// What a query of the gateway's SQLite file finds, read by Python's own library.
pub(crate) fn rows(gateway: &Gateway, query: &str) -> Vec<Value> {
    let script = "import json, sqlite3, sys\n\
        asked = json.load(sys.stdin)\n\
        c = sqlite3.connect('file:' + asked['file'] + '?mode=ro', uri=True, timeout=10)\n\
        c.row_factory = sqlite3.Row\n\
        print(json.dumps([dict(row) for row in c.execute(asked['query'])]))";
    let file = gateway.data_dir().join("hotline.db").display().to_string();
    let found = python(script, &json!({"file": file, "query": query}).to_string()).unwrap();
    serde_json::from_str(&found).unwrap()
}

/// What a line of Python prints.
pub(crate) fn python_text(script: &str) -> String {
    python(script, "").unwrap().trim().to_owned()
}

/// A plain mail.
pub(crate) fn raw_mail(id: &str, from: &str, text: &str) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: {OWN}\r\nSubject: 12319\r\nMessage-ID: <{id}@citizen.example>\r\n\
         Date: Fri, 20 Nov 2026 10:00:00 +0800\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

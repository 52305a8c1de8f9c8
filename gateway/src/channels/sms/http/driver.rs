//! A line of the configuration that is an aggregator: texts from the sender to its interface.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use super::send::{self, send};
use crate::app::Services;
use crate::channels::sms::line::{Fault, LineState, Order, Outcome, Text};
use crate::channels::sms::smpp::Submitted;
use crate::clock::now_ms;
use crate::config::HttpLine;
use crate::privacy::sha256_hex;

/// A line that refused us isn't asked first for so long.
const AVOID_MS: i64 = 15_000;

/// Starts the line. It counts as up while its settings can be used: there is no connection to keep.
pub fn spawn(sv: &Arc<Services>, name: &str, settings: &HttpLine) {
    let Some(line) = sv.sms.get(name) else { return };
    let Some(feed) = line.take_feed() else { return };
    let mut settings = settings.clone();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let ready = settings.secret().and_then(|secret| client.map(|c| (secret, c)).map_err(|e| e.to_string()));
    match ready {
        Ok((secret, client)) => {
            settings.secret = secret;
            line.state.link_up();
            sv.metrics.sms.links(&line.name, 1);
            tokio::spawn(run(feed, Arc::new(settings), client, Arc::clone(&line.state)));
        }
        Err(e) => {
            line.state.failed(&e);
            warn!(line = line.name, error = e, "线路不可用 / the line can't be used");
        }
    }
}

async fn run(mut feed: mpsc::Receiver<Order>, settings: Arc<HttpLine>, client: reqwest::Client, state: Arc<LineState>) {
    let places = Arc::new(Semaphore::new(settings.window));
    while let Some(Order { text, ticket, reply }) = feed.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        if !ticket.begin() {
            // Whoever wanted it sent has given up, and may have sent it elsewhere.
            continue;
        }
        let (settings, client, state) = (Arc::clone(&settings), client.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let outcome = one(&settings, &client, &text).await;
            if matches!(outcome, Outcome::NotSent { .. } | Outcome::Refused { fault: Fault::Passing, .. }) {
                state.avoid_until(now_ms() + AVOID_MS);
            }
            let _ = reply.send(outcome);
            drop(place);
        });
    }
}

async fn one(settings: &HttpLine, client: &reqwest::Client, text: &Text) -> Outcome {
    let now = now_ms();
    let nonce = format!("{:016x}", rand::random::<u64>());
    // The same text's later attempts carry the same id where the aggregator tells repetitions by it.
    let seed = format!("{}|{}|{}", text.to.reveal(), text.expires_at, text.text.reveal());
    let id = sha256_hex(seed.as_bytes())[..24].to_owned();
    let template_id = settings.template_ids.get(&text.template).map_or("", String::as_str);
    if template_id.is_empty() && settings.templates_only {
        return Outcome::Refused {
            code: format!("没有模板号 / no template id for {}", text.template),
            fault: Fault::Line,
        };
    }
    let sent = send::Text {
        to: text.to.reveal(),
        text: text.text.reveal(),
        id: &id,
        template_id,
        params: &text.params,
        now,
        nonce: &nonce,
    };
    match send(client, settings, &sent).await {
        Submitted::Accepted(id) => {
            Outcome::Accepted { provider_ids: if id.is_empty() { Vec::new() } else { vec![id] } }
        }
        Submitted::Throttled => Outcome::Throttled,
        Submitted::Later(code) => Outcome::Refused { code, fault: Fault::Passing },
        Submitted::Refused(code) => Outcome::Refused { code, fault: Fault::Text },
        Submitted::NotSent(error) => Outcome::NotSent { error },
        Submitted::Unknown(error) => Outcome::Unknown { error },
    }
}

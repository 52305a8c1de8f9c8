//! What a voice flow may ask the gateway to do; each answers with the label its flow branches on.

use std::collections::BTreeMap;

use hotline_db::{CallbackKind, DbError, Id, Item, ItemState, NewCallback};
use tracing::warn;

use super::driver::Driver;
use crate::callback::schedule::Owed;
use crate::channels::web::link::{self, LinkError};
use crate::clock::now_ms;
use crate::dialout::{Purpose, judge};
use crate::privacy::normalize_phone;

/// The citizen still hears the goodbye of this call: calling back sooner would find them busy.
const GOODBYE_MS: i64 = 15_000;

pub(super) type Vars = BTreeMap<String, String>;

impl Driver {
    pub(crate) async fn act(&mut self, name: &str, args: &Vars) -> (&'static str, Vars) {
        match name {
            "callback_request" => (self.callback_request(args.get("number")).await, Vars::new()),
            "text_link" => (self.text_link().await, Vars::new()),
            "announce_position" => self.announce_position().await,
            "progress_by_code" => {
                let code = args.get("code").map_or("", String::as_str);
                self.progress(if hotline_db::number::is_query_code(code) {
                    self.sv.store.item_by_query_code(code).await
                } else {
                    Ok(None)
                })
            }
            "co_report" => (self.co_report(args.get("item")).await, Vars::new()),
            "progress_by_caller" => self.progress_by_caller(args.get("last4").map_or("", String::as_str)).await,
            other => {
                warn!(call = %self.call, action = other, "a flow asks for an action the gateway doesn't know");
                ("error", Vars::new())
            }
        }
    }

    /// Key 1: keep my place and call me back. One open callback per number.
    async fn callback_request(&mut self, keyed: Option<&String>) -> &'static str {
        let party = match keyed.filter(|n| !n.is_empty()) {
            None => self.party,
            Some(number) => match normalize_phone(number, &self.sv.config.site.area_code) {
                // Nobody is promised a call that can't be placed.
                Some(number) if self.can_never_be_called(&number) => return "invalid",
                Some(number) => crate::intake::accept::party_of(&self.sv, &number).await.ok().map(|p| p.id),
                None => return "invalid",
            },
        };
        let Some(party) = party else { return "none" };
        let task = NewCallback {
            call: Some(self.call),
            party: Some(party),
            ..NewCallback::new(CallbackKind::Queued, now_ms() + GOODBYE_MS)
        };
        match self.sv.store.callback_add(task, now_ms()).await {
            Ok((_, true)) => "ok",
            Ok((_, false)) => "exists",
            Err(e) => {
                warn!(call = %self.call, error = %e, "callback task not written");
                "error"
            }
        }
    }

    /// Key 3: text me a link to report.
    async fn text_link(&mut self) -> &'static str {
        let sent = match self.sv.store.call_get(self.call).await {
            Ok(Some(call)) => link::send(&self.sv, &call, None).await,
            Ok(None) => return "error",
            Err(e) => Err(e.into()),
        };
        match sent {
            Ok(sent) => {
                self.story.event("link_sent", serde_json::json!({ "to": sent.to, "expires_at": sent.expires_at }));
                "ok"
            }
            Err(LinkError::NoNumber) => "none",
            Err(e) => {
                warn!(call = %self.call, error = %e, "no link sent");
                "error"
            }
        }
    }

    fn can_never_be_called(&self, number: &str) -> bool {
        let purpose = Purpose::Task(Owed { kind: CallbackKind::Queued, attempts: 0, preferred: None });
        crate::callback::permit::trunk(&self.sv.config).is_err()
            || judge(&self.sv.config, &self.sv.rules, purpose, number, now_ms()).is_err_and(|why| why.is_final())
    }

    /// Key 1 after an announced incident: the caller reported it too, without an operator.
    async fn co_report(&mut self, item: Option<&String>) -> &'static str {
        let Some(item) = item.and_then(|text| text.parse::<Id>().ok()) else { return "error" };
        match crate::incident::announce::join_call(&self.sv, item, self.call).await {
            Ok(item) => {
                self.story.event("co_report", serde_json::json!({ "item": item.id }));
                "ok"
            }
            Err(e) => {
                warn!(call = %self.call, error = %e, "co-reporter not written");
                "error"
            }
        }
    }

    async fn announce_position(&self) -> (&'static str, Vars) {
        let Some((position, estimate_s)) = self.sv.acd.position(&self.call.to_string()).await else {
            return ("none", Vars::new());
        };
        let vars = [
            ("position".to_owned(), position.to_string()),
            ("estimate_s".to_owned(), estimate_s.to_string()),
            ("estimate_min".to_owned(), estimate_s.div_ceil(60).max(1).to_string()),
        ];
        ("ok", vars.into())
    }

    /// The last item of this number, to who can say its last four digits (a shared line isn't enough).
    async fn progress_by_caller(&self, last4: &str) -> (&'static str, Vars) {
        let known = self.number.as_ref().is_some_and(|n| last4.len() == 4 && n.reveal().ends_with(last4));
        let Some(party) = self.party.filter(|_| known) else { return ("none", Vars::new()) };
        self.progress(self.sv.store.item_last_of_party(party).await)
    }

    /// State and promised time, never the text (domain document §3.6).
    fn progress(&self, found: Result<Option<Item>, DbError>) -> (&'static str, Vars) {
        match found {
            Ok(Some(item)) => ("found", vars_of(&item)),
            Ok(None) => ("none", Vars::new()),
            Err(e) => {
                warn!(call = %self.call, error = %e, "progress not found");
                ("error", Vars::new())
            }
        }
    }
}

fn vars_of(item: &Item) -> Vars {
    [("state_prompt".to_owned(), state_prompt(item.state).to_owned()), ("code".to_owned(), item.query_code.clone())]
        .into()
}

/// The prompt that says a state.
#[must_use]
pub(crate) const fn state_prompt(state: ItemState) -> &'static str {
    match state {
        ItemState::Registered => "state_registered",
        ItemState::Verifying => "state_verifying",
        ItemState::PreFiled => "state_prefiled",
        ItemState::HandedOff => "state_handed_over",
        ItemState::NotFiled => "state_not_filed",
        ItemState::Deferred => "state_deferred",
        ItemState::Suspended => "state_suspended",
        ItemState::AwaitingCallback => "state_callback_due",
        ItemState::Closed => "state_closed",
        ItemState::Void => "state_void",
        ItemState::Reopened => "state_reopened",
    }
}

/// Links a callback's item to its flow: what the citizen hears it is about.
pub(crate) async fn callback_vars(store: &hotline_db::Store, item: Option<Id>, utc_offset_min: i32) -> Vars {
    let Some(item) = item else { return Vars::new() };
    match store.item_get(item).await {
        Ok(Some(item)) => {
            let (year, month, day) = crate::clock::local_date(item.created_at, utc_offset_min);
            [
                ("query_code".to_owned(), item.query_code),
                ("accepted_on".to_owned(), format!("{year:04}-{month:02}-{day:02}")),
            ]
            .into()
        }
        _ => Vars::new(),
    }
}

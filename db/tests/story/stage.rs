//! What every story needs: a fresh store on the engine at hand, and short ways to common rows.

use std::{future::Future, io::Write, sync::Once};

use hotline_db::{
    Call, CallEnd, Direction, EndSide, Id, Item, ItemHandoff, NewCall, NewItem, NewRecording, Party, RecordingDone,
    RecordingKind, Store,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor};

/// 2026-03-02 09:00 in China.
pub(crate) const T0: i64 = 1_772_413_200_000;
pub(crate) const CHINA: i32 = 480;

pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) url: String,
}

impl Stage {
    /// Runs a statement behind the store's back, as somebody with the database's password could.
    pub(crate) async fn raw(&self, statement: &str) -> Result<(), sqlx::Error> {
        let statement = AssertSqlSafe(statement.to_owned());
        if self.url.starts_with("sqlite") {
            let mut c = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            c.execute(sqlx::raw_sql(statement)).await.map(|_| ())
        } else {
            let mut c = sqlx::PgConnection::connect(&self.url).await.unwrap();
            c.execute(sqlx::raw_sql(statement)).await.map(|_| ())
        }
    }

    /// Closes the store and opens it again, as a restart does.
    pub(crate) async fn restart(&mut self) {
        self.store.close().await;
        self.store = Store::open(&self.url).await.unwrap();
    }
}

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(story: impl FnOnce(Stage) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hotline.db").display());
    let store = Store::open(&url).await.unwrap();
    story(Stage { store: store.clone(), url }).await;
    store.close().await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()>>(story: impl FnOnce(Stage) -> F) {
    let Ok(server) = std::env::var("HOTLINE_TEST_PG_URL") else {
        // Written to the stream itself: the test harness hides what a passing test prints.
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let line = b"SKIPPED: the stories on PostgreSQL (HOTLINE_TEST_PG_URL is not set)\n";
            std::io::stderr().write_all(line).unwrap();
        });
        return;
    };
    let database = format!("hotline_story_{}", Id::new().to_string().replace('-', ""));
    let mut admin = sqlx::PgConnection::connect(&server).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {database}"));
    admin.execute(sqlx::raw_sql(create)).await.unwrap();
    let url = match server.split_once('?') {
        Some((head, tail)) => format!("{}/{database}?{tail}", head.rsplit_once('/').unwrap().0),
        None => format!("{}/{database}", server.rsplit_once('/').unwrap().0),
    };
    let store = Store::open(&url).await.unwrap();
    story(Stage { store: store.clone(), url }).await;
    store.close().await;
    let drop = AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)"));
    admin.execute(sqlx::raw_sql(drop)).await.unwrap();
}

/// One story, told on both engines.
macro_rules! story {
    ($(#[$meta:meta])* $name:ident, $told:expr) => {
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "short stories need little of it")]
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::stage::on_sqlite($told).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::stage::on_postgres($told).await;
            }
        }
    };
}
pub(crate) use story;

pub(crate) async fn party(store: &Store, n: u32) -> Party {
    let hash = format!("hash-{n}");
    store.party_for_phone(&hash, &[1, 2, 3], "138****0001").await.unwrap()
}

pub(crate) fn new_call(party: Option<Id>, at: i64) -> NewCall {
    NewCall {
        direction: Direction::Inbound,
        channel: "phone".into(),
        did: "12319".into(),
        caller_masked: "138****0001".into(),
        party,
        trunk: Some("carrier".into()),
        sip_call_id: format!("{at}@carrier"),
        node: "gw1".into(),
        at,
    }
}

pub(crate) async fn call(store: &Store, party: Option<Id>) -> Call {
    store.call_begin(new_call(party, T0)).await.unwrap()
}

pub(crate) fn hung_up(at: i64) -> CallEnd {
    CallEnd {
        at,
        end_side: EndSide::Citizen,
        end_reason: "bye".into(),
        stage_abandoned: None,
        wait_ms: Some(4_000),
        talk_ms: Some(60_000),
        hold_ms: Some(0),
        wrap_ms: None,
        mos: None,
        legs: Vec::new(),
        missed: None,
        served: false,
    }
}

pub(crate) fn new_item(contact: Option<Id>) -> NewItem {
    NewItem {
        region: "330106".into(),
        channel: 1,
        kind: "投诉".into(),
        urgency: 2,
        title: "井盖缺失".into(),
        detail: "文三路口人行道井盖缺失".into(),
        location_text: Some("文三路".into()),
        source: "operator".into(),
        first_contact: contact,
        ..NewItem::default()
    }
}

pub(crate) fn to_ledger() -> Option<ItemHandoff> {
    Some(ItemHandoff {
        target: "ledger".into(),
        payload: Box::new(|item| json!({"acceptance_no": item.acceptance_no})),
    })
}

/// An item taken down in a call of a citizen, with its hand-off.
pub(crate) async fn item(store: &Store, citizen: u32) -> Item {
    let party = party(store, citizen).await;
    let call = call(store, Some(party.id)).await;
    store.item_create(new_item(Some(call.contact)), to_ledger(), T0, CHINA).await.unwrap().0
}

/// A complete recording with its transcription job.
pub(crate) async fn recording(store: &Store, call: Id) -> Id {
    let id = Id::new();
    let new = NewRecording {
        id,
        call,
        path: format!("2026/03/02/{id}.wav"),
        started_at: T0,
        channels: 2,
        kind: RecordingKind::Talk,
        notice_played: true,
    };
    store.recording_begin(new).await.unwrap();
    store.recording_finish(id, recorded(true)).await.unwrap();
    id
}

pub(crate) fn recorded(transcribe: bool) -> RecordingDone {
    RecordingDone {
        duration_ms: 60_000,
        bytes: 1_920_044,
        sha256: "ab".repeat(32),
        gaps_ms: 0,
        paused_ranges: json!([]).into(),
        transcribe,
        at: T0 + 60_000,
    }
}

//! A call's rows, written in order by a task of their own: a commit never holds up a citizen's ear.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{CallLine, CallPatch, DbError, Id, NewRecording, Store};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::recording::store_done;
use crate::app::Services;
use crate::clock::now_ms;
use crate::net::media::MediaEvent;
use crate::patience::patiently;

/// Lines waiting for a slow database; beyond it events are dropped with a warning, the call goes on.
const LINES_MAX: usize = 1_024;
/// How long the end of a call waits for its story.
const CLOSE_S: u64 = 60;

/// Lines gathered into one commit; a quiet call's single line waits for nobody.
const GATHERED_MAX: usize = 64;

enum Line {
    Row(CallLine),
    RecordingBegun(NewRecording),
    RecordingDone(MediaEvent),
}

/// The writing end.
pub(crate) struct Story {
    call: Id,
    lines: Option<mpsc::Sender<Line>>,
    writer: Option<JoinHandle<()>>,
}

impl Story {
    pub(crate) fn open(sv: &Arc<Services>, call: Id) -> Self {
        let (tx, rx) = mpsc::channel(LINES_MAX);
        let writer = tokio::spawn(write(Arc::clone(sv), call, rx));
        Self { call, lines: Some(tx), writer: Some(writer) }
    }

    /// A line of the call's event log.
    pub(crate) fn event(&self, kind: &str, data: serde_json::Value) {
        self.push(Line::Row(CallLine::Event { at: now_ms(), kind: kind.into(), data }));
    }

    /// New facts for the call's row.
    pub(crate) fn patch(&self, patch: CallPatch) {
        self.push(Line::Row(CallLine::Patch(patch)));
    }

    /// A recording's row; written before its end can be.
    pub(crate) fn recording_begun(&self, row: NewRecording) {
        self.push(Line::RecordingBegun(row));
    }

    /// A recording's end.
    pub(crate) fn recording_done(&self, event: MediaEvent) {
        self.push(Line::RecordingDone(event));
    }

    /// Waits until everything is written.
    pub(crate) async fn close(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take()
            && tokio::time::timeout(Duration::from_secs(CLOSE_S), writer).await.is_err()
        {
            error!(call = %self.call, "the call's story is not written: the database is too slow");
        }
    }

    fn push(&self, line: Line) {
        if self.lines.as_ref().is_none_or(|to| to.try_send(line).is_err()) {
            warn!(call = %self.call, "a line of the call's story is dropped");
        }
    }
}

async fn write(sv: Arc<Services>, call: Id, mut lines: mpsc::Receiver<Line>) {
    let mut gathered = Vec::with_capacity(GATHERED_MAX);
    while lines.recv_many(&mut gathered, GATHERED_MAX).await > 0 {
        let mut rows = Vec::new();
        for line in gathered.drain(..) {
            match line {
                Line::Row(row) => rows.push(row),
                // A recording's rows keep their place among the others.
                Line::RecordingBegun(row) => {
                    flush(&sv.store, call, &mut rows).await;
                    let begun = patiently("recording", || sv.store.recording_begin(row.clone())).await;
                    report(call, begun);
                }
                Line::RecordingDone(event) => {
                    flush(&sv.store, call, &mut rows).await;
                    store_done(&sv, event).await;
                }
            }
        }
        flush(&sv.store, call, &mut rows).await;
    }
}

async fn flush(store: &Store, call: Id, rows: &mut Vec<CallLine>) {
    let rows = std::mem::take(rows);
    if rows.is_empty() {
        return;
    }
    let together = patiently("story", || store.call_lines(call, rows.clone())).await;
    match together {
        // One line the store refuses must not take its neighbours along.
        Err(DbError::Invalid { .. }) => {
            for row in rows {
                report(call, store.call_lines(call, vec![row]).await);
            }
        }
        settled => report(call, settled),
    }
}

fn report(call: Id, written: Result<(), DbError>) {
    if let Err(e) = written {
        error!(%call, error = %e, "lines of the call's story are not written");
    }
}

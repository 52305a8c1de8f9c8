//! A call's rows, written in order by a task of their own: a commit never holds up a citizen's ear.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{CallEnd, CallLine, CallPatch, DbError, Id, NewRecording, NewSurvey, Store};
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

/// Boxed: a channel reserves room for 32 of them in each call.
enum Line {
    Row(Box<CallLine>),
    RecordingBegun(Box<NewRecording>),
    RecordingDone(Box<MediaEvent>),
    Survey(Box<NewSurvey>),
    End(Box<CallEnd>),
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
        self.push(Line::Row(Box::new(CallLine::Event { at: now_ms(), kind: kind.into(), data })));
    }

    /// New facts for the call's row.
    pub(crate) fn patch(&self, patch: CallPatch) {
        self.push(Line::Row(Box::new(CallLine::Patch(patch))));
    }

    /// A recording's row; written before its end can be.
    pub(crate) fn recording_begun(&self, row: NewRecording) {
        self.push(Line::RecordingBegun(Box::new(row)));
    }

    /// A recording's end.
    pub(crate) fn recording_done(&self, event: MediaEvent) {
        self.push(Line::RecordingDone(Box::new(event)));
    }

    /// The verdict on the talk.
    pub(crate) fn survey(&self, survey: NewSurvey) {
        self.push(Line::Survey(Box::new(survey)));
    }

    /// The last line, and the wait until everything is written. The end of a call must not be
    /// missing, so it waits for a place.
    pub(crate) async fn end(&mut self, end: CallEnd) {
        if let Some(lines) = self.lines.take()
            && lines.send(Line::End(Box::new(end))).await.is_err()
        {
            error!(call = %self.call, "the call's story ended before the call: the next start writes its end");
        }
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
    loop {
        // A new one each time: its room is not kept while nothing is to be written.
        let mut gathered = Vec::new();
        if lines.recv_many(&mut gathered, GATHERED_MAX).await == 0 {
            return;
        }
        // Boxed for the same reason: what a write goes through is large.
        Box::pin(write_down(&sv, call, gathered)).await;
    }
}

async fn write_down(sv: &Services, call: Id, gathered: Vec<Line>) {
    let mut rows = Vec::new();
    for line in gathered {
        match line {
            Line::Row(row) => rows.push(*row),
            // A recording's rows keep their place among the others.
            Line::RecordingBegun(row) => {
                flush(&sv.store, call, &mut rows).await;
                let begun = patiently("recording", || sv.store.recording_begin((*row).clone())).await;
                report(call, begun);
            }
            Line::RecordingDone(event) => {
                flush(&sv.store, call, &mut rows).await;
                store_done(sv, *event).await;
            }
            Line::Survey(survey) => {
                flush(&sv.store, call, &mut rows).await;
                report(call, sv.store.survey_store(*survey, None, None).await.map(drop));
            }
            Line::End(end) => close(&sv.store, call, &mut rows, *end).await,
        }
    }
    flush(&sv.store, call, &mut rows).await;
}

/// What is left and the end, in one commit.
async fn close(store: &Store, call: Id, rows: &mut Vec<CallLine>, end: CallEnd) {
    let lines = std::mem::take(rows);
    let mut ended = patiently("end of call", || store.call_close(call, lines.clone(), end.clone())).await;
    if matches!(ended, Err(DbError::Invalid { .. })) {
        // One line the store refuses must not take the end along.
        *rows = lines;
        flush(store, call, rows).await;
        ended = patiently("end of call", || store.call_end(call, end.clone())).await;
    }
    if let Err(e) = ended {
        error!(%call, error = %e, "end of call not written: the next start will");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_with_nothing_to_write_takes_little_room() {
        const fn size<A, B, C, F>(_: &impl Fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(&write) <= 256, "{}", size(&write));
    }
}

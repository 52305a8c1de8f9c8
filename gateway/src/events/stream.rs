//! One reader's stream as Server-Sent Events (HTML standard §9.2).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::limits::Patience;
use super::{Cursor, Event, Events, RESET, Ticket};

impl Events {
    /// Writes a snapshot if this reader `begins`, then what concerns them from `cursor` on until the reader goes or
    /// the stream's life is over. Who missed some gets `reset` and a snapshot. A snapshot is taken after the cursor:
    /// what it doesn't show yet, comes.
    pub async fn stream<F: Future<Output = Value> + Send>(
        self: Arc<Self>,
        ticket: Ticket,
        mut cursor: Cursor,
        begins: bool,
        snapshot: impl Fn() -> F + Send,
        patience: Patience,
        mut to: impl AsyncWrite + Unpin,
    ) {
        let ends_at = Instant::now() + patience.life;
        let mut newest = self.newest.subscribe();
        // A second between a lost connection and the next one.
        let mut text = String::from("retry: 1000\n\n");
        let mut needs_all = begins;
        loop {
            if cursor.missed {
                text.push_str(&format!("id: {}\nevent: reset\ndata: {{}}\n\n", self.id(cursor.seq)));
            }
            if std::mem::take(&mut needs_all) || cursor.missed {
                let all = snapshot().await;
                text.push_str(&format!("id: {}\nevent: snapshot\ndata: {all}\n\n", self.id(cursor.seq)));
            }
            let (news, next) = self.after(cursor.seq, ticket.who);
            cursor = next;
            for event in news {
                needs_all |= event.kind == RESET;
                self.line(&mut text, &event);
            }
            if send(&mut to, &text, patience.stuck).await.is_err() {
                break;
            }
            text.clear();
            if cursor.missed || needs_all {
                continue;
            }
            let wait_until = ends_at.min(Instant::now() + patience.quiet);
            let seen = cursor.seq;
            let moved = timeout_at(wait_until, newest.wait_for(|seq| *seq > seen)).await.map(|news| news.is_ok());
            match moved {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) if Instant::now() >= ends_at => break,
                Err(_) => text.push_str(": \n\n"),
            }
        }
        drop(ticket);
    }

    fn line(&self, text: &mut String, event: &Event) {
        let mut data = event.data.clone();
        if let Some(fields) = data.as_object_mut() {
            fields.insert("at".into(), event.at.into());
        }
        // JSON has no line break of its own.
        text.push_str(&format!("id: {}\nevent: {}\ndata: {data}\n\n", self.id(event.seq), event.kind));
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), text: &str, stuck: Duration) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    timeout(stuck, to.write_all(text.as_bytes())).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use hotline_db::{Id, WorkPerson};
    use serde_json::json;
    use tokio::io::AsyncReadExt;

    use super::super::{Audience, limits};
    use super::*;

    const SHORT: Patience =
        Patience { quiet: Duration::from_millis(30), life: Duration::from_secs(20), stuck: Duration::from_millis(50) };

    async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin), until: &str) -> String {
        let (mut text, mut bytes) = (String::new(), [0; 1024]);
        while !text.contains(until) {
            let n = from.read(&mut bytes).await.unwrap();
            assert_ne!(n, 0, "ended after {text}");
            text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        text
    }

    /// What every snapshot here says.
    async fn all() -> Value {
        json!({"me": "x"})
    }

    fn open(
        events: &Arc<Events>,
        who: WorkPerson,
        last_id: Option<&str>,
        patience: Patience,
    ) -> tokio::io::DuplexStream {
        let (ours, theirs) = tokio::io::duplex(limits::PIPE_BYTES);
        let ticket = events.admit(who).unwrap();
        let cursor = events.resume(last_id);
        tokio::spawn(Arc::clone(events).stream(ticket, cursor, false, all, patience, ours));
        theirs
    }

    #[tokio::test]
    async fn news_go_out_as_they_come_and_a_reader_goes_on_where_they_were() {
        let events = Arc::new(Events::new(1));
        let who = WorkPerson { id: Id::new(), leader: false };
        let mut reader = open(&events, who, None, SHORT);
        read(&mut reader, "retry").await;
        events.publish("work", Audience::Staff, None, json!({"n": 1}));
        events.publish("work", Audience::Leaders, None, json!({"n": 2}));
        let text = read(&mut reader, "\"n\":1").await;
        assert!(text.contains("id: 1-1\nevent: work\ndata: {"), "{text}");
        read(&mut reader, ": \n\n").await;
        drop(reader);
        events.publish("work", Audience::Staff, None, json!({"n": 3}));
        let text = read(&mut open(&events, who, Some("1-2"), SHORT), "\"n\":3").await;
        assert!(text.contains("id: 1-3") && !text.contains("reset") && !text.contains("\"n\":2"), "{text}");
        let text = read(&mut open(&events, who, Some("0-2"), SHORT), "reset").await;
        assert!(text.contains("id: 1-3\nevent: reset"), "{text}");
    }

    #[tokio::test]
    async fn a_reader_too_slow_for_what_is_kept_is_told_how_things_stand() {
        let events = Arc::new(Events::new(1));
        let who = WorkPerson { id: Id::new(), leader: false };
        let patient = Patience { stuck: Duration::from_secs(20), ..SHORT };
        let mut reader = open(&events, who, None, patient);
        read(&mut reader, "retry").await;
        // More than a stream's pipe and what is kept take: it waits in the middle of a line.
        for _ in 0..limits::PIPE_BYTES / 64 {
            events.publish("work", Audience::Staff, None, json!({"pad": "x".repeat(100)}));
        }
        tokio::task::yield_now().await;
        let last = limits::KEPT_MAX * 2;
        for n in 0..=last {
            events.publish("work", Audience::Staff, None, json!({"n": n}));
        }
        let text = read(&mut reader, "event: snapshot\ndata: {\"me\":\"x\"}\n\n").await;
        assert!(text.contains("event: reset"), "{text}");
        events.publish("work", Audience::Staff, None, json!({"n": "next"}));
        read(&mut reader, "\"n\":\"next\"").await;
    }

    #[tokio::test]
    async fn a_snapshot_comes_first_and_what_happened_since_after_it() {
        let events = Arc::new(Events::new(1));
        let who = WorkPerson { id: Id::new(), leader: false };
        events.publish("work", Audience::Staff, None, json!({"n": 1}));
        let cursor = events.resume(None);
        events.publish("work", Audience::Staff, None, json!({"n": 2}));
        let (ours, mut reader) = tokio::io::duplex(limits::PIPE_BYTES);
        let ticket = events.admit(who).unwrap();
        tokio::spawn(Arc::clone(&events).stream(ticket, cursor, true, all, SHORT, ours));
        let text = read(&mut reader, "\"n\":2").await;
        assert!(text.contains("id: 1-1\nevent: snapshot\ndata: {\"me\":\"x\"}\n\nid: 1-2\nevent: work"), "{text}");
        assert!(!text.contains("\"n\":1"), "{text}");
    }

    #[tokio::test]
    async fn when_another_gateways_may_be_missing_readers_are_told_how_things_stand_and_lose_nothing() {
        let events = Arc::new(Events::new(1));
        let who = WorkPerson { id: Id::new(), leader: false };
        events.publish("work", Audience::Staff, None, json!({"n": 1}));
        events.begin_anew();
        events.publish("work", Audience::Staff, None, json!({"n": 2}));
        let mut reader = open(&events, who, Some("1-0"), SHORT);
        let text = read(&mut reader, "snapshot").await;
        for line in
            ["id: 1-1\nevent: work", "id: 1-2\nevent: reset", "id: 1-3\nevent: work", "id: 1-3\nevent: snapshot"]
        {
            assert!(text.contains(line), "no {line}: {text}");
        }
        events.publish("work", Audience::Staff, None, json!({"n": "next"}));
        let text = read(&mut reader, "\"n\":\"next\"").await;
        assert!(!text.contains("reset") && !text.contains("snapshot"), "once: {text}");
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_loses_its_stream_and_no_memory() {
        let events = Arc::new(Events::new(1));
        let who = WorkPerson { id: Id::new(), leader: false };
        let reader = open(&events, who, None, SHORT);
        for _ in 0..1_000 {
            events.publish("work", Audience::Staff, None, json!({"pad": "x".repeat(100)}));
        }
        let gone = async {
            while !events.kept().streams.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.unwrap();
        drop(reader);
    }

    #[tokio::test]
    async fn a_stream_ends_and_is_opened_anew() {
        let events = Arc::new(Events::new(1));
        let who = WorkPerson { id: Id::new(), leader: false };
        let brief = Patience { life: Duration::from_millis(40), ..SHORT };
        let mut all = Vec::new();
        let mut reader = open(&events, who, None, brief);
        timeout(Duration::from_secs(20), reader.read_to_end(&mut all)).await.unwrap().unwrap();
    }
}

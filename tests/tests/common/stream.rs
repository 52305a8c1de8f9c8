//! A console's event stream.

use std::time::Duration;

use hotline_tests::api::Api;
use reqwest::Method;
use serde_json::Value;

pub(crate) async fn stream(api: &Api, last: Option<&str>) -> reqwest::Response {
    let headers: Vec<(&str, &str)> = last.iter().map(|last| ("last-event-id", *last)).collect();
    api.send(Method::GET, "/api/v1/events", None, &headers).await.unwrap()
}

/// One event of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// The events of a stream up to the first that is `wanted`.
pub(crate) async fn until(stream: &mut reqwest::Response, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let (mut text, mut events) = (String::new(), Vec::<Event>::new());
    let reading = async {
        while !events.last().is_some_and(&wanted) {
            if let Some((event, rest)) = text.split_once("\n\n") {
                let of = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
                if let (Some(id), Some(kind), Some(data)) = (of("id: "), of("event: "), of("data: ")) {
                    events.push(Event { id, kind, data: serde_json::from_str(&data).unwrap() });
                }
                text = rest.to_owned();
                continue;
            }
            let chunk = stream.chunk().await.unwrap().ok_or("the stream ended").unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), reading).await.is_err() {
        panic!("not told: {events:#?}");
    }
    events
}

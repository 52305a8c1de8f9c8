// One event stream for the whole page; it comes back by itself, and after a gap begins with a snapshot.
const REOPEN_MS = 5000;
const kinds = ["snapshot", "reset", "call", "call_left", "state", "state_forced", "queue", "red", "recusal", "help", "emergency", "alarm", "broadcast", "handover", "work", "work_late", "supplement"];

export function eventStream(tell) {
  let stream = null;
  let open = false;
  function listen() {
    stream?.close();
    stream = new EventSource("/api/v1/events");
    for (const kind of kinds) {
      stream.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
    }
    // A refused stream doesn't come back by itself.
    stream.addEventListener("error", (event) => {
      if (event.target.readyState === EventSource.CLOSED) setTimeout(() => { if (open) listen(); }, REOPEN_MS);
    });
  }
  return {
    begin() {
      if (open) return;
      open = true;
      listen();
    },
    end() {
      open = false;
      stream?.close();
      stream = null;
    },
  };
}

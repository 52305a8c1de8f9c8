-- A call's SIP messages, sealed; rows go after some days (trace.keep_days).
CREATE TABLE sip_trace (
    call TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX sip_trace_at ON sip_trace (at);

-- A call's SIP messages, sealed; rows go after some days (trace.keep_days).
CREATE TABLE sip_trace (
    call TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX sip_trace_at ON sip_trace (at);

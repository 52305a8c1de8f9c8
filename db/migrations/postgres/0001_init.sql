-- Times: epoch milliseconds UTC (_at an instant, _ms a span). Ids: UUIDv7 text. JSON: text.
-- PostgreSQL: the file beside this one says the same to SQLite.

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE account (
    id TEXT PRIMARY KEY,
    login TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    roles TEXT NOT NULL,
    sip_user TEXT UNIQUE,
    ha1_md5 TEXT,
    ha1_sha256 TEXT,
    active BOOLEAN NOT NULL
);

CREATE TABLE session (
    token_hash TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_expires ON session (expires_at);

CREATE TABLE party (
    id TEXT PRIMARY KEY,
    phone_hash TEXT UNIQUE,
    phone_sealed BYTEA,
    phone_mask TEXT,
    openid TEXT UNIQUE,
    name_sealed BYTEA,
    anonymous BOOLEAN NOT NULL,
    confidential BOOLEAN NOT NULL,
    do_not_call BOOLEAN NOT NULL,
    preferred_window TEXT,
    language TEXT
);

CREATE TABLE item (
    id TEXT PRIMARY KEY,
    acceptance_no TEXT NOT NULL UNIQUE,
    query_code TEXT NOT NULL UNIQUE,
    region TEXT NOT NULL,
    channel BIGINT NOT NULL,
    kind TEXT NOT NULL,
    urgency BIGINT NOT NULL CHECK (urgency BETWEEN 1 AND 5),
    title TEXT NOT NULL,
    detail TEXT NOT NULL,
    occurred_at BIGINT,
    state TEXT NOT NULL,
    state_at BIGINT NOT NULL,
    ledger_flag BOOLEAN NOT NULL,
    source TEXT NOT NULL,
    first_contact TEXT UNIQUE,
    party TEXT REFERENCES party (id),
    class_code TEXT,
    location_text TEXT,
    lon DOUBLE PRECISION,
    lat DOUBLE PRECISION,
    merged_into TEXT REFERENCES item (id),
    due_at BIGINT,
    created_by TEXT,
    created_at BIGINT NOT NULL,
    idempotency_key TEXT UNIQUE
);
CREATE INDEX item_party ON item (party, id);
CREATE INDEX item_state ON item (state, id);

CREATE TABLE contact (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    direction TEXT NOT NULL,
    seq BIGINT NOT NULL UNIQUE,
    arrived_at BIGINT NOT NULL,
    provider_time BIGINT,
    party TEXT REFERENCES party (id),
    item TEXT REFERENCES item (id),
    raw_ref TEXT
);
CREATE INDEX contact_party ON contact (party, seq);
CREATE INDEX contact_item ON contact (item, seq);

CREATE TABLE item_contact (
    item TEXT NOT NULL REFERENCES item (id),
    contact TEXT NOT NULL REFERENCES contact (id),
    role TEXT NOT NULL,
    rank BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (item, contact)
);
CREATE INDEX item_contact_contact ON item_contact (contact);

CREATE TABLE call (
    id TEXT PRIMARY KEY,
    contact TEXT NOT NULL UNIQUE REFERENCES contact (id),
    did TEXT NOT NULL,
    caller_masked TEXT NOT NULL,
    trunk TEXT,
    sip_call_id TEXT NOT NULL,
    node TEXT NOT NULL,
    ring_at BIGINT NOT NULL,
    answer_at BIGINT,
    queue_at BIGINT,
    operator_answer_at BIGINT,
    end_at BIGINT,
    wait_ms BIGINT,
    talk_ms BIGINT,
    hold_ms BIGINT,
    wrap_ms BIGINT,
    queue TEXT,
    operator TEXT,
    end_side TEXT,
    end_reason TEXT,
    stage TEXT NOT NULL,
    stage_abandoned TEXT,
    codec TEXT,
    mos DOUBLE PRECISION
);
CREATE INDEX call_open ON call (node) WHERE end_at IS NULL;
CREATE INDEX call_operator ON call (operator);

CREATE TABLE call_event (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL REFERENCES call (id),
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (call, n)
);

CREATE TABLE queue_entry (
    call TEXT PRIMARY KEY REFERENCES call (id),
    queue TEXT NOT NULL,
    lane TEXT NOT NULL,
    node TEXT NOT NULL,
    entered_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    operator TEXT
);
CREATE INDEX queue_entry_queue ON queue_entry (queue, entered_at);

CREATE TABLE operator_state (
    id TEXT PRIMARY KEY,
    operator TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    from_at BIGINT NOT NULL,
    to_at BIGINT
);
CREATE UNIQUE INDEX operator_state_current ON operator_state (operator) WHERE to_at IS NULL;
CREATE INDEX operator_state_from ON operator_state (operator, from_at);

CREATE TABLE recording (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL REFERENCES call (id),
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    channels BIGINT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    duration_ms BIGINT,
    bytes BIGINT,
    sha256 TEXT,
    gaps_ms BIGINT,
    paused_ranges TEXT,
    notice_played BOOLEAN NOT NULL,
    lost_reason TEXT,
    retention_class TEXT NOT NULL,
    hold_until BIGINT,
    chain_n BIGINT UNIQUE,
    prev_hash TEXT,
    chain_hash TEXT
);
CREATE INDEX recording_call ON recording (call);
CREATE INDEX recording_state ON recording (state);

CREATE TABLE recording_access (
    id TEXT PRIMARY KEY,
    recording TEXT NOT NULL REFERENCES recording (id),
    account TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX recording_access_recording ON recording_access (recording, at);

CREATE TABLE transcription_job (
    id TEXT PRIMARY KEY,
    recording TEXT NOT NULL UNIQUE REFERENCES recording (id),
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_until BIGINT,
    worker TEXT,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX transcription_job_due ON transcription_job (state, next_at);

CREATE TABLE transcript (
    id TEXT PRIMARY KEY,
    recording TEXT NOT NULL REFERENCES recording (id),
    job TEXT NOT NULL REFERENCES transcription_job (id),
    engine TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    segments TEXT NOT NULL,
    text TEXT NOT NULL,
    redacted_text TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX transcript_recording ON transcript (recording, at);

CREATE TABLE handoff (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    ord BIGINT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    payload TEXT NOT NULL,
    payload_hash TEXT NOT NULL,
    case_no TEXT,
    state TEXT NOT NULL,
    stage TEXT,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_until BIGINT,
    unknown_outcome BOOLEAN NOT NULL,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    delivered_at BIGINT,
    UNIQUE (item, ord)
);
CREATE INDEX handoff_due ON handoff (next_at) WHERE state = '待发';
CREATE INDEX handoff_case_no ON handoff (case_no);

CREATE TABLE handoff_update (
    id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    item TEXT NOT NULL REFERENCES item (id),
    case_no TEXT NOT NULL,
    stage TEXT NOT NULL,
    at BIGINT NOT NULL,
    note TEXT
);
CREATE INDEX handoff_update_item ON handoff_update (item, at);

CREATE TABLE case_cursor (
    target TEXT PRIMARY KEY,
    cursor TEXT NOT NULL
);

CREATE TABLE ledger_case (
    case_no TEXT PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE,
    payload TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE ledger_event (
    seq BIGINT PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    case_no TEXT NOT NULL REFERENCES ledger_case (case_no),
    command TEXT NOT NULL,
    stage TEXT NOT NULL,
    note TEXT,
    at BIGINT NOT NULL
);
CREATE INDEX ledger_event_case ON ledger_event (case_no, seq);

CREATE TABLE callback_task (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    item TEXT REFERENCES item (id),
    call TEXT REFERENCES call (id),
    party TEXT REFERENCES party (id),
    phone_sealed BYTEA,
    preferred_window TEXT,
    excluded TEXT,
    assignee TEXT,
    state TEXT NOT NULL,
    attempt_no BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    lease_until BIGINT,
    result TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX callback_task_due ON callback_task (next_at) WHERE finished_at IS NULL;
CREATE INDEX callback_task_party ON callback_task (party) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX callback_task_open_item ON callback_task (kind, item)
    WHERE finished_at IS NULL AND item IS NOT NULL;
CREATE UNIQUE INDEX callback_task_open_party ON callback_task (kind, party)
    WHERE finished_at IS NULL AND item IS NULL AND party IS NOT NULL;

CREATE TABLE callback_attempt (
    id TEXT PRIMARY KEY,
    task TEXT NOT NULL REFERENCES callback_task (id),
    call TEXT REFERENCES call (id),
    at BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    counted BOOLEAN NOT NULL,
    UNIQUE (task, call)
);

CREATE TABLE survey (
    id TEXT PRIMARY KEY,
    task TEXT UNIQUE REFERENCES callback_task (id),
    call TEXT REFERENCES call (id),
    item TEXT REFERENCES item (id),
    contacted BOOLEAN,
    solved TEXT,
    satisfied BIGINT CHECK (satisfied BETWEEN 1 AND 5),
    may_close BOOLEAN,
    reason TEXT,
    reason_recording TEXT REFERENCES recording (id),
    at BIGINT NOT NULL
);
CREATE INDEX survey_item ON survey (item);
CREATE UNIQUE INDEX survey_call ON survey (call) WHERE task IS NULL AND call IS NOT NULL;

CREATE TABLE audit (
    n BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    reason TEXT,
    data TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- What is written into these tables stays as it was written.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER call_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON call_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER recording_access_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON recording_access
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER handoff_update_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON handoff_update
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER callback_attempt_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON callback_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

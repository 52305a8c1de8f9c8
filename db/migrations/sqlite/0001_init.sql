-- Times: epoch milliseconds UTC (_at an instant, _ms a span). Ids: UUIDv7 text. JSON: text.
-- SQLite: booleans are 0 and 1; the file beside this one says the same to PostgreSQL.

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE account (
    id TEXT PRIMARY KEY,
    login TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    roles TEXT NOT NULL,
    sip_user TEXT UNIQUE,
    ha1_md5 TEXT,
    ha1_sha256 TEXT,
    active INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    token_hash TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX session_expires ON session (expires_at);

CREATE TABLE party (
    id TEXT PRIMARY KEY,
    phone_hash TEXT UNIQUE,
    phone_sealed BLOB,
    phone_mask TEXT,
    openid TEXT UNIQUE,
    name_sealed BLOB,
    anonymous INTEGER NOT NULL,
    confidential INTEGER NOT NULL,
    do_not_call INTEGER NOT NULL,
    preferred_window TEXT,
    language TEXT
) STRICT;

CREATE TABLE item (
    id TEXT PRIMARY KEY,
    acceptance_no TEXT NOT NULL UNIQUE,
    query_code TEXT NOT NULL UNIQUE,
    region TEXT NOT NULL,
    channel INTEGER NOT NULL,
    kind TEXT NOT NULL,
    urgency INTEGER NOT NULL CHECK (urgency BETWEEN 1 AND 5),
    title TEXT NOT NULL,
    detail TEXT NOT NULL,
    occurred_at INTEGER,
    state TEXT NOT NULL,
    state_at INTEGER NOT NULL,
    ledger_flag INTEGER NOT NULL,
    source TEXT NOT NULL,
    first_contact TEXT UNIQUE,
    party TEXT REFERENCES party (id),
    class_code TEXT,
    location_text TEXT,
    lon REAL,
    lat REAL,
    merged_into TEXT REFERENCES item (id),
    due_at INTEGER,
    created_by TEXT,
    created_at INTEGER NOT NULL,
    idempotency_key TEXT UNIQUE
) STRICT;
CREATE INDEX item_party ON item (party, id);
CREATE INDEX item_state ON item (state, id);

CREATE TABLE contact (
    id TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    direction TEXT NOT NULL,
    seq INTEGER NOT NULL UNIQUE,
    arrived_at INTEGER NOT NULL,
    provider_time INTEGER,
    party TEXT REFERENCES party (id),
    item TEXT REFERENCES item (id),
    raw_ref TEXT
) STRICT;
CREATE INDEX contact_party ON contact (party, seq);
CREATE INDEX contact_item ON contact (item, seq);

CREATE TABLE item_contact (
    item TEXT NOT NULL REFERENCES item (id),
    contact TEXT NOT NULL REFERENCES contact (id),
    role TEXT NOT NULL,
    rank INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (item, contact)
) STRICT;
CREATE INDEX item_contact_contact ON item_contact (contact);

CREATE TABLE call (
    id TEXT PRIMARY KEY,
    contact TEXT NOT NULL UNIQUE REFERENCES contact (id),
    did TEXT NOT NULL,
    caller_masked TEXT NOT NULL,
    trunk TEXT,
    sip_call_id TEXT NOT NULL,
    node TEXT NOT NULL,
    ring_at INTEGER NOT NULL,
    answer_at INTEGER,
    queue_at INTEGER,
    operator_answer_at INTEGER,
    end_at INTEGER,
    wait_ms INTEGER,
    talk_ms INTEGER,
    hold_ms INTEGER,
    wrap_ms INTEGER,
    queue TEXT,
    operator TEXT,
    end_side TEXT,
    end_reason TEXT,
    stage TEXT NOT NULL,
    stage_abandoned TEXT,
    codec TEXT,
    mos REAL
) STRICT;
CREATE INDEX call_open ON call (node) WHERE end_at IS NULL;
CREATE INDEX call_operator ON call (operator);

CREATE TABLE call_event (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL REFERENCES call (id),
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (call, n)
) STRICT;

CREATE TABLE queue_entry (
    call TEXT PRIMARY KEY REFERENCES call (id),
    queue TEXT NOT NULL,
    lane TEXT NOT NULL,
    node TEXT NOT NULL,
    entered_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    operator TEXT
) STRICT;
CREATE INDEX queue_entry_queue ON queue_entry (queue, entered_at);

CREATE TABLE operator_state (
    id TEXT PRIMARY KEY,
    operator TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    from_at INTEGER NOT NULL,
    to_at INTEGER
) STRICT;
CREATE UNIQUE INDEX operator_state_current ON operator_state (operator) WHERE to_at IS NULL;
CREATE INDEX operator_state_from ON operator_state (operator, from_at);

CREATE TABLE recording (
    id TEXT PRIMARY KEY,
    call TEXT NOT NULL REFERENCES call (id),
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    channels INTEGER NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    duration_ms INTEGER,
    bytes INTEGER,
    sha256 TEXT,
    gaps_ms INTEGER,
    paused_ranges TEXT,
    notice_played INTEGER NOT NULL,
    lost_reason TEXT,
    retention_class TEXT NOT NULL,
    hold_until INTEGER,
    chain_n INTEGER UNIQUE,
    prev_hash TEXT,
    chain_hash TEXT
) STRICT;
CREATE INDEX recording_call ON recording (call);
CREATE INDEX recording_state ON recording (state);

CREATE TABLE recording_access (
    id TEXT PRIMARY KEY,
    recording TEXT NOT NULL REFERENCES recording (id),
    account TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX recording_access_recording ON recording_access (recording, at);

CREATE TABLE transcription_job (
    id TEXT PRIMARY KEY,
    recording TEXT NOT NULL UNIQUE REFERENCES recording (id),
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease_until INTEGER,
    worker TEXT,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
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
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX transcript_recording ON transcript (recording, at);

CREATE TABLE handoff (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    ord INTEGER NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    payload TEXT NOT NULL,
    payload_hash TEXT NOT NULL,
    case_no TEXT,
    state TEXT NOT NULL,
    stage TEXT,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease_until INTEGER,
    unknown_outcome INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    delivered_at INTEGER,
    UNIQUE (item, ord)
) STRICT;
CREATE INDEX handoff_due ON handoff (next_at) WHERE state = '待发';
CREATE INDEX handoff_case_no ON handoff (case_no);

CREATE TABLE handoff_update (
    id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    item TEXT NOT NULL REFERENCES item (id),
    case_no TEXT NOT NULL,
    stage TEXT NOT NULL,
    at INTEGER NOT NULL,
    note TEXT
) STRICT;
CREATE INDEX handoff_update_item ON handoff_update (item, at);

CREATE TABLE case_cursor (
    target TEXT PRIMARY KEY,
    cursor TEXT NOT NULL
) STRICT;

CREATE TABLE ledger_case (
    case_no TEXT PRIMARY KEY,
    idempotency_key TEXT NOT NULL UNIQUE,
    payload TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE ledger_event (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    case_no TEXT NOT NULL REFERENCES ledger_case (case_no),
    command TEXT NOT NULL,
    stage TEXT NOT NULL,
    note TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX ledger_event_case ON ledger_event (case_no, seq);

CREATE TABLE callback_task (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    item TEXT REFERENCES item (id),
    call TEXT REFERENCES call (id),
    party TEXT REFERENCES party (id),
    phone_sealed BLOB,
    preferred_window TEXT,
    excluded TEXT,
    assignee TEXT,
    state TEXT NOT NULL,
    attempt_no INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    lease_until INTEGER,
    result TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
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
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    counted INTEGER NOT NULL,
    UNIQUE (task, call)
) STRICT;

CREATE TABLE survey (
    id TEXT PRIMARY KEY,
    task TEXT UNIQUE REFERENCES callback_task (id),
    call TEXT REFERENCES call (id),
    item TEXT REFERENCES item (id),
    contacted INTEGER,
    solved TEXT,
    satisfied INTEGER CHECK (satisfied BETWEEN 1 AND 5),
    may_close INTEGER,
    reason TEXT,
    reason_recording TEXT REFERENCES recording (id),
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX survey_item ON survey (item);
CREATE UNIQUE INDEX survey_call ON survey (call) WHERE task IS NULL AND call IS NOT NULL;

CREATE TABLE audit (
    n INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    reason TEXT,
    data TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

-- What is written into these tables stays as it was written.
CREATE TRIGGER call_event_no_update BEFORE UPDATE ON call_event
BEGIN SELECT RAISE(ABORT, 'call_event is append-only'); END;
CREATE TRIGGER call_event_no_delete BEFORE DELETE ON call_event
BEGIN SELECT RAISE(ABORT, 'call_event is append-only'); END;
CREATE TRIGGER recording_access_no_update BEFORE UPDATE ON recording_access
BEGIN SELECT RAISE(ABORT, 'recording_access is append-only'); END;
CREATE TRIGGER recording_access_no_delete BEFORE DELETE ON recording_access
BEGIN SELECT RAISE(ABORT, 'recording_access is append-only'); END;
CREATE TRIGGER handoff_update_no_update BEFORE UPDATE ON handoff_update
BEGIN SELECT RAISE(ABORT, 'handoff_update is append-only'); END;
CREATE TRIGGER handoff_update_no_delete BEFORE DELETE ON handoff_update
BEGIN SELECT RAISE(ABORT, 'handoff_update is append-only'); END;
CREATE TRIGGER ledger_event_no_update BEFORE UPDATE ON ledger_event
BEGIN SELECT RAISE(ABORT, 'ledger_event is append-only'); END;
CREATE TRIGGER ledger_event_no_delete BEFORE DELETE ON ledger_event
BEGIN SELECT RAISE(ABORT, 'ledger_event is append-only'); END;
CREATE TRIGGER callback_attempt_no_update BEFORE UPDATE ON callback_attempt
BEGIN SELECT RAISE(ABORT, 'callback_attempt is append-only'); END;
CREATE TRIGGER callback_attempt_no_delete BEFORE DELETE ON callback_attempt
BEGIN SELECT RAISE(ABORT, 'callback_attempt is append-only'); END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

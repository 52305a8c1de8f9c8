-- Same-incident radar: under which places an item is found, newest first.
CREATE TABLE incident_key (
    key BIGINT NOT NULL,
    at BIGINT NOT NULL,
    item TEXT NOT NULL REFERENCES item (id),
    PRIMARY KEY (key, at, item)
);

-- Items not yet compared with the others.
CREATE TABLE incident_due (
    item TEXT PRIMARY KEY REFERENCES item (id),
    at BIGINT NOT NULL
);

CREATE INDEX item_merged ON item (merged_into) WHERE merged_into IS NOT NULL;

-- Every merge and split, as it was decided.
CREATE TABLE item_link (
    id TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    item TEXT NOT NULL REFERENCES item (id),
    target TEXT NOT NULL REFERENCES item (id),
    contacts TEXT NOT NULL,
    actor TEXT,
    score BIGINT,
    reasons TEXT NOT NULL,
    note TEXT,
    prior_state TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX item_link_item ON item_link (item, id);
CREATE INDEX item_link_target ON item_link (target, id);

-- What inspectors found, in the same order of arrival as the citizens' contacts.
CREATE TABLE inspection (
    id TEXT PRIMARY KEY,
    external_id TEXT NOT NULL UNIQUE,
    seq BIGINT NOT NULL UNIQUE,
    inspector TEXT NOT NULL,
    arrived_at BIGINT NOT NULL,
    found_at BIGINT,
    class_code TEXT,
    location_text TEXT,
    lon DOUBLE PRECISION,
    lat DOUBLE PRECISION,
    item TEXT REFERENCES item (id),
    linked_by TEXT,
    linked_at BIGINT
);
CREATE INDEX inspection_item ON inspection (item, seq) WHERE item IS NOT NULL;

-- Incidents callers hear about while they wait.
CREATE TABLE announcement (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    hotline TEXT NOT NULL,
    prompt TEXT NOT NULL,
    made_by TEXT,
    from_at BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    ended_at BIGINT,
    ended_by TEXT
);
CREATE INDEX announcement_live ON announcement (until_at) WHERE ended_at IS NULL;

-- Rewards. Items whose decision is due or must be taken anew.
CREATE TABLE reward_due (
    item TEXT PRIMARY KEY REFERENCES item (id),
    stage TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE reward_decision (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    rev BIGINT NOT NULL,
    rule TEXT,
    rule_version TEXT NOT NULL,
    outcome TEXT NOT NULL,
    evidence TEXT NOT NULL,
    evidence_hash TEXT NOT NULL,
    decided_by TEXT,
    month TEXT NOT NULL,
    at BIGINT NOT NULL,
    UNIQUE (item, rev)
);
CREATE INDEX reward_decision_month ON reward_decision (month, id);

CREATE TABLE reward_line (
    id TEXT PRIMARY KEY,
    decision TEXT NOT NULL REFERENCES reward_decision (id),
    contact TEXT NOT NULL REFERENCES contact (id),
    seq BIGINT NOT NULL,
    party TEXT REFERENCES party (id),
    place BIGINT NOT NULL,
    amount_fen BIGINT NOT NULL CHECK (amount_fen >= 0),
    withheld TEXT,
    month TEXT NOT NULL
);
CREATE INDEX reward_line_decision ON reward_line (decision);
CREATE INDEX reward_line_party ON reward_line (party, month);

CREATE TABLE reward_appeal (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    decision TEXT NOT NULL REFERENCES reward_decision (id),
    reason TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    contact TEXT REFERENCES contact (id),
    amount_fen BIGINT,
    answer TEXT,
    decided_by TEXT,
    decided_at BIGINT
);
CREATE UNIQUE INDEX reward_appeal_open ON reward_appeal (item) WHERE decided_at IS NULL;

CREATE TABLE reward_batch (
    id TEXT PRIMARY KEY,
    month TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    made_by TEXT,
    made_at BIGINT NOT NULL,
    approved_by TEXT,
    approved_at BIGINT,
    payments BIGINT NOT NULL,
    total_fen BIGINT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TABLE reward_payment (
    id TEXT PRIMARY KEY,
    batch TEXT NOT NULL REFERENCES reward_batch (id),
    line TEXT NOT NULL UNIQUE REFERENCES reward_line (id),
    item TEXT NOT NULL REFERENCES item (id),
    party TEXT REFERENCES party (id),
    place BIGINT NOT NULL,
    amount_fen BIGINT NOT NULL CHECK (amount_fen > 0)
);
CREATE INDEX reward_payment_batch ON reward_payment (batch, id);
CREATE INDEX reward_payment_item ON reward_payment (item);

CREATE TRIGGER item_link_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON item_link
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reward_decision_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reward_decision
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reward_line_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reward_line
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER reward_payment_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reward_payment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

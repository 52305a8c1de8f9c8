-- Same-incident radar: under which places an item is found, newest first.
CREATE TABLE incident_key (
    key INTEGER NOT NULL,
    at INTEGER NOT NULL,
    item TEXT NOT NULL REFERENCES item (id),
    PRIMARY KEY (key, at, item)
) STRICT, WITHOUT ROWID;

-- Items not yet compared with the others.
CREATE TABLE incident_due (
    item TEXT PRIMARY KEY REFERENCES item (id),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX item_merged ON item (merged_into) WHERE merged_into IS NOT NULL;

-- Every merge and split, as it was decided.
CREATE TABLE item_link (
    id TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    item TEXT NOT NULL REFERENCES item (id),
    target TEXT NOT NULL REFERENCES item (id),
    contacts TEXT NOT NULL,
    actor TEXT,
    score INTEGER,
    reasons TEXT NOT NULL,
    note TEXT,
    prior_state TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX item_link_item ON item_link (item, id);
CREATE INDEX item_link_target ON item_link (target, id);

-- What inspectors found, in the same order of arrival as the citizens' contacts.
CREATE TABLE inspection (
    id TEXT PRIMARY KEY,
    external_id TEXT NOT NULL UNIQUE,
    seq INTEGER NOT NULL UNIQUE,
    inspector TEXT NOT NULL,
    arrived_at INTEGER NOT NULL,
    found_at INTEGER,
    class_code TEXT,
    location_text TEXT,
    lon REAL,
    lat REAL,
    item TEXT REFERENCES item (id),
    linked_by TEXT,
    linked_at INTEGER
) STRICT;
CREATE INDEX inspection_item ON inspection (item, seq) WHERE item IS NOT NULL;

-- Incidents callers hear about while they wait.
CREATE TABLE announcement (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    hotline TEXT NOT NULL,
    prompt TEXT NOT NULL,
    made_by TEXT,
    from_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    ended_at INTEGER,
    ended_by TEXT
) STRICT;
CREATE INDEX announcement_live ON announcement (until_at) WHERE ended_at IS NULL;

-- Rewards. Items whose decision is due or must be taken anew.
CREATE TABLE reward_due (
    item TEXT PRIMARY KEY REFERENCES item (id),
    stage TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reward_decision (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    rev INTEGER NOT NULL,
    rule TEXT,
    rule_version TEXT NOT NULL,
    outcome TEXT NOT NULL,
    evidence TEXT NOT NULL,
    evidence_hash TEXT NOT NULL,
    decided_by TEXT,
    month TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (item, rev)
) STRICT;
CREATE INDEX reward_decision_month ON reward_decision (month, id);

CREATE TABLE reward_line (
    id TEXT PRIMARY KEY,
    decision TEXT NOT NULL REFERENCES reward_decision (id),
    contact TEXT NOT NULL REFERENCES contact (id),
    seq INTEGER NOT NULL,
    party TEXT REFERENCES party (id),
    place INTEGER NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen >= 0),
    withheld TEXT,
    month TEXT NOT NULL
) STRICT;
CREATE INDEX reward_line_decision ON reward_line (decision);
CREATE INDEX reward_line_party ON reward_line (party, month);

CREATE TABLE reward_appeal (
    id TEXT PRIMARY KEY,
    item TEXT NOT NULL REFERENCES item (id),
    decision TEXT NOT NULL REFERENCES reward_decision (id),
    reason TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    contact TEXT REFERENCES contact (id),
    amount_fen INTEGER,
    answer TEXT,
    decided_by TEXT,
    decided_at INTEGER
) STRICT;
CREATE UNIQUE INDEX reward_appeal_open ON reward_appeal (item) WHERE decided_at IS NULL;

CREATE TABLE reward_batch (
    id TEXT PRIMARY KEY,
    month TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    made_by TEXT,
    made_at INTEGER NOT NULL,
    approved_by TEXT,
    approved_at INTEGER,
    payments INTEGER NOT NULL,
    total_fen INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT;

CREATE TABLE reward_payment (
    id TEXT PRIMARY KEY,
    batch TEXT NOT NULL REFERENCES reward_batch (id),
    line TEXT NOT NULL UNIQUE REFERENCES reward_line (id),
    item TEXT NOT NULL REFERENCES item (id),
    party TEXT REFERENCES party (id),
    place INTEGER NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0)
) STRICT;
CREATE INDEX reward_payment_batch ON reward_payment (batch, id);
CREATE INDEX reward_payment_item ON reward_payment (item);

CREATE TRIGGER item_link_no_update BEFORE UPDATE ON item_link
BEGIN SELECT RAISE(ABORT, 'item_link is append-only'); END;
CREATE TRIGGER item_link_no_delete BEFORE DELETE ON item_link
BEGIN SELECT RAISE(ABORT, 'item_link is append-only'); END;
CREATE TRIGGER reward_decision_no_update BEFORE UPDATE ON reward_decision
BEGIN SELECT RAISE(ABORT, 'reward_decision is append-only'); END;
CREATE TRIGGER reward_decision_no_delete BEFORE DELETE ON reward_decision
BEGIN SELECT RAISE(ABORT, 'reward_decision is append-only'); END;
CREATE TRIGGER reward_line_no_update BEFORE UPDATE ON reward_line
BEGIN SELECT RAISE(ABORT, 'reward_line is append-only'); END;
CREATE TRIGGER reward_line_no_delete BEFORE DELETE ON reward_line
BEGIN SELECT RAISE(ABORT, 'reward_line is append-only'); END;
CREATE TRIGGER reward_payment_no_update BEFORE UPDATE ON reward_payment
BEGIN SELECT RAISE(ABORT, 'reward_payment is append-only'); END;
CREATE TRIGGER reward_payment_no_delete BEFORE DELETE ON reward_payment
BEGIN SELECT RAISE(ABORT, 'reward_payment is append-only'); END;

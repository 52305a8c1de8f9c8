-- Shifts as planned. A cancelled one keeps its row.
CREATE TABLE shift (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL CHECK (ends_at > starts_at),
    created_by TEXT NOT NULL REFERENCES account (id),
    created_at BIGINT NOT NULL,
    cancelled_at BIGINT
);
CREATE INDEX shift_time ON shift (ends_at, starts_at) WHERE cancelled_at IS NULL;

CREATE TABLE shift_member (
    shift TEXT NOT NULL REFERENCES shift (id),
    account TEXT NOT NULL REFERENCES account (id),
    role TEXT NOT NULL,
    PRIMARY KEY (shift, account)
);

-- A shift leader's leave to do what the rules of duty forbid.
CREATE TABLE duty_leave (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    what TEXT NOT NULL,
    reason TEXT NOT NULL,
    until_at BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES account (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX duty_leave_account ON duty_leave (account, until_at);

-- 交接班: what was open, given by one and taken by another. prev_hash makes a chain of them; hash covers what was
-- given, the two signatures are the gateway's keyed hash of it for each person.
CREATE TABLE handover (
    n BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    giver TEXT NOT NULL REFERENCES account (id),
    taker TEXT NOT NULL REFERENCES account (id),
    note TEXT,
    content TEXT NOT NULL,
    given_at BIGINT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    given_signature TEXT NOT NULL,
    ended_at BIGINT,
    ending TEXT,
    ended_signature TEXT
);
CREATE INDEX handover_taker ON handover (taker, n) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX handover_open ON handover (giver) WHERE ended_at IS NULL;

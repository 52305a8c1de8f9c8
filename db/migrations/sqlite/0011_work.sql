-- What a person has to do about a contact, once per cause (dedup_key). Its place in the queue is lane (0 red,
-- 1 urgent, 2 the rest), deadline, arrival: nothing done to a row moves it, but a raise.
CREATE TABLE work (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    dedup_key TEXT NOT NULL UNIQUE,
    item TEXT REFERENCES item (id),
    contact TEXT REFERENCES contact (id),
    conversation TEXT,
    channel TEXT NOT NULL,
    lane INTEGER NOT NULL CHECK (lane BETWEEN 0 AND 2),
    urgency INTEGER NOT NULL CHECK (urgency BETWEEN 1 AND 5),
    due_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    arrived_at INTEGER NOT NULL,
    ack_due_at INTEGER,
    acknowledged_at INTEGER,
    ack_overdue_at INTEGER,
    overdue_at INTEGER,
    desk TEXT NOT NULL,
    assignee TEXT,
    excluded TEXT,
    holder TEXT,
    lease_until INTEGER,
    taken_at INTEGER,
    result TEXT,
    note TEXT,
    done_by TEXT,
    done_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX work_place ON work (lane, due_at, seq, id) WHERE done_at IS NULL;
CREATE INDEX work_due ON work (due_at) WHERE done_at IS NULL AND overdue_at IS NULL;
CREATE INDEX work_ack ON work (ack_due_at)
    WHERE done_at IS NULL AND acknowledged_at IS NULL AND ack_overdue_at IS NULL AND ack_due_at IS NOT NULL;
CREATE INDEX work_holder ON work (holder) WHERE done_at IS NULL AND holder IS NOT NULL;
CREATE INDEX work_assignee ON work (assignee) WHERE done_at IS NULL AND assignee IS NOT NULL;
CREATE INDEX work_done ON work (done_at, id) WHERE done_at IS NOT NULL;
CREATE INDEX work_item ON work (item) WHERE item IS NOT NULL;

-- Who did what with it. That it was made stands in its row.
CREATE TABLE work_event (
    work TEXT NOT NULL REFERENCES work (id),
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (work, n)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER work_event_no_update BEFORE UPDATE ON work_event
BEGIN SELECT RAISE(ABORT, 'work_event is append-only'); END;
CREATE TRIGGER work_event_no_delete BEFORE DELETE ON work_event
BEGIN SELECT RAISE(ABORT, 'work_event is append-only'); END;

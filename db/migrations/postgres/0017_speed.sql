-- A page of the work queue reads about the rows it shows, whatever it is filtered by.
CREATE INDEX work_kind ON work (kind, lane, due_at, seq, id) WHERE done_at IS NULL;
CREATE INDEX work_channel ON work (channel, lane, due_at, seq, id) WHERE done_at IS NULL;
CREATE INDEX work_late ON work (lane, due_at, seq, id) WHERE done_at IS NULL AND overdue_at IS NOT NULL;
CREATE INDEX work_late_kind ON work (kind, lane, due_at, seq, id) WHERE done_at IS NULL AND overdue_at IS NOT NULL;
CREATE INDEX work_late_channel ON work (channel, lane, due_at, seq, id)
    WHERE done_at IS NULL AND overdue_at IS NOT NULL;
CREATE INDEX work_done_kind ON work (kind, done_at, id) WHERE done_at IS NOT NULL;
CREATE INDEX work_done_channel ON work (channel, done_at, id) WHERE done_at IS NOT NULL;

-- 回避: every call asks whom its citizen's matters name.
CREATE INDEX work_recused_contact ON work (contact) WHERE excluded IS NOT NULL;
CREATE INDEX callback_task_recused ON callback_task (party) WHERE excluded IS NOT NULL;
-- A queue that a shift leader opened or closed by hand, until then.
CREATE TABLE queue_override (
    queue TEXT PRIMARY KEY,
    open BOOLEAN NOT NULL,
    until_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- Figures are asked for by time.
CREATE INDEX call_ring ON call (ring_at, id);
CREATE INDEX callback_task_created ON callback_task (created_at);
CREATE INDEX survey_at ON survey (at);

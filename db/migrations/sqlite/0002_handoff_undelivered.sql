-- Looking at what the case core hasn't got yet must not read what it has.
CREATE INDEX handoff_undelivered ON handoff (state, created_at) WHERE state <> '已收';

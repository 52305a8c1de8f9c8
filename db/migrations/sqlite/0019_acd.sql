-- What an operator can do, level 1 (some) to 9 (best).
CREATE TABLE operator_skill (
    operator TEXT NOT NULL REFERENCES account (id),
    skill TEXT NOT NULL,
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 9),
    PRIMARY KEY (operator, skill)
) STRICT, WITHOUT ROWID;

-- Which queues an operator signed in to last: they serve them again after a restart.
CREATE TABLE operator_seat (
    operator TEXT PRIMARY KEY REFERENCES account (id),
    queues TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

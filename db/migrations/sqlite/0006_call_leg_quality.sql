-- How each leg of a call sounded, both ways (in: what we heard of the peer, out: what it reports).
CREATE TABLE call_leg_quality (
    call TEXT NOT NULL REFERENCES call (id),
    n INTEGER NOT NULL,
    leg TEXT NOT NULL,
    at INTEGER NOT NULL,
    codec TEXT,
    srtp TEXT,
    packets_in INTEGER NOT NULL,
    packets_out INTEGER NOT NULL,
    lost_in INTEGER NOT NULL,
    lost_out INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    srtp_refused INTEGER NOT NULL,
    jitter_in_ms INTEGER NOT NULL,
    jitter_in_max_ms INTEGER NOT NULL,
    jitter_out_ms INTEGER NOT NULL,
    jitter_out_max_ms INTEGER NOT NULL,
    rtt_ms INTEGER,
    rtt_max_ms INTEGER,
    mos_in REAL,
    mos_in_min REAL,
    mos_out REAL,
    mos_out_min REAL,
    PRIMARY KEY (call, n)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER call_leg_quality_no_update BEFORE UPDATE ON call_leg_quality
BEGIN SELECT RAISE(ABORT, 'call_leg_quality is append-only'); END;
CREATE TRIGGER call_leg_quality_no_delete BEFORE DELETE ON call_leg_quality
BEGIN SELECT RAISE(ABORT, 'call_leg_quality is append-only'); END;

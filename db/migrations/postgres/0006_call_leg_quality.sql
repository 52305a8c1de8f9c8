-- How each leg of a call sounded, both ways (in: what we heard of the peer, out: what it reports).
CREATE TABLE call_leg_quality (
    call TEXT NOT NULL REFERENCES call (id),
    n BIGINT NOT NULL,
    leg TEXT NOT NULL,
    at BIGINT NOT NULL,
    codec TEXT,
    srtp TEXT,
    packets_in BIGINT NOT NULL,
    packets_out BIGINT NOT NULL,
    lost_in BIGINT NOT NULL,
    lost_out BIGINT NOT NULL,
    dropped BIGINT NOT NULL,
    srtp_refused BIGINT NOT NULL,
    jitter_in_ms BIGINT NOT NULL,
    jitter_in_max_ms BIGINT NOT NULL,
    jitter_out_ms BIGINT NOT NULL,
    jitter_out_max_ms BIGINT NOT NULL,
    rtt_ms BIGINT,
    rtt_max_ms BIGINT,
    mos_in DOUBLE PRECISION,
    mos_in_min DOUBLE PRECISION,
    mos_out DOUBLE PRECISION,
    mos_out_min DOUBLE PRECISION,
    PRIMARY KEY (call, n)
);

CREATE TRIGGER call_leg_quality_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON call_leg_quality
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

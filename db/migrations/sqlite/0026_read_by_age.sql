-- 话后 is asked for by time; refused messages are looked for by age.
CREATE INDEX operator_state_wrap ON operator_state (from_at) WHERE state = 'wrap_up';
CREATE INDEX message_refused ON message (at) WHERE state = '拒收';
-- The works that changed hands, as JSON: signed with the acceptance. NULL for those accepted before.
ALTER TABLE handover ADD COLUMN passed TEXT;

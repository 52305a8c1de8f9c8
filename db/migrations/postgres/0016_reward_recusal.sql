-- Payments that were not owed any more when their batch was approved.
CREATE TABLE reward_payment_stop (
    payment TEXT PRIMARY KEY REFERENCES reward_payment (id),
    at BIGINT NOT NULL
);
-- What was paid to a contact is asked by contact.
CREATE INDEX reward_line_contact ON reward_line (contact);
-- 回避: every look at items asks which of them somebody must not see.
CREATE INDEX work_recused ON work (item) WHERE excluded IS NOT NULL;

CREATE TRIGGER reward_payment_stop_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reward_payment_stop
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

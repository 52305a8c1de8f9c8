-- A phone that is rung once and whose leg stays up between citizens.
ALTER TABLE desk_phone ADD COLUMN nailed_up INTEGER NOT NULL DEFAULT 0;

-- 居家坐席: a phone behind a line of its own speaks Opus.
ALTER TABLE desk_phone ADD COLUMN home BOOLEAN NOT NULL DEFAULT FALSE;

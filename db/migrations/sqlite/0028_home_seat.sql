-- 居家坐席: a phone behind a line of its own speaks Opus.
ALTER TABLE desk_phone ADD COLUMN home INTEGER NOT NULL DEFAULT 0;

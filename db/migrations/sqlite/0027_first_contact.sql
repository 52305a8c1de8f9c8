-- 首次解决率 asks for items by time.
CREATE INDEX item_created ON item (created_at);

-- additive
-- The attempt by which a recipient may have been reached already, though it waits for another try: whatever ends the
-- waiting then, its outcome is unknown.
ALTER TABLE recipients ADD COLUMN doubt INTEGER;

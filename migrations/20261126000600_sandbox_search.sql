-- The inbox finds a message by the words that are read, which its transfer encoding hides from a search in the bytes.
--
-- Leaves processes of the version before working: their messages are found by their bytes, as before.
ALTER TABLE message_bodies ADD COLUMN searchable_text text;

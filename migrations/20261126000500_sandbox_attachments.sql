-- The list of the inbox marks what has attachments, without reading the bodies.
--
-- Leaves processes of the version before working: their copies have no mark.
ALTER TABLE sandbox_messages ADD COLUMN has_attachments boolean NOT NULL DEFAULT false;

-- The caller's own Message-ID; where a request named a recipient; addresses that are found in letters of either case.
--
-- Leaves processes of the version before working: they write neither column, and find addresses without the index.

-- NULL: `<id as 32 hexadecimal digits>@<domain of sender>`.
ALTER TABLE messages ADD COLUMN message_id text;

-- JSON pointers with commas between. NULL: the list of its kind, and its place among the recipients of that kind.
ALTER TABLE recipients ADD COLUMN places text;

DROP INDEX recipients_by_address;
CREATE INDEX recipients_by_address ON recipients (split_part(address, '@', -1), lower(address), message_id DESC);

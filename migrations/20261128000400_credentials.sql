-- By what a message was sent: an API key's id, or whom a token speaks of; of mail of before, and of mail made in SQL, nothing.
ALTER TABLE messages ADD COLUMN credential text;

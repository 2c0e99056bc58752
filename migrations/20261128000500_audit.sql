-- Who changed what: an entry is written before each change that a credential or a command makes, and says later how it went.
CREATE TABLE audit (
    -- UUIDv7: when.
    id uuid PRIMARY KEY,
    -- Whose things; NULL: the installation's.
    project_id uuid,
    -- A key's id, token: and whom a token speaks of, or command: and the user of the machine.
    actor text NOT NULL,
    -- Whose credential: an operator's may be of another project.
    actor_project_id uuid,
    -- Where the request came from.
    address text,
    -- A method and the pattern of a path, or a command.
    action text NOT NULL,
    -- What was changed, as the path or the answer names it.
    subject text NOT NULL DEFAULT '',
    -- Of the answer; NULL: the process ended before it.
    status smallint,
    CONSTRAINT audit_texts_length CHECK (length(actor) <= 300 AND length(action) <= 200 AND length(subject) <= 300)
);
CREATE INDEX audit_by_project ON audit (project_id, id DESC);

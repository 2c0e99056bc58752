-- Templates: configuration, by project. A version never changes but in its state; the step that made or changed it is in
-- template_steps, which outlives the template. New tables only: nothing is read, copied or locked.

CREATE TABLE templates (
    id                uuid        NOT NULL,
    project_id        uuid        NOT NULL,
    mode              text        NOT NULL, -- test credentials have templates of their own
    alias             text        NOT NULL,
    name              text        NOT NULL,
    kind              text        NOT NULL,
    latest_version    integer     NOT NULL,
    published_version integer,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT templates_pkey PRIMARY KEY (id),
    CONSTRAINT templates_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    CONSTRAINT templates_alias UNIQUE (project_id, mode, alias),
    CONSTRAINT templates_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT templates_kind CHECK (kind IN ('message', 'layout', 'partial')),
    CONSTRAINT templates_published_exists CHECK (published_version BETWEEN 1 AND latest_version)
);
CREATE INDEX templates_by_project ON templates (project_id, mode, id DESC);

CREATE TABLE template_versions (
    template_id    uuid        NOT NULL,
    number         integer     NOT NULL,
    state          text        NOT NULL,
    default_locale text        NOT NULL,
    locales        jsonb       NOT NULL, -- locale: {subject, text, html, mjml}
    samples        jsonb       NOT NULL, -- variables to try it with
    uses           text[]      NOT NULL, -- aliases that its sources name
    description    text        NOT NULL,
    reason         text,                 -- what the reviewer said last
    created_at     timestamptz NOT NULL,
    created_by     text        NOT NULL,
    CONSTRAINT template_versions_pkey PRIMARY KEY (template_id, number),
    CONSTRAINT template_versions_template_fkey FOREIGN KEY (template_id) REFERENCES templates (id) ON DELETE CASCADE,
    CONSTRAINT template_versions_number CHECK (number >= 1),
    CONSTRAINT template_versions_state CHECK (state IN ('draft', 'submitted', 'approved', 'refused'))
);

CREATE TABLE template_steps (
    id          uuid        NOT NULL,
    project_id  uuid        NOT NULL,
    template_id uuid        NOT NULL,
    action      text        NOT NULL,
    version     integer,
    actor       text        NOT NULL, -- a key's id, or token
    reason      text,
    at          timestamptz NOT NULL,
    CONSTRAINT template_steps_pkey PRIMARY KEY (id),
    CONSTRAINT template_steps_action CHECK (action IN
        ('created', 'changed', 'renamed', 'submitted', 'approved', 'refused', 'published', 'deleted'))
);
CREATE INDEX template_steps_by_template ON template_steps (template_id, id DESC);

CREATE TABLE template_settings (
    project_id      uuid        NOT NULL,
    mode            text        NOT NULL,
    review_required boolean     NOT NULL,
    changed_at      timestamptz NOT NULL,
    changed_by      text        NOT NULL,
    CONSTRAINT template_settings_pkey PRIMARY KEY (project_id, mode),
    CONSTRAINT template_settings_mode CHECK (mode IN ('live', 'test')),
    CONSTRAINT template_settings_project_fkey FOREIGN KEY (project_id) REFERENCES projects (id)
);

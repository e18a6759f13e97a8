ALTER TABLE cases ADD COLUMN began BIGINT NOT NULL DEFAULT 0;
CREATE INDEX cases_began ON cases (began, profile, body, state, not_after);

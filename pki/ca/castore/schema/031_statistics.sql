ALTER TABLE certificate ADD COLUMN not_before BIGINT NOT NULL DEFAULT 0;
ALTER TABLE certificate ADD COLUMN not_after BIGINT NOT NULL DEFAULT 0;
CREATE INDEX certificate_dates ON certificate (profile, not_before, not_after, revoked, reason);
CREATE INDEX certificate_undated ON certificate (leaf) WHERE not_after = 0;

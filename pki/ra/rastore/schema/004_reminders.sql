ALTER TABLE cases ADD COLUMN not_after BIGINT NOT NULL DEFAULT 0;
CREATE INDEX cases_not_after ON cases (not_after);
CREATE TABLE reminder (
	case_id   TEXT    NOT NULL,
	days      BIGINT  NOT NULL,
	serial    TEXT    NOT NULL,
	title     TEXT    NOT NULL,
	profile   TEXT    NOT NULL,
	not_after BIGINT  NOT NULL,
	at        BIGINT  NOT NULL,
	dropped   BOOLEAN NOT NULL DEFAULT FALSE,
	PRIMARY KEY (case_id, days)
);
CREATE INDEX reminder_at ON reminder (at, case_id, days);
CREATE INDEX reminder_dropped ON reminder (dropped, at);

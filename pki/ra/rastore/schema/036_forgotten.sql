CREATE TABLE forgotten (
	case_id  TEXT   NOT NULL PRIMARY KEY,
	proposal TEXT   NOT NULL,
	at       BIGINT NOT NULL
);
CREATE INDEX forgotten_proposal ON forgotten (proposal, case_id);

CREATE TABLE unit (
	code      TEXT    NOT NULL PRIMARY KEY,
	name      TEXT    NOT NULL,
	suspended BOOLEAN NOT NULL,
	letter_from TEXT  NOT NULL,
	letter_to TEXT    NOT NULL,
	case_id   TEXT    NOT NULL,
	at        BIGINT  NOT NULL,
	body      BYTEA   NOT NULL,
	sealed    BYTEA   NOT NULL
);

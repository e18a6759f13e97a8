CREATE TABLE gate (
	policy        TEXT    NOT NULL PRIMARY KEY,
	qualification TEXT    NOT NULL,
	valid_from    BIGINT  NOT NULL,
	valid_to      BIGINT  NOT NULL,
	cps           TEXT    NOT NULL,
	suspended     BOOLEAN NOT NULL,
	note          TEXT    NOT NULL
);

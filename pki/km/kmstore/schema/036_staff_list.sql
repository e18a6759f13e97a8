CREATE TABLE staff_turn (
	request TEXT   NOT NULL PRIMARY KEY,
	at      BIGINT NOT NULL
);
CREATE TABLE staff_status (
	serial BYTEA  NOT NULL PRIMARY KEY,
	reason BIGINT NOT NULL,
	at     BIGINT NOT NULL
);
CREATE TABLE staff_list (
	one      BIGINT NOT NULL PRIMARY KEY,
	number   BIGINT NOT NULL,
	tbs      BYTEA  NOT NULL,
	der      BYTEA,
	next     BIGINT NOT NULL,
	due      BIGINT NOT NULL
);
CREATE TABLE staff_list_signed (
	one BIGINT NOT NULL PRIMARY KEY,
	der BYTEA  NOT NULL
);

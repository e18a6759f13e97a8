CREATE TABLE vault (
	one     BIGINT NOT NULL PRIMARY KEY,
	next    BIGINT NOT NULL,
	standby BIGINT NOT NULL,
	in_use  BIGINT NOT NULL,
	history BIGINT NOT NULL
);
INSERT INTO vault (one, next, standby, in_use, history) VALUES (1, 1, 0, 0, 0);
CREATE TABLE standby (
	pair    BIGINT NOT NULL PRIMARY KEY,
	point   BYTEA  NOT NULL,
	version BIGINT NOT NULL,
	master  TEXT   NOT NULL,
	blob    BYTEA  NOT NULL
);
CREATE TABLE held (
	ca         TEXT   NOT NULL,
	serial     BYTEA  NOT NULL,
	pair       BIGINT NOT NULL,
	state      BIGINT NOT NULL,
	point      BYTEA  NOT NULL,
	version    BIGINT NOT NULL,
	master     TEXT   NOT NULL,
	blob       BYTEA  NOT NULL,
	not_before BIGINT NOT NULL,
	not_after  BIGINT NOT NULL,
	user_name  BYTEA  NOT NULL,
	region     BYTEA  NOT NULL,
	sealed_to  BYTEA  NOT NULL,
	task       BYTEA  NOT NULL,
	taken_at   BIGINT NOT NULL,
	retired_at BIGINT NOT NULL,
	PRIMARY KEY (ca, serial)
);
CREATE UNIQUE INDEX held_pair ON held (pair);
CREATE INDEX held_ends ON held (not_after) WHERE state = 2;
CREATE TABLE task (
	ca       TEXT   NOT NULL,
	no       BYTEA  NOT NULL,
	digest   BYTEA  NOT NULL,
	outcome  BYTEA  NOT NULL,
	response BYTEA,
	at       BIGINT NOT NULL,
	PRIMARY KEY (ca, no)
);
CREATE INDEX task_answered ON task (at) WHERE response IS NOT NULL;

CREATE TABLE body (
	id   TEXT  NOT NULL PRIMARY KEY,
	body BYTEA NOT NULL
);
CREATE TABLE body_member (
	person TEXT NOT NULL PRIMARY KEY,
	body   TEXT NOT NULL
);
CREATE TABLE review_level (
	profile TEXT  NOT NULL PRIMARY KEY,
	levels  BYTEA NOT NULL
);
CREATE TABLE body_change (
	request  TEXT   NOT NULL PRIMARY KEY,
	digest   BYTEA  NOT NULL,
	evidence BYTEA  NOT NULL,
	at       BIGINT NOT NULL
);

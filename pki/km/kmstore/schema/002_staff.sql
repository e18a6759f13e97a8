CREATE TABLE staff_cert (
	request TEXT   NOT NULL PRIMARY KEY,
	serial  BYTEA  NOT NULL,
	tbs     BYTEA  NOT NULL,
	der     BYTEA,
	at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX staff_cert_serial ON staff_cert (serial);

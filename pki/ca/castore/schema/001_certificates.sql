CREATE TABLE job (
	id       TEXT   NOT NULL PRIMARY KEY,
	state    BIGINT NOT NULL,
	content  BYTEA  NOT NULL,
	key_sm3  BYTEA  NOT NULL,
	sign_sn  BYTEA  NOT NULL,
	enc_sn   BYTEA,
	not_before BIGINT NOT NULL,
	not_after  BIGINT NOT NULL,
	task     BIGINT NOT NULL,
	sign_tbs BYTEA,
	enc_tbs  BYTEA,
	sealed   BYTEA,
	opened_at   BIGINT NOT NULL,
	intended_at BIGINT,
	recorded_at BIGINT
);
CREATE UNIQUE INDEX job_sign_sn ON job (sign_sn);
CREATE UNIQUE INDEX job_enc_sn ON job (enc_sn);
CREATE TABLE live_key (
	key_sm3 BYTEA NOT NULL PRIMARY KEY,
	job     TEXT  NOT NULL
);
CREATE TABLE ask (
	task    BIGINT  NOT NULL PRIMARY KEY,
	message BYTEA   NOT NULL,
	retire  BOOLEAN NOT NULL,
	done    BOOLEAN NOT NULL
);
CREATE INDEX ask_open ON ask (done, retire);
CREATE TABLE certificate (
	leaf       BIGINT  NOT NULL PRIMARY KEY,
	serial     BYTEA   NOT NULL,
	pair       BYTEA,
	job        TEXT    NOT NULL,
	profile    TEXT    NOT NULL,
	use        TEXT    NOT NULL,
	shard      BIGINT  NOT NULL,
	der        BYTEA   NOT NULL,
	revoked    BOOLEAN NOT NULL,
	reason     BIGINT  NOT NULL,
	revoked_at BIGINT  NOT NULL,
	invalid_at BIGINT  NOT NULL
);
CREATE UNIQUE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_job ON certificate (job);
CREATE TABLE revoked (
	serial     BYTEA  NOT NULL PRIMARY KEY,
	shard      BIGINT NOT NULL,
	request    TEXT   NOT NULL,
	revoked_at BIGINT NOT NULL,
	entry      BYTEA  NOT NULL
);
CREATE INDEX revoked_shard ON revoked (shard);
CREATE INDEX revoked_request ON revoked (request);
CREATE TABLE dirty (
	shard BIGINT NOT NULL PRIMARY KEY,
	since BIGINT NOT NULL
);
CREATE TABLE crl (
	number      BIGINT NOT NULL PRIMARY KEY,
	scope       TEXT   NOT NULL,
	this_update BIGINT NOT NULL,
	next_update BIGINT NOT NULL,
	tbs         BYTEA  NOT NULL,
	der         BYTEA,
	leaf        BIGINT
);
CREATE INDEX crl_scope ON crl (scope, number);
CREATE INDEX crl_leaf ON crl (leaf);
CREATE TABLE authority (
	leaf BIGINT NOT NULL PRIMARY KEY,
	der  BYTEA  NOT NULL
);

CREATE TABLE cases (
	id         TEXT   NOT NULL PRIMARY KEY,
	kind       TEXT   NOT NULL,
	state      TEXT   NOT NULL,
	seq        BIGINT NOT NULL,
	content    BYTEA  NOT NULL,
	title      TEXT   NOT NULL,
	profile    TEXT   NOT NULL,
	key_sm3    BYTEA,
	identity   BYTEA,
	blind      BYTEA,
	batch      TEXT   NOT NULL,
	sheet_row  BIGINT NOT NULL,
	created_by TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	sign_sn    TEXT   NOT NULL,
	enc_sn     TEXT   NOT NULL,
	reply      BYTEA,
	trouble    BYTEA
);
CREATE INDEX cases_state ON cases (kind, state, id);
CREATE INDEX cases_sign ON cases (sign_sn);
CREATE INDEX cases_enc ON cases (enc_sn);
CREATE INDEX cases_blind ON cases (blind);
CREATE INDEX cases_batch ON cases (batch);
CREATE INDEX cases_created ON cases (created_at, id);
CREATE TABLE event (
	case_id TEXT   NOT NULL,
	seq     BIGINT NOT NULL,
	at      BIGINT NOT NULL,
	body    BYTEA  NOT NULL,
	PRIMARY KEY (case_id, seq)
);
CREATE TABLE live_key (
	key_sm3 BYTEA NOT NULL PRIMARY KEY,
	case_id TEXT  NOT NULL
);
CREATE TABLE batch (
	id     TEXT   NOT NULL PRIMARY KEY,
	digest BYTEA  NOT NULL,
	name   TEXT   NOT NULL,
	who    TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	body   BYTEA  NOT NULL
);
CREATE UNIQUE INDEX batch_digest ON batch (digest);

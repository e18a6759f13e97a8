ALTER TABLE cases ADD COLUMN enc_sm3 BYTEA;
CREATE INDEX cases_enc_key ON cases (enc_sm3);

ALTER TABLE crl ADD COLUMN crl_number BIGINT NOT NULL DEFAULT 0;
UPDATE crl SET crl_number = number;
CREATE INDEX crl_by_number ON crl (crl_number, scope);

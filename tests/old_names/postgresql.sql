-- 20261121_01

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE users (
    id UUID NOT NULL,
    username VARCHAR(64),
    password_hash VARCHAR(255),
    nickname VARCHAR(64),
    avatar_url VARCHAR(1024),
    phone_number_sealed BYTEA,
    disabled_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_username UNIQUE (username)
);

CREATE TABLE identities (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    provider VARCHAR(16) NOT NULL,
    appid VARCHAR(64) NOT NULL,
    openid VARCHAR(128) NOT NULL,
    unionid VARCHAR(128),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_identities PRIMARY KEY (id),
    CONSTRAINT fk_identities_user_id FOREIGN KEY(user_id) REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT uq_identities_provider_appid_openid UNIQUE (provider, appid, openid),
    CONSTRAINT uq_identities_user_id_provider_appid UNIQUE (user_id, provider, appid)
);

CREATE INDEX ix_identities_unionid ON identities (unionid);

CREATE TABLE login_codes (
    code_hash BYTEA NOT NULL,
    claim_id UUID NOT NULL,
    outcome VARCHAR(32),
    identity_id UUID,
    client_address VARCHAR(45),
    user_agent VARCHAR(512),
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_login_codes PRIMARY KEY (code_hash),
    CONSTRAINT fk_login_codes_identity_id FOREIGN KEY(identity_id) REFERENCES identities (id) ON DELETE CASCADE
);

CREATE INDEX ix_login_codes_expires_at ON login_codes (expires_at);

CREATE TABLE session_keys (
    identity_id UUID NOT NULL,
    slot SMALLINT NOT NULL,
    sealed BYTEA NOT NULL,
    obtained_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_session_keys PRIMARY KEY (identity_id, slot),
    CONSTRAINT slot CHECK (slot >= 0 AND slot < 3),
    CONSTRAINT fk_session_keys_identity_id FOREIGN KEY(identity_id) REFERENCES identities (id) ON DELETE CASCADE
);

CREATE TABLE sessions (
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    identity_id UUID,
    token_hash BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    auth_time TIMESTAMP WITH TIME ZONE NOT NULL,
    absolute_expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    idle_expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    purge_on DATE NOT NULL,
    rotated_at TIMESTAMP WITH TIME ZONE,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_reason VARCHAR(32),
    client_address VARCHAR(45),
    user_agent VARCHAR(512),
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT fk_sessions_identity_id FOREIGN KEY(identity_id) REFERENCES identities (id) ON DELETE SET NULL,
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

ALTER TABLE sessions SET (fillfactor = 80);

CREATE INDEX ix_sessions_purge_on_id ON sessions (purge_on, id);

CREATE INDEX ix_sessions_user_id ON sessions (user_id);

INSERT INTO alembic_version (version_num) VALUES ('20261121_01');

-- 20261121_02

ALTER TABLE users ADD COLUMN phone_number_hash BYTEA;

CREATE INDEX ix_users_phone_number_hash ON users (phone_number_hash);

CREATE TABLE access_tokens (
    appid VARCHAR(64) NOT NULL,
    sealed BYTEA,
    expires_at TIMESTAMP WITH TIME ZONE,
    claim_id UUID,
    claimed_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_access_tokens PRIMARY KEY (appid)
);

CREATE TABLE failed_attempts (
    key_hash BYTEA NOT NULL,
    failures INTEGER NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_failed_attempts PRIMARY KEY (key_hash)
);

CREATE INDEX ix_failed_attempts_expires_at ON failed_attempts (expires_at);

CREATE TABLE audit_events (
    id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    event VARCHAR(32) NOT NULL,
    reason VARCHAR(32),
    user_id UUID,
    session_id UUID,
    appid VARCHAR(64),
    client_address VARCHAR(45),
    user_agent VARCHAR(512),
    CONSTRAINT pk_audit_events PRIMARY KEY (id)
);

CREATE INDEX ix_audit_events_at ON audit_events (at);

CREATE INDEX ix_audit_events_user_id ON audit_events (user_id);

UPDATE alembic_version SET version_num='20261121_02' WHERE alembic_version.version_num = '20261121_01';

-- 20261124_01

CREATE TABLE leases (
    name VARCHAR(64) NOT NULL,
    holder UUID NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_leases PRIMARY KEY (name)
);

CREATE TABLE merged_users (
    old_id UUID NOT NULL,
    new_id UUID NOT NULL,
    merged_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_merged_users PRIMARY KEY (old_id)
);

CREATE INDEX ix_merged_users_new_id ON merged_users (new_id);

CREATE TABLE unbound_identities (
    user_id UUID NOT NULL,
    identity_id UUID NOT NULL,
    unbound_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_unbound_identities PRIMARY KEY (user_id, identity_id),
    CONSTRAINT fk_unbound_identities_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_unbound_identities_identity_id FOREIGN KEY(identity_id) REFERENCES identities (id) ON DELETE CASCADE
);

CREATE INDEX ix_unbound_identities_identity_id ON unbound_identities (identity_id);

CREATE INDEX ix_identities_openid ON identities (openid);

ALTER TABLE audit_events ADD COLUMN actor VARCHAR(64);

ALTER TABLE audit_events ADD COLUMN count INTEGER DEFAULT '1' NOT NULL;

CREATE INDEX ix_audit_events_user_id_at_id ON audit_events (user_id, at, id);

DROP INDEX ix_audit_events_user_id;

ALTER TABLE session_keys DROP CONSTRAINT slot;

ALTER TABLE session_keys ADD CONSTRAINT slot CHECK (slot >= 0 AND slot < 10);

UPDATE alembic_version SET version_num='20261124_01' WHERE alembic_version.version_num = '20261121_02';

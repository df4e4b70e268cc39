-- 20261121_01

INSERT INTO users (id, username, created_at)
VALUES ('00000000000000000000000000000001', 'alice', '2026-11-21 08:30:00.000000');

INSERT INTO identities (id, user_id, provider, appid, openid, created_at)
VALUES ('00000000000000000000000000000001', '00000000000000000000000000000001', 'wechat',
        'wx0123456789abcdef', 'an-openid', '2026-11-21 08:30:00.000000');

INSERT INTO session_keys (identity_id, slot, sealed, obtained_at)
VALUES ('00000000000000000000000000000001', 0, 'sealed', '2026-11-21 08:30:00.000000');

INSERT INTO sessions (id, user_id, identity_id, token_hash, created_at, auth_time,
                      absolute_expires_at, idle_expires_at, purge_on)
VALUES ('00000000000000000000000000000001', '00000000000000000000000000000001',
        '00000000000000000000000000000001', 'a hash', '2026-11-21 08:30:00.000000',
        '2026-11-21 08:30:00.000000', '2026-12-21 08:30:00.000000',
        '2026-11-28 08:30:00.000000', '2026-11-28');

INSERT INTO login_codes (code_hash, claim_id, identity_id, expires_at)
VALUES ('a hash', '00000000000000000000000000000001', '00000000000000000000000000000001',
        '2026-11-21 08:35:00.000000');

-- 20261121_02

INSERT INTO audit_events (id, at, event)
VALUES ('00000000000000000000000000000001', '2026-11-21 08:30:00.000000', 'login');

-- 20261124_01

INSERT INTO merged_users (old_id, new_id, merged_at)
VALUES ('00000000000000000000000000000002', '00000000000000000000000000000001',
        '2026-11-21 08:30:00.000000');

"""Which errors the calls have in common; the OpenAPI page tells them."""

DATABASE_ERRORS = ("overloaded", "database_unavailable", "not_ready")
TOKEN_ERRORS = (
    "missing_token",
    "invalid_token",
    "session_expired",
    "session_ended",
    "session_superseded",
    *DATABASE_ERRORS,
)
WECHAT_ERRORS = (
    "wechat_rate_limited",
    "wechat_busy",
    "wechat_unreachable",
    "wechat_timeout",
    "wechat_unintelligible",
    "app_rejected",
)
CODE_ERRORS = ("invalid_code", "code_used", "user_blocked")
PASSWORD_ERRORS = ("bad_credentials", "too_many_attempts", "user_blocked")
OPEN_DATA_ERRORS = ("session_key_stale", "watermark_mismatch")

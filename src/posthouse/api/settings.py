"""What of the configuration the API needs. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Limits and permissions; the configuration explains each under the same name."""

    allowed_origins: tuple[str, ...] = ("*",)
    request_bytes_max: int = 1 << 20
    request_timeout_ms: int = 15_000
    requests_per_app_per_s: float = 2_000.0
    requests_per_app_burst: float = 4_000.0
    requests_per_user_per_s: float = 20.0
    requests_per_user_burst: float = 100.0
    users_edit_profile: bool = True
    users_create_conversations: bool = True
    token_ttl_s: int = 3_600
    token_ttl_s_max: int = 86_400
    endpoints_ttl_s: int = 300
    details_open: bool = True
    """False: what is counted, and what is wrong with what, is for operators only."""

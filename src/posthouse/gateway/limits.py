"""What one gateway takes from its clients. Every limit has its unit in its name."""

from dataclasses import dataclass

from posthouse.model.content import BODY_BYTES_MAX
from posthouse.protocol.codes import Action, action_of


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Beyond `in_flight_max` a request is refused, beyond `entering_max` and `sessions_per_user_max` a login is sent
    away, late hellos end."""

    frame_bytes_max: int = 64 * 1024
    body_bytes_max: int = BODY_BYTES_MAX
    page_bytes_max: int = 256 * 1024
    """One answer of `fetch` or `list`; also what may still be unread when the next one is written."""
    in_flight_max: int = 256
    entering_max: int = 20_000
    sessions_per_user_max: int = 100
    hello_timeout_ms: int = 10_000
    resume_ttl_s: int = 7 * 24 * 3600
    retry_ms: int = 500

    def retry_after_ms(self, code: int) -> int:
        """When a client should repeat what was refused with `code`; 0 when it should not."""
        return self.retry_ms if action_of(code) in (Action.RETRY, Action.RESUME) else 0

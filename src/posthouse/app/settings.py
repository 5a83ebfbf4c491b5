"""From the configuration to what each room is given. Nothing is decided here."""

from posthouse.api.settings import ApiSettings
from posthouse.app.config.values import Config
from posthouse.balance.guards import EjectionRule, Guards
from posthouse.balance.rebalancing import RebalanceRule
from posthouse.gateway.admission import Rates
from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.limits import GatewayLimits
from posthouse.messaging.commit import CommitLimits


def api_settings(config: Config) -> ApiSettings:
    """What the REST API is given."""
    api = config.api
    return ApiSettings(
        allowed_origins=config.listen.allowed_origins,
        request_bytes_max=api.request_bytes_max,
        request_timeout_ms=api.request_timeout_ms,
        requests_per_app_per_s=api.requests_per_app_per_s,
        requests_per_app_burst=api.requests_per_app_burst,
        requests_per_user_per_s=api.requests_per_user_per_s,
        requests_per_user_burst=api.requests_per_user_burst,
        users_edit_profile=api.users_edit_profile,
        users_create_conversations=api.users_create_conversations,
        token_ttl_s=config.auth.token_ttl_s,
        token_ttl_s_max=config.auth.token_ttl_s_max,
        endpoints_ttl_s=api.endpoints_ttl_s,
        details_open=config.operator.details == "open",
    )


def gateway_limits(config: Config) -> GatewayLimits:
    """What the gateway takes from one session."""
    limits = config.limits
    return GatewayLimits(
        frame_bytes_max=limits.frame_bytes_max,
        page_bytes_max=limits.outbox_bytes_max // 2,
        in_flight_max=limits.in_flight_max,
        entering_max=limits.entering_max,
        sessions_per_user_max=limits.sessions_per_user_max,
        hello_timeout_ms=limits.hello_timeout_ms,
        resume_ttl_s=config.auth.resume_ttl_s,
    )


def socket_limits(config: Config) -> SocketLimits:
    """What the listener takes from one connection."""
    limits = config.limits
    return SocketLimits(
        message_bytes_max=limits.frame_bytes_max,
        outbox_bytes_max=limits.outbox_bytes_max,
        connections_max=limits.connections_max,
    )


def rates(config: Config) -> Rates:
    """How fast clients may act."""
    limits = config.limits
    return Rates(
        frames_per_connection_per_s=limits.frames_per_connection_per_s,
        frames_per_connection_burst=limits.frames_per_connection_burst,
        sends_per_user_per_s=limits.sends_per_user_per_s,
        sends_per_user_burst=limits.sends_per_user_burst,
        sends_per_app_per_s=limits.sends_per_app_per_s,
        sends_per_app_burst=limits.sends_per_app_burst,
        logins_per_s=limits.logins_per_s,
        logins_burst=limits.logins_burst,
        logins_per_user_per_s=limits.logins_per_user_per_s,
        logins_per_user_burst=limits.logins_per_user_burst,
    )


def commit_limits(config: Config) -> CommitLimits:
    """How much may wait for the database."""
    limits = config.limits
    return CommitLimits(queue_sends_max=limits.queue_sends_max, batch_sends_max=limits.batch_sends_max)


NEVER = 1 << 30


def guards(config: Config) -> Guards:
    """What is applied around the balancing policy."""
    balance = config.balance
    rule = EjectionRule(share_max=balance.ejected_share_max)
    return Guards(
        stale_after_s=balance.stale_after_s,
        slow_start_s=balance.slow_start_s,
        panic_below=balance.panic_below,
        ejection=rule if balance.ejection else EjectionRule(targets_min=NEVER),
    )


def rebalance_rule(config: Config) -> RebalanceRule:
    """When sessions are evened out, and how fast."""
    rebalance = config.rebalance
    return RebalanceRule(rebalance.above, rebalance.until, rebalance.share_per_s)

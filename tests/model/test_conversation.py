"""Who may do what in which kind of conversation."""

from itertools import product

import pytest

from posthouse.model.conversation import MANAGING_ROLES, Kind, Role, may_send


@pytest.mark.parametrize(("kind", "role"), list(product(Kind, Role)))
def test_whoever_is_no_reader_may_send_except_to_an_account_log(kind: Kind, role: Role) -> None:
    """P-7.11: account logs are the server's to write."""
    assert may_send(kind, role) is (kind is not Kind.ACCOUNT and role is not Role.READER)


def test_owners_and_admins_manage() -> None:
    assert set(MANAGING_ROLES) == {Role.OWNER, Role.ADMIN}

"""Loads what a batch needs to be planned. Runs in the writer thread, under the lock.

Each table answers with one JSON array instead of many rows: a row costs a hand-over of Python's global lock, which a
busy event loop makes slow.
"""

from collections.abc import Sequence

import apsw
import msgspec

from posthouse.model.conversation import History, Kind, Role
from posthouse.storage.engines.sqlite.bulk import Bulk
from posthouse.storage.rows import LogRow, MemberRow, Needs, SendKey, Sent, State

_LOGS = Bulk(
    """WITH wanted (app, conv) AS (:rows)
    SELECT json_group_array(json_array(app, conv, shard, kind, history, head, ordinal, active_ms, members,
        created_ms, hex(origin)))
    FROM wanted CROSS JOIN log USING (app, conv)""",
    2,
)
_SENT = Bulk(
    """WITH wanted (app, conv, sender, device, client_id) AS (:rows)
    SELECT json_group_array(json_array(app, conv, sender, device, client_id, seq, at_ms, ordinal, hex(digest)))
    FROM wanted CROSS JOIN entry USING (app, conv, sender, device, client_id)""",
    5,
)
_MEMBERS = Bulk(
    """WITH wanted (app, conv, user) AS (:rows)
    SELECT json_group_array(json_array(app, conv, user, role, from_seq, from_ordinal))
    FROM wanted CROSS JOIN member USING (app, conv, user) WHERE until_seq IS NULL""",
    3,
)

_decode_logs = msgspec.json.Decoder(
    list[tuple[str, str, int, Kind, History, int, int, int, int, int, str]]
).decode
_decode_sent = msgspec.json.Decoder(list[tuple[str, str, str, str, str, int, int, int, str]]).decode
_decode_members = msgspec.json.Decoder(list[tuple[str, str, str, Role, int, int]]).decode


def load(connection: apsw.Connection, wanted: Needs) -> State:
    """What there is of `wanted`, but for repeated sends."""
    return State(_logs(connection, wanted), {}, _members(connection, wanted))


def _logs(connection: apsw.Connection, wanted: Needs) -> dict[tuple[str, str], LogRow]:
    logs = {}
    for (found,) in _LOGS.run(connection, wanted.logs):
        for row in _decode_logs(found):
            app, conv, shard, kind, history, head, ordinal, active_ms, members, created_ms, origin = row
            logs[app, conv] = LogRow(
                app=app,
                conv=conv,
                shard=shard,
                kind=kind,
                history=history,
                head=head,
                ordinal=ordinal,
                active_ms=active_ms,
                members=members,
                created_ms=created_ms,
                origin=bytes.fromhex(origin),
            )
    return logs


def load_sent(connection: apsw.Connection, wanted: Sequence[SendKey]) -> dict[SendKey, Sent]:
    """Those of the sends that are entries already."""
    return {
        row[:5]: Sent(row[5], row[6], row[7], bytes.fromhex(row[8]))
        for (found,) in _SENT.run(connection, wanted)
        for row in _decode_sent(found)
    }


def _members(connection: apsw.Connection, wanted: Needs) -> dict[tuple[str, str, str], MemberRow]:
    return {
        row[:3]: MemberRow(*row)
        for (found,) in _MEMBERS.run(connection, wanted.members)
        for row in _decode_members(found)
    }

"""What an operator sees: every refusal, every end and every crash is counted."""

from tests.service.site import Site


async def test_metrics_are_prometheus_text_and_tell_of_work_done(embedded: Site) -> None:
    conv = await embedded.group("ann", "ben")
    ann, ben = await embedded.enter("ann"), await embedded.enter("ben")
    ack = await ann.send(conv)
    await ben.caught_up(conv, ack["seq"])
    reply = await embedded.rest("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert await embedded.metric("posthouse_ready") == 1
    assert await embedded.metric("posthouse_sessions") == 2
    assert await embedded.metric("posthouse_entered_total") == 2
    assert await embedded.metric("posthouse_commit_entries_total") >= 4
    assert await embedded.metric("posthouse_deliveries_total") >= 1
    assert await embedded.metric("posthouse_listener_total", event="sockets_opened") == 2
    assert await embedded.metric("posthouse_api_total", route="create_conversation", status="200") == 1
    assert await embedded.metric("process_cpu_seconds_total") > 0


async def test_crashes_of_every_owner_of_tasks_are_counted(embedded: Site) -> None:
    assert await embedded.metric("posthouse_task_crashes_total") == 0
    embedded.node.parts.tasks.crashes += 1
    embedded.node.gateway.tasks.crashes += 2
    assert await embedded.metric("posthouse_task_crashes_total") == 3

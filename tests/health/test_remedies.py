"""Remedies: mildest first, only when it helps, and never more than one node can bear."""

import pytest

from posthouse.health.attendant import BURST, Attendant
from posthouse.health.remedies import Action, Course, Remedy, RemedyRule, Symptoms, decide, done, observe
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks

RULE = RemedyRule()
CALM = Symptoms(utilisation=0.3, others=2, others_ready=2, others_free=2, restartable=True)
LOADED = CALM._replace(utilisation=1.1)
SICK = CALM._replace(sick="nothing is delivered")


class Patient:
    """A node whose symptoms the test sets, second by second, with what was decided when."""

    def __init__(self) -> None:
        self.course = Course()
        self.now = 0.0
        self.story: list[tuple[float, Action]] = []
        self.whys: list[str] = []

    def live(self, symptoms: Symptoms, seconds: int) -> list[Action]:
        before = len(self.story)
        for _ in range(seconds):
            self.now += 1.0
            self.course = observe(self.course, symptoms, RULE, self.now)
            remedy = decide(self.course, symptoms, RULE, self.now)
            if remedy is not None:
                self.course = done(self.course, remedy, self.now)
                self.story.append((self.now, remedy.action))
                self.whys.append(remedy.why)
        return [action for _, action in self.story[before:]]


@pytest.fixture
def patient() -> Patient:
    return Patient()


def test_a_calm_node_is_left_alone(patient: Patient) -> None:
    assert patient.live(CALM, 3_600) == []


def test_a_short_peak_is_left_alone(patient: Patient) -> None:
    assert patient.live(LOADED, 5) == []
    assert patient.live(CALM, 1) == []
    assert patient.live(LOADED, 5) == []


def test_overload_first_refuses_newcomers_then_moves_a_share_again_and_again(patient: Patient) -> None:
    assert patient.live(LOADED, 70) == [Action.SHED, Action.MOVE, Action.MOVE]
    assert [at for at, _ in patient.story] == [6.0, 31.0, 61.0]
    assert patient.whys[0] == (
        "the node has been overloaded (1.10) for 5 s: new sessions are refused with a time to come back"
    )
    assert "10% of them go to 2 other nodes" in patient.whys[1]


def test_sessions_are_moved_only_to_where_there_is_room(patient: Patient) -> None:
    assert patient.live(LOADED._replace(others_free=0), 600) == [Action.SHED]


def test_newcomers_are_welcome_again_when_the_load_has_been_low_for_a_while(patient: Patient) -> None:
    patient.live(LOADED, 10)
    between = CALM._replace(utilisation=0.9)
    assert patient.live(between, 20) == [], "between the two marks nothing changes"
    assert patient.live(CALM, 4) == []
    assert patient.live(CALM, 4) == [Action.ADMIT]
    assert patient.live(CALM, 600) == []


def test_a_sick_node_is_drained_then_restarted_once(patient: Patient) -> None:
    assert patient.live(SICK, 600) == [Action.DRAIN, Action.RESTART]
    assert [at for at, _ in patient.story] == [31.0, 151.0]
    assert patient.whys[0] == ("not ready for 30 s: nothing is delivered; its sessions go to 2 other nodes")


def test_a_node_that_recovers_is_taken_back_in(patient: Patient) -> None:
    patient.live(SICK, 60)
    assert patient.live(CALM, 10) == []
    assert patient.live(CALM, 600) == [Action.UNDRAIN]


def test_a_node_that_nobody_would_start_again_is_not_restarted(patient: Patient) -> None:
    assert patient.live(SICK._replace(restartable=False), 600) == [Action.DRAIN]


@pytest.mark.parametrize(
    ("others", "ready"),
    [
        (0, 0),  # a cluster of one has nobody to take over
        (2, 0),
        (9, 4),  # most are in trouble: it is not the node
    ],
)
def test_nothing_is_done_that_leaves_too_few(patient: Patient, others: int, ready: int) -> None:
    assert patient.live(SICK._replace(others=others, others_ready=ready), 3_600) == []


# The attendant ------------------------------------------------------------------------------------------------------


class Ward:
    """An attendant with everything it is given."""

    def __init__(self, *, acts: bool = True, per_hour: float = 6.0) -> None:
        self.clock = ManualClock()
        self.symptoms = CALM
        self.applied: list[Remedy] = []
        self.audited: list[tuple[Action, bool]] = []
        self.granted = True
        self.held = False
        self.attendant = Attendant(
            lambda: self.symptoms,
            self,
            self,
            lambda remedy, dry_run: self.audited.append((remedy.action, dry_run)),
            self.clock,
            RULE,
            acts=acts,
            per_hour=per_hour,
        )

    def apply(self, remedy: Remedy) -> None:
        self.applied.append(remedy)

    async def renew(self) -> bool:
        self.held = self.granted
        return self.granted

    async def release(self) -> None:
        self.held = False

    async def live(self, symptoms: Symptoms, seconds: int) -> None:
        self.symptoms = symptoms
        for _ in range(seconds):
            await self.clock.advance(1)
            await self.attendant.look()


async def test_each_remedy_is_audited_and_applied() -> None:
    ward = Ward()
    await ward.live(SICK, 40)
    assert ward.audited == [(Action.DRAIN, False)]
    assert [remedy.action for remedy in ward.applied] == [Action.DRAIN]


async def test_a_dry_run_does_no_harm_and_still_sheds() -> None:
    ward = Ward(acts=False)
    await ward.live(SICK, 400)
    assert ward.audited == [(Action.DRAIN, True), (Action.RESTART, True)]
    await ward.live(CALM, 40)
    await ward.live(LOADED, 100)
    assert {action for action, dry_run in ward.audited if not dry_run} == {Action.SHED}
    assert [remedy.action for remedy in ward.applied] == [Action.SHED]


async def test_only_one_node_is_treated_at_a_time() -> None:
    ward = Ward()
    ward.granted = False
    await ward.live(SICK, 100)
    assert ward.audited == []
    assert ward.attendant.withheld > 50
    ward.granted = True
    await ward.live(SICK, 1)
    assert ward.audited == [(Action.DRAIN, False)]
    assert ward.held, "until the node is back"
    await ward.live(CALM, 30)
    assert not ward.held


async def test_a_moved_share_gives_the_permit_back_at_once() -> None:
    ward = Ward()
    await ward.live(LOADED, 40)
    assert [action for action, _ in ward.audited] == [Action.SHED, Action.MOVE]
    assert not ward.held


async def test_remedies_that_harm_are_rate_limited() -> None:
    ward = Ward(per_hour=1.0)
    for _ in range(20):
        await ward.live(SICK, 40)
        await ward.live(CALM, 40)
    drains = [action for action, _ in ward.audited if action is Action.DRAIN]
    assert len(drains) == int(BURST)
    assert ward.attendant.withheld > 0


async def test_it_looks_every_second() -> None:
    ward = Ward()
    tasks = Tasks(ward.clock)
    ward.symptoms = LOADED
    tasks.supervise("attendant", ward.attendant.run)
    await ward.clock.advance(0)
    await ward.clock.advance(10)
    await tasks.close()
    assert ward.audited == [(Action.SHED, False)]

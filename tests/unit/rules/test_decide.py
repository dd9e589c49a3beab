"""What must hold of every decision, whatever the facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mailrelay import rules
from mailrelay.ids import Digest, MessageId, OrganisationAddressId, OrgId, QueueId, UserId
from mailrelay.model.address import Address
from mailrelay.model.decision import BY_RULE, Disposition, FindingKind, HoldReason
from mailrelay.model.envelope import Channel
from mailrelay.model.message import BlobRef, Direction, Kind, Message, Participant, ParticipantRole
from mailrelay.model.organisation import (
    Exclusion,
    ExclusionKind,
    Organisation,
    OrganisationAddress,
    Role,
    SharedSettings,
    User,
)
from mailrelay.model.record import AddressKind, FilingAddress, RecordRef
from mailrelay.model.settings import OrganisationSettings, SenderCheck, Unknown, UserSettings
from mailrelay.rules.facts import EarlierLink, Facts, Original, RecordHit, RelatedRecord, StandingLink

_NOW = datetime(2026, 11, 2, tzinfo=UTC)
_ANNA = Address("anna", "example.com")
_HOUSE = [Address("ben", "example.com"), Address("carl", "sales.example.com"), Address("bcc-x", "inbound.test")]
_OTHERS = [
    Address(name, domain)
    for name in ("bob", "sue", "no-reply")
    for domain in ("customer.test", "firm.test", "gmail.com")
]
_SHARED = OrganisationAddress(
    id=OrganisationAddressId("A1"),
    org=OrgId("O1"),
    address=Address("support", "example.com"),
    name="Support",
    settings=SharedSettings(),
    created_at=_NOW,
    created_by="U1",
)
_FILING = FilingAddress(
    org=OrgId("O1"), number=7, record=RecordRef("deal", "3"), until=None, created_at=_NOW, created_by="U1"
)
_MODULES = ("contact", "lead", "account", "vendor", "deal")

addresses = st.sampled_from([_ANNA, *_HOUSE, *_OTHERS])
refs = st.builds(RecordRef, st.sampled_from(_MODULES), st.sampled_from(["1", "2", "3"]))
people = st.lists(
    st.builds(
        Participant,
        st.sampled_from([role for role in ParticipantRole if not role.startswith("forwarded")]),
        addresses,
        st.sampled_from(["", "Bob", "x@y.test"]),
    ),
    max_size=6,
    unique_by=lambda one: (one.role, one.address.key),
)
owners = st.sampled_from([None, UserId("U1"), UserId("U2")])
hits = st.lists(
    st.builds(
        RecordHit,
        key=addresses.map(lambda one: one.key),
        record=refs,
        kind=st.sampled_from(AddressKind),
        field=st.just("email"),
        matched=st.booleans(),
        name=st.just("N"),
        owner=owners,
        updated_at=st.just(_NOW),
    ),
    max_size=8,
)
exclusions = st.lists(
    st.one_of(
        st.builds(Exclusion, kind=st.just(ExclusionKind.ADDRESS), value=addresses.map(lambda one: one.key)),
        st.builds(Exclusion, kind=st.just(ExclusionKind.DOMAIN), value=addresses.map(lambda one: one.domain)),
    ),
    max_size=3,
)
originals = st.lists(
    st.builds(
        Original,
        chain=st.integers(0, 2),
        level=st.integers(0, 2),
        people=st.lists(
            st.builds(
                Participant,
                st.sampled_from([ParticipantRole.FORWARDED_FROM, ParticipantRole.FORWARDED_TO]),
                addresses,
                st.just(""),
            ),
            max_size=3,
        ).map(tuple),
    ),
    max_size=3,
)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    message = Message(
        id=MessageId("M1"),
        org=OrgId("O1"),
        direction=Direction.IN,
        queue_id=QueueId("Q1"),
        message_id="x@y",
        digest=Digest("0" * 64),
        raw=BlobRef(digest=Digest("0" * 64), size=1),
        subject="",
        sent_at=None,
        received_at=_NOW,
        participants=tuple(draw(people)),
        parents=(),
        auth=None,
        part=0,
        automatic=draw(st.sampled_from(["", "Precedence: bulk"])),
        attachments=(),
        kind=draw(st.sampled_from([Kind.NORMAL, Kind.NORMAL, Kind.BOUNCE, Kind.FEEDBACK])),
    )
    channels = [Channel.DROPBOX, Channel.DROPBOX, Channel.API, Channel.BOUNCE, Channel.ORGANISATION, Channel.RECORD]
    channel = draw(st.sampled_from(channels))
    organisation = Organisation(
        id=OrgId("O1"),
        name="O",
        time_zone="UTC",
        domains=("example.com",),
        settings=OrganisationSettings(
            sender_check=draw(st.sampled_from(SenderCheck)),
            file_internal=draw(st.booleans()),
            match_account_by_domain=draw(st.booleans()),
        ),
    )
    user = User(
        id=UserId("U1"),
        org=OrgId("O1"),
        name="Anna",
        role=Role.USER,
        active=True,
        primary=_ANNA,
        alternates=(),
        settings=UserSettings(
            modules=tuple(draw(st.permutations(_MODULES[:4]))), unknown=draw(st.sampled_from(Unknown))
        ),
    )
    return Facts(
        message=message,
        channel=channel,
        organisation=organisation,
        user=draw(st.sampled_from([user, user, None])),
        sender=draw(st.sampled_from([_ANNA, None, _OTHERS[0]])),
        auth=None,
        released_by=draw(st.sampled_from(["", "U2"])),
        defects=(),
        originals=tuple(draw(originals)),
        service_domains=frozenset({"inbound.test"}),
        user_keys=frozenset({_ANNA.key}),
        exclusions=tuple(draw(exclusions)),
        hits=tuple(draw(hits)),
        domain_hits=tuple(
            replace(hit, key=hit.key.rpartition("@")[2], record=RecordRef("account", hit.record.id))
            for hit in draw(hits)
        ),
        thread=tuple(
            draw(
                st.lists(st.builds(EarlierLink, record=refs, via=st.just("p"), distance=st.integers(0, 1)), max_size=2)
            )
        ),
        thread_guesses=tuple(
            draw(
                st.lists(
                    st.builds(
                        EarlierLink, record=refs, via=st.just("g"), distance=st.integers(0, 1), guess=st.just(True)
                    ),
                    max_size=2,
                )
            )
        ),
        thread_removed=tuple(
            draw(
                st.lists(
                    st.builds(
                        EarlierLink, record=refs, via=st.just("o"), distance=st.integers(0, 1), removed_by=st.just("U2")
                    ),
                    max_size=2,
                )
            )
        ),
        returned=(),
        untied=channel is Channel.BOUNCE and draw(st.booleans()),
        standing=tuple(
            draw(
                st.lists(
                    st.builds(StandingLink, record=refs, by=st.sampled_from([BY_RULE, "U2"]), removed=st.booleans()),
                    max_size=3,
                )
            )
        ),
        related=tuple(
            draw(
                st.lists(
                    st.builds(
                        RelatedRecord, of=refs, record=refs, role=st.just("r"), name=st.just("N"), open=st.booleans()
                    ),
                    max_size=3,
                )
            )
        ),
        shared=draw(st.sampled_from([_SHARED, None])) if channel is Channel.ORGANISATION else None,
        filing=draw(st.sampled_from([_FILING, replace(_FILING, valid_until=_NOW), None]))
        if channel is Channel.RECORD
        else None,
        filing_record=draw(st.sampled_from([_FILING.record, None])) if channel is Channel.RECORD else None,
        addressed=tuple(draw(st.lists(refs, max_size=2))) if channel is Channel.API else (),
    )


@given(facts())
def test_i21_what_came_to_a_record_is_filed_there_or_waits_for_a_person(given_: Facts) -> None:
    decision = rules.decide(given_)
    valid = given_.filing is not None and given_.filing.holds(_NOW) and given_.filing_record is not None
    if given_.channel is Channel.RECORD and valid:
        assert decision.disposition is Disposition.FILE
        unlinked = any(one.removed and one.by != BY_RULE and one.record == _FILING.record for one in given_.standing)
        assert unlinked or _FILING.record in {link.record for link in decision.links}
    elif given_.channel is Channel.RECORD and not given_.released_by:
        assert decision.disposition is Disposition.HOLD


@given(facts())
def test_i13_what_came_to_postmaster_waits_for_a_person_and_to_a_shared_address_does_not(given_: Facts) -> None:
    held_for = rules.decide(given_).reason
    if given_.channel is Channel.ORGANISATION and given_.shared is None and given_.message.participants:
        assert given_.released_by or held_for == HoldReason.POSTMASTER
    else:
        assert given_.untied or held_for != HoldReason.POSTMASTER


@given(facts())
def test_i07_a_guess_is_made_for_no_contact_who_has_a_sure_deal(given_: Facts) -> None:
    links = {link.record: link for link in rules.decide(given_).links}
    for link in links.values():
        if link.rule == "relate.likely_deal":
            contact = next(one for one in given_.related if str(one.of) == link.evidence[0].value).of
            its = {one.record for one in given_.related if one.of == contact and one.record.module == "deal"}
            assert link.guess
            assert all(links[one].guess for one in its if one in links)


@given(facts())
def test_i07_no_rule_chooses_the_deal_that_a_person_took_the_thread_off(given_: Facts) -> None:
    off = {one.record for one in given_.thread_removed}
    for link in rules.decide(given_).links:
        if link.rule in ("relate.open_deal", "relate.likely_deal"):
            its = {one.record for one in given_.related if str(one.of) == link.evidence[0].value}
            assert link.record not in off
            assert not (link.rule == "relate.likely_deal" and off & {one for one in its if one.module == "deal"})


@given(facts())
def test_a_decision_is_the_same_each_time(given_: Facts) -> None:
    assert rules.decide(given_) == rules.decide(given_)


@given(facts(), st.randoms(use_true_random=False))
def test_the_order_of_participants_changes_no_link_and_no_creation(given_: Facts, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(given_.message.participants)
    random.shuffle(shuffled)
    hits_too = list(given_.hits)
    random.shuffle(hits_too)
    other = replace(given_, message=replace(given_.message, participants=tuple(shuffled)), hits=tuple(hits_too))
    one, two = rules.decide(given_), rules.decide(other)
    assert one.disposition == two.disposition
    assert {link.record for link in one.links} == {link.record for link in two.links}
    assert {each.creation.address.key for each in one.creations} == {
        each.creation.address.key for each in two.creations
    }


@given(facts())
def test_nobody_internal_or_excluded_is_ever_looked_up_or_created(given_: Facts) -> None:
    decision = rules.decide(given_)
    ours = {_ANNA.key, *(address.key for address in _HOUSE)}
    for entry in given_.exclusions:
        ours |= {one.key for one in [_ANNA, *_HOUSE, *_OTHERS] if entry.value in (one.key, one.domain)}
    for finding in decision.findings:
        if finding.rule.startswith(("match.", "create.")) and finding.kind in (FindingKind.LINK, FindingKind.CREATE):
            assert finding.evidence[0].value.lower() not in ours
    assert all(each.creation.address.key not in ours for each in decision.creations)


@given(facts())
def test_what_a_person_took_away_is_never_linked(given_: Facts) -> None:
    removed = {one.record for one in given_.standing if one.removed and one.by != BY_RULE}
    assert removed.isdisjoint(link.record for link in rules.decide(given_).links)


@given(facts())
def test_what_is_held_or_dropped_is_linked_nowhere_and_says_why(given_: Facts) -> None:
    decision = rules.decide(given_)
    if decision.disposition is not Disposition.FILE:
        assert decision.links == decision.creations == ()
        assert decision.reason
        assert decision.explanation
    assert all(link.evidence for link in decision.links)


@given(facts())
def test_every_rule_that_ran_has_said_something(given_: Facts) -> None:
    said = {finding.rule for finding in rules.decide(given_).findings}
    names = [info.name for info in rules.listing()]
    assert said == set(names[: len(said)])


@given(facts())
def test_a_record_is_linked_once_and_an_address_created_once(given_: Facts) -> None:
    decision = rules.decide(given_)
    linked = [link.record for link in decision.links]
    keys = [each.creation.address.key for each in decision.creations]
    assert len(linked) == len(set(linked))
    assert len(keys) == len(set(keys))


@given(facts())
def test_nothing_is_created_of_machines_nor_for_nobody(given_: Facts) -> None:
    decision = rules.decide(given_)
    nobody = given_.user is None and given_.shared is None
    if nobody or given_.message.automatic or given_.came_back:
        assert decision.creations == ()
    assert all(each.creation.address.local != "no-reply" for each in decision.creations)


@given(facts())
def test_what_we_send_and_what_comes_back_is_never_held(given_: Facts) -> None:
    if (given_.channel is Channel.API or given_.came_back) and not given_.untied and given_.message.participants:
        assert rules.decide(given_).disposition is not Disposition.HOLD


@given(facts())
def test_what_came_to_the_address_for_complaints_and_names_no_delivery_waits_for_a_person(given_: Facts) -> None:
    if given_.untied and not given_.released_by:
        assert rules.decide(given_).disposition is Disposition.HOLD


@given(facts())
def test_an_unpermitted_sender_is_held_unless_released(given_: Facts) -> None:
    checked = given_.channel is Channel.DROPBOX and given_.user is not None and not given_.released_by
    token = given_.organisation.settings.sender_check is SenderCheck.TOKEN
    if checked and not token and given_.sender != _ANNA:
        assert rules.decide(given_).disposition is Disposition.HOLD

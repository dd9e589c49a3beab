"""What filing, correcting and running the rules again ask of the store reads no large table from end to end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from mailrelay.filing import correct
from mailrelay.filing.rerun import Rerun
from mailrelay.ids import MessageId
from mailrelay.model.organisation import Exclusion, ExclusionKind
from mailrelay.store import links, messages, organisations, unresolved
from mailrelay.store.messages import Place
from mailrelay.store.visibility import Viewer
from tests.store.explain import AnyStore, watched
from tests.support import factory
from tests.support.filing import BOUNCES, DOMAIN, attach, mail, office


async def test_filing_uses_indexes(store: AnyStore, tmp_path: Path) -> None:
    async with watched(store) as watch, office(tmp_path, store=store) as desk:
        org, now = desk.org.id, desk.clock.now()
        await desk.record("account/1")
        await desk.record("contact/1", "bob@customer.test", links={"account": "account/1"})
        await desk.record("deal/1", links={"contact": "contact/1"})
        filed = await desk.post(mail(message_id="first@mail.test"))
        await desk.post(mail(to="rob@new.test", headers=("In-Reply-To: <first@mail.test>",)))
        await desk.post(attach(mail(from_="c@c.test", to="anna@example.com"), to=desk.dropbox_address()))
        for reason in ("one", "two", "three"):
            await desk.post(mail(from_="eve@stranger.test", subject=reason))
        message = MessageId(filed.message or "")
        first, second, third = await desk.waiting()
        how = {"by": desk.anna.id, "at": now}
        to = [factory.ref("contact/1")]
        await store.write(correct.file_unresolved, org, first.id, to=to, ids=desk.ids, **how)
        await store.write(correct.dismiss, org, second.id, ids=desk.ids, **how)
        await store.write(correct.release, org, third.id, **how)
        await store.write(correct.move, org, message, from_=to[0], to=factory.ref("account/1"), **how)
        await desk.worker.drain()
        await desk.journey(filed)
        await store.read(links.of_record, org, to[0], before=message)
        await store.read(messages.list_messages, org, before=Place(now, message), since=now - timedelta(days=1))
        await store.read(messages.of_address, Viewer(org=org), "bob@customer.test", before=message)
        await store.read(unresolved.list_open, org, user=desk.anna.id, after=first.id)
        await store.read(unresolved.count)
        entry = Exclusion(kind=ExclusionKind.DOMAIN, value="customer.test")
        await store.write(organisations.exclude, org, entry)
        runner = Rerun(store, desk.bodies, desk.clock, desk.ids, service_domains=frozenset((DOMAIN, BOUNCES)))
        assert [one async for one in runner.run(org, since=now - timedelta(days=1), apply=True)]
    watch.check()

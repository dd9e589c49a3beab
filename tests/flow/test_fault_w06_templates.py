"""W06: what users write is text. No word of it is evaluated, in a mail or on a page; `{{unsubscribe}}` alone stands for something."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from mailrelay.outbound.tracked import Door
from mailrelay.tracking.token import Keys
from tests.flow.test_i11_hard_and_soft import by_mx
from tests.support.outbound import relay
from tests.support.remote import remote
from tests.support.unsubscribing import a_list, place

DOOR = Door("https://mail.us.test", Keys.derive(b"secret"))
HOSTILE = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for i in range(10 ** 9) %}x{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{{ lipsum.__globals__['os'].environ }}",
    "{0.__class__} {org.secret} %(secret)s ${HOME} {{ 7 * 7 }} {{ 'x' | attr('upper') }}",
    "{{ unsubscribe.__class__ }} {{unsubscribe|upper}}",
)


@pytest.mark.parametrize("written", HOSTILE)
async def test_fault_w06_mass_mail_goes_as_it_was_written(tmp_path: Path, written: str) -> None:
    async with remote() as sink, relay(tmp_path, letters={"door": DOOR}, **by_mx(sink)) as us:
        await a_list(us.store, us.clock, us.org.id)
        us.start()
        raw = us.mail(
            body=f"{written}\r\nleave: {{{{unsubscribe}}}}\r\n".encode(), header=f"X-Of: {written}\r\n".encode()
        )
        await us.until(await us.submit("bob@b.test", raw=raw, job="spring", list="news"))
        header, _, body = sink.messages[0].content.decode().partition("\r\n\r\n")
        assert f"\r\nX-Of: {written}\r\n" in header
        assert body.startswith(f"{written}\r\nleave: https://mail.us.test/u/")


@pytest.mark.parametrize("written", HOSTILE)
async def test_fault_w06_a_page_shows_what_was_written(tmp_path: Path, written: str) -> None:
    async with place(tmp_path, description=written) as here:
        assert written in html.unescape((await here.ask()).body.decode())

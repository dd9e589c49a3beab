"""The new text of a reply, in the languages and clients people use (I12)."""

from __future__ import annotations

import pytest

from mailrelay.mail.message import parse
from mailrelay.mail.reply_text import new_text, reply
from tests.support.cost import cpu

INTRODUCTIONS = [
    "On Mon, 2 Mar 2026 at 09:15, Ann Example <ann@ours.example> wrote:",
    "On Mon, 2 Mar 2026 at 09:15, Ann Example with a long name\n<ann@ours.example> wrote:",
    "Am Mo., 2. März 2026 um 09:15 Uhr schrieb Ann Example <ann@ours.example>:",
    "Le lun. 2 mars 2026 à 09:15, Ann Example <ann@ours.example> a écrit :",
    "El lun, 2 mar 2026 a las 9:15, Ann Example (<ann@ours.example>) escribió:",
    "Em seg., 2 de mar. de 2026 às 09:15, Ann Example <ann@ours.example> escreveu:",
    "Il giorno lun 2 mar 2026 alle ore 09:15 Ann Example <ann@ours.example> ha scritto:",
    "Op ma 2 mrt 2026 om 09:15 schreef Ann Example <ann@ours.example>:",
    "Ann Example <ann@ours.example> 于2026年3月2日周一 09:15写道：",
    "2026年3月2日(月) 9:15 Ann Example <ann@ours.example>:",
    "Den mån 2 mars 2026 kl 09:15 skrev Ann Example <ann@ours.example>:",
    "-----Original Message-----\nFrom: Ann Example\nSent: Monday\nTo: Bob\nSubject: x",
    "________________________________\nVon: Ann Example <ann@ours.example>\nGesendet: Montag\nAn: Bob\nBetreff: x",
    "De : Ann Example [mailto:ann@ours.example]\nEnvoyé : lundi 2 mars 2026 09:15\nÀ : Bob\nObjet : x",
]


@pytest.mark.parametrize("quoted", ["> What do you think?\n> Ann", "What do you think?\nAnn"])
@pytest.mark.parametrize("introduction", INTRODUCTIONS)
def test_the_quote_below_is_cut_with_its_introduction(introduction, quoted):
    assert new_text(f"Fine with me.\n\nBob\n\n{introduction}\n\n{quoted}\n") == "Fine with me.\n\nBob"


@pytest.mark.parametrize(
    "signature",
    [
        "-- \nBob\nSales",
        "Sent from my iPhone",
        "Von meinem iPhone gesendet",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPhone",
        "Get Outlook for iOS",
        "发自我的 iPhone",
        "_____________\nBob",
    ],
)
def test_signatures_are_cut(signature):
    assert new_text(f"Fine with me.\n\n{signature}\n") == "Fine with me."


def test_answers_between_quotes_keep_their_quotes():
    body = "On 2 March 2026 09:15, Ann wrote:\n> First?\n\nYes.\n\n> Second?\n\nNo.\n\n> Ann\n"
    assert new_text(body) == "> First?\n\nYes.\n\n> Second?\n\nNo."


@pytest.mark.parametrize(
    "body",
    [
        "On Monday I wrote a letter.\nIt was long.",
        "We met on 2 March 2026 and agreed:\n- one\n- two",
        "The notice was sent from my iPhone app to you.",
        "From: here\nit is easy.",
        "He wrote: yes.",
    ],
)
def test_prose_that_looks_alike_stays(body):
    assert new_text(body) == body


@pytest.mark.parametrize(
    "quote",
    [
        '<div class="gmail_quote"><div class="gmail_attr">On Monday Ann wrote:</div><blockquote>old<div>x</div></blockquote></div>',
        '<blockquote type="cite">old</blockquote>',
        "<div id='divRplyFwdMsg'><b>From:</b> Ann<br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> x</div><div>old</div>",
        '<div style="border-top:solid"><p><b>From:</b> Ann<br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> x</p></div>old',
    ],
)
def test_html_replies_lose_their_quotes(quote):
    raw = f"From: b@x.example\r\nContent-Type: text/html\r\n\r\n<div>Fine <b>with</b> me</div>{quote}".encode()
    assert reply(parse(raw)).startswith("Fine with me")
    if "divRply" not in quote:
        assert reply(parse(raw)) == "Fine with me"


@pytest.mark.parametrize(
    "line",
    [
        "> quoted\n",
        "On 2 March 2026\n",
        "-- \n",
        "wrote:\n",
        "a" * 5_000 + "\n",
        "From: a\n",
        "___\n",
        "On wrote wrote " * 30 + "\n",
        "9:15 <a@b>\n",
        "\n",
    ],
)
def test_fault_p07_five_megabytes_cost_linear_time(line):
    body = line * (5_000_000 // len(line))
    _, seconds = cpu(lambda: new_text(body))
    assert seconds < 0.5

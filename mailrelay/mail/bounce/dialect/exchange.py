"""Microsoft Exchange in words: 5.5 and 2000 (`did not reach the following`), 2007 on (`Diagnostic information`, any language)."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage

_OLD_SIGN = "id not reach the following recipient"
_HEADLINE = "Delivery has failed to these recipients"
_SIGNS = (
    _OLD_SIGN,
    "Generating server:",
    "Generierender Server:",
    "Serveur de génération",
    "Servidor de generación",
    "Servidor que generó",
    "Server di generazione",
    "Genererende server",
    "Servidor de geração",
    "生成服务器",
    "生成サーバー",
    _HEADLINE,
)
_OLD = re.compile(
    rf"(?:^[ \t]{{0,12}}['\"]?|\A(?:\(s\))?:[ \t]{{0,8}}){lines.ADDRESS}['\"]?(?= on |[ \t]{{0,8}}$)",
    re.MULTILINE,
)
# The address, then on the next line `#550 5.1.1 RESOLVER…` or `Remote Server returned '550 5.1.1 …'`, whatever the language above.
_NEW = re.compile(
    rf"^[ \t]{{0,8}}{lines.ADDRESS}[ \t]{{0,8}}\n{{1,2}}(?=[ \t]{{0,8}}(?:#|[^\n<]{{0,120}}['<#][45]\d\d))",
    re.MULTILINE,
)
_NAMED = re.compile(rf"^(?!>)[^\n<(]{{0,120}}[<(](?:mailto:)?{lines.ADDRESS}[>)]", re.MULTILINE)
_BARE = re.compile(rf"^[ \t]{{0,8}}{lines.ADDRESS}[ \t]{{0,8}}$", re.MULTILINE)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """The recipients of a report of this kind; None for any other mail."""
    text = lines.said(parsed, *_SIGNS)
    if text is None:
        return None
    _, sign, listed = text.partition(_OLD_SIGN)
    if sign:
        return lines.troubles(listed, _OLD)
    if found := lines.troubles(text, _NEW):
        return found
    # Without the administrators' half: names with addresses under the headline, the reason in prose below.
    _, _, listed = text.partition(_HEADLINE)
    listed, _, _ = listed.partition("Diagnostic information")
    return lines.with_words(lines.troubles(listed, _NAMED) or lines.troubles(listed, _BARE), text)

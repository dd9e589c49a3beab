"""What a browser makes of HTML, as a list to compare: by lexbor, which shares no code with what it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from selectolax.lexbor import LexborHTMLParser, LexborNode

Node = tuple[int, str, tuple[tuple[str, str | None], ...], str]
"""Depth, name, attributes, text."""

_FORMATTING = frozenset("a b big code em font i nobr s small strike strong tt u".split())  # noqa: SIM905


def tree(
    html: bytes,
    *,
    codec: str = "utf-8",
    without: Callable[[LexborNode], bool] = lambda node: False,
    href: Callable[[str], str] = lambda value: value,
) -> list[Node]:
    """The nodes of a document in order, texts that touch made one; `without` leaves nodes out, `href` changes links' targets."""
    root = LexborHTMLParser(html.decode(codec, "replace")).root
    found: list[Node] = []
    waiting: list[tuple[LexborNode, int]] = [(root, 0)] if root is not None else []
    while waiting:
        node, depth = waiting.pop()
        if without(node):
            continue
        if node.tag in ("-text", "-comment"):
            text = (node.html if node.tag == "-comment" else node.text_content) or ""
            if found and node.tag == "-text" and found[-1][:2] == (depth, "-text"):
                text = found.pop()[3] + text
            found.append((depth, str(node.tag), (), text))
            continue
        found.append((depth, str(node.tag), _attributes(node.attributes, str(node.tag), href), ""))
        children = []
        child = node.child
        while child is not None:
            children.append((child, depth + 1))
            child = child.next
        waiting.extend(reversed(children))
    return _that_shows(found)


def _that_shows(nodes: list[Node]) -> list[Node]:
    """Without white space around texts, which at the end of a document stands in its body if there is one, and without formatting of
    nothing: what was never closed is opened again for whatever comes (WHATWG HTML §13.2.4.3).
    """
    kept: list[Node] = []
    for node in reversed(nodes):
        empty = not kept or kept[-1][0] <= node[0]
        if (node[1] == "-text" and not node[3].strip(" \t\n\f\r")) or (node[1] in _FORMATTING and empty):
            continue
        kept.append((*node[:3], node[3].strip(" \t\n\f\r")))
    return kept[::-1]


def _attributes(
    attributes: Mapping[str, str | None], name: str, href: Callable[[str], str]
) -> tuple[tuple[str, str | None], ...]:
    return tuple(
        (key, href(value) if key == "href" and name in ("a", "area") and value is not None else value)
        for key, value in attributes.items()
    )


def hrefs(html: bytes, *, codec: str = "utf-8") -> list[str]:
    """What the links of a document say, in its order."""
    return [
        value for _, name, attributes, _ in tree(html, codec=codec) for key, value in attributes
        if key == "href" and name in ("a", "area") and value is not None
    ]  # fmt: skip

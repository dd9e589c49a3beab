"""What the world's mail systems write when they refuse, by what it means: data for `category`, in the order in which it decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailrelay.mail.bounce.phrases import domain, message, recipient, sender, system, vague
from mailrelay.mail.bounce.phrases.classes import CLASSES
from mailrelay.mail.bounce.wording import Book, Pattern
from mailrelay.model.feedback import Category, Fault


@dataclass(frozen=True, slots=True)
class Group:
    """Patterns of one meaning (`wording`); `cjk` are looked for as they are, in texts that do not part words."""

    category: Category
    fault: Fault
    patterns: str
    cjk: str = ""
    certain: bool = True
    """Whether such words alone kill an address, when the category is one of a dead one."""


class Groups:
    """Groups in the order in which they decide. Their patterns are read at once, or the first mail would wait for it."""

    def __init__(self, *groups: Group) -> None:
        self.groups = groups
        self._cjk = tuple((line, group) for group in groups for line in group.cjk.split())
        self._book = Book(CLASSES)
        for rank, group in enumerate(groups):
            self._book.add(rank, group.patterns)

    def find(self, words: Sequence[str], text: str) -> Group | None:
        """The first group that has a pattern for a text, given also as plain words; None when none has."""
        rank = self._book.find(words)
        if rank is not None:
            return self.groups[rank]
        if text.isascii():
            return None
        return next((group for line, group in self._cjk if line in text), None)

    def patterns(self) -> Iterator[Pattern]:
        """Every pattern, for tests to look at."""
        return self._book.patterns()


SURE = Groups(
    # Who sends is not who receives: "sender … user unknown" and "too many unknown users" stand before what they contain.
    Group(Category.POLICY, Fault.SENDER, sender.BANNED),
    Group(Category.FILTERED, Fault.RECIPIENT, recipient.FILTERED_FIRST),
    Group(Category.POLICY, Fault.NEITHER, system.NOT_A_MEMBER),
    Group(Category.POLICY, Fault.SENDER, sender.UNVERIFIED),
    Group(Category.RATE_LIMITED, Fault.SENDER, sender.HARVESTING),
    Group(Category.RATE_LIMITED, Fault.NEITHER, sender.GREYLISTED),
    Group(Category.RATE_LIMITED, Fault.NEITHER, sender.RECIPIENT_BUSY),
    Group(Category.POLICY, Fault.SENDER, sender.COMPLAINED),
    Group(Category.RATE_LIMITED, Fault.SENDER, sender.OWN_LIMIT),
    Group(Category.TIMEOUT, Fault.NEITHER, system.RETRYABLE),
    Group(Category.CONTENT, Fault.NEITHER, message.BAD_LINK),
    # What does not kill an address stands before what does: a wrong "dead" loses a customer.
    Group(Category.POLICY, Fault.NEITHER, system.RELAY),
    Group(Category.MAILBOX_FULL, Fault.RECIPIENT, recipient.FULL, recipient.FULL_IN_CJK),
    Group(Category.TOO_LARGE, Fault.NEITHER, message.TOO_LARGE, message.TOO_LARGE_IN_CJK),
    Group(Category.INACTIVE, Fault.RECIPIENT, recipient.INACTIVE, recipient.INACTIVE_IN_CJK),
    Group(Category.SYSTEM, Fault.NEITHER, system.DELIVERY_AGENT),
    Group(Category.HOST_UNKNOWN, Fault.RECIPIENT, domain.NOT_THERE),
    Group(Category.USER_UNKNOWN, Fault.RECIPIENT, recipient.UNKNOWN, recipient.UNKNOWN_IN_CJK),
    Group(Category.FILTERED, Fault.RECIPIENT, recipient.FILTERED, recipient.FILTERED_IN_CJK),
    Group(Category.POLICY, Fault.SENDER, sender.UNAUTHENTICATED),
    Group(Category.POLICY, Fault.SENDER, sender.NAMELESS),
    Group(Category.POLICY, Fault.SENDER, sender.LISTED),
    Group(Category.POLICY, Fault.SENDER, sender.UNENCRYPTED),
    Group(Category.POLICY, Fault.NEITHER, message.ATTACHMENT),
    Group(Category.POLICY, Fault.NEITHER, message.NOT_COMPLIANT),
    Group(Category.CONTENT, Fault.NEITHER, message.CONTENT, message.CONTENT_IN_CJK),
    Group(Category.RATE_LIMITED, Fault.SENDER, sender.SLOWED),
    Group(Category.POLICY, Fault.NEITHER, system.LOGIN),
    Group(Category.NO_MAIL_HOST, Fault.RECIPIENT, domain.NO_MAIL),
    Group(Category.HOST_UNKNOWN, Fault.RECIPIENT, domain.OUT_OF_REACH, certain=False),
    Group(Category.HOST_UNKNOWN, Fault.RECIPIENT, domain.UNKNOWN, domain.UNKNOWN_IN_CJK),
    Group(Category.TIMEOUT, Fault.NEITHER, system.TOO_LATE, system.TOO_LATE_IN_CJK),
    Group(Category.SYSTEM, Fault.NEITHER, system.OUT_OF_ORDER),
    Group(Category.POLICY, Fault.NEITHER, system.HOUSE_RULES),
)
VAGUE = Groups(
    Group(Category.USER_UNKNOWN, Fault.RECIPIENT, vague.UNKNOWN, "不存在", certain=False),
    Group(Category.POLICY, Fault.SENDER, vague.SENDER),
    Group(Category.USER_UNKNOWN, Fault.RECIPIENT, vague.RECIPIENT, certain=False),
    Group(Category.INACTIVE, Fault.RECIPIENT, vague.INACTIVE),
    Group(Category.POLICY, Fault.NEITHER, vague.REFUSED),
    Group(Category.TIMEOUT, Fault.NEITHER, vague.LATER),
)

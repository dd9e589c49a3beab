"""From when until when somebody is away, by what stands next to the days in a sentence (I25)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from mailrelay.mail.away import days
from mailrelay.mail.away.days import Day
from mailrelay.mail.away.language import LANGUAGES
from mailrelay.mail.away.words import Patterns, Words

_REACH = 70
"""How far from a day the words may stand that say what it is."""
_BRIDGE = 14
"""How far apart the two days of a range may be, the word between them left out."""
_FLUENCY_CHARS = 1_500
_ONE = timedelta(days=1)

_PARTICLES = re.compile(r"[にはよりから才起\s]{0,4}\Z")
"""What may stand between a day and the word for a return in languages that put the verb last."""
_NEAR = re.compile(r"[^\d,;(]{0,28}\Z")
_DAY_BEFORE = re.compile(r"(?<![\d.,:/])(\d{1,2})(?:st|nd|rd|th|er|º|°|\.|日|号)?\s{0,2}\Z")
_DAY_AFTER = re.compile(r"\s{0,2}(\d{1,2})(?:st|nd|rd|th|日|号)?(?![\d:/]|\.\d|\s?[%€$])")


@dataclass(frozen=True, slots=True)
class Absence:
    """One way to understand one sentence."""

    rank: int
    """0 for a day of return, 1 for a last day away, 2 for an `until`, which may be either."""
    until: date
    """The first day back."""
    since: date | None = None


def find(sentences: Sequence[str], received: date) -> Absence | None:
    """What is said best: a day of return before a range before an `until`; then in the language that says most; then the first.

    None when no day of return is said that lies after `received` and within a year.
    """
    found = [
        (absence, words)
        for sentence in sentences
        for words in LANGUAGES
        for absence in _said(sentence, words, received)
        if received < absence.until <= received + days.MAX_AHEAD
    ]
    if not found:
        return None
    best = min(absence.rank for absence, _ in found)
    equals = [(absence, words) for absence, words in found if absence.rank == best]
    said = equals[0][0]
    if any(absence != said for absence, _ in equals):
        text = "\n".join(sentences)[:_FLUENCY_CHARS]
        fluency = {words: _fluency(text, words.patterns) for words in {words for _, words in equals}}
        said = max(equals, key=lambda one: fluency[one[1]])[0]
    # "Away from 20 to 28 November, back on the 30th": the range has the first day.
    ranges = (absence.since for absence, _ in found if absence.since and absence.until <= said.until)
    return replace(said, since=said.since or next(ranges, None))


def _fluency(text: str, said: Patterns) -> int:
    """How many words of a language are in a text: `out of office` is said in all of them."""
    return sum(
        len(each.findall(text)) for each in (said.away, said.back, said.contact, said.since, said.to, said.titles)
    )


def _said(sentence: str, words: Words, received: date) -> Iterator[Absence]:
    """Every absence that a sentence states in one language."""
    said = words.patterns
    away = said.away.search(sentence) is not None
    if not away and not said.back.search(sentence):
        return
    found = days.find(sentence, words)
    ends: Day | None = None
    begins: Day | None = None
    for at, day in enumerate(found):
        following = found[at + 1] if at + 1 < len(found) else None
        if day is ends:
            continue
        if (span := _range(sentence, day, following, words)) is not None:
            start, ends = span
            last = days.resolve(ends, first=received, today=received)
            # From Monday to Friday an office is open, or closed, every week.
            weekly = start.weekday is not None and ends.weekday is not None
            if away and last is not None and not weekly:
                yield Absence(1, last + _ONE, days.before(start, last))
        elif absence := _single(sentence, day, following, words, received, away=away):
            # "From 1 December, back on the 5th": the first day away is no end of a range.
            yield replace(absence, since=days.before(begins, absence.until)) if begins else absence
        elif away and _begins(sentence[max(0, day.start - _REACH) : day.start], sentence[day.end :], said):
            begins = day


def _range(sentence: str, day: Day, following: Day | None, words: Words) -> tuple[Day, Day] | None:
    """The first and the last day, when `day` is one of them and the other stands beside it."""
    said = words.patterns
    before = sentence[max(0, day.start - _REACH) : day.start]
    if following is not None and not (_last(said.through, before) or _last(said.until, before)):
        between = sentence[day.end : following.start]
        bridge = said.to.search(between)
        rest = between[: bridge.start()] + between[bridge.end() :] if bridge else between
        if bridge and len(rest) <= _BRIDGE and not any(char.isdigit() or char in ".;!?" for char in rest):
            other = said.since.search(between, bridge.end()) or _comes_back(between, sentence[following.end :], words)
            return None if other else (day, following)
    return _with_number_after(sentence, day, said) or _with_number_before(sentence, day, words) if day.month else None


def _comes_back(between: str, after: str, words: Words) -> bool:
    """Whether the second of two days is the first day back: `from the 1st and back on the 5th`, `1日から休暇、5日に戻ります`."""
    return words.patterns.back.search(between) is not None or _verb_last(after, words)


def _verb_last(after: str, words: Words) -> bool:
    """Whether what follows a day is the word for a return, in a language that has it there."""
    cue = None if words.spaced else words.patterns.back.search(after[:12])
    return cue is not None and _PARTICLES.match(after[: cue.start()]) is not None


def _begins(before: str, after: str, said: Patterns) -> bool:
    """Whether the words around a day say that somebody is away from that day on."""
    if said.contact.search(before):
        return False
    stands = any(not before[cue.end() :].strip() for cue in said.begins.finditer(before))
    return stands or said.begins_after.match(after) is not None


def _with_number_after(sentence: str, day: Day, said: Patterns) -> tuple[Day, Day] | None:
    """`November 20 to 28`."""
    bridge = said.to.search(sentence, day.end, day.end + 8)
    if bridge is None or sentence[day.end : bridge.start()].strip(" ,日"):
        return None
    number = _DAY_AFTER.match(sentence, bridge.end())
    if number is None or not 1 <= int(number[1]) <= 31:
        return None
    return day, days.of_month(day, int(number[1]), start=number.start(), end=number.end())


def _with_number_before(sentence: str, day: Day, words: Words) -> tuple[Day, Day] | None:
    """`20 to 28 November`."""
    before = sentence[max(0, day.start - _REACH) : day.start]
    for bridge in words.patterns.to.finditer(before):
        number = _DAY_BEFORE.search(before[: bridge.start()])
        rest = before[bridge.end() :]
        if number and _comes_back(bridge[0] + rest, sentence[day.end :], words):
            return None
        if number and 1 <= int(number[1]) <= 31 and len(rest) <= _BRIDGE and not any(char.isdigit() for char in rest):
            return days.of_month(day, int(number[1]), start=day.start, end=day.start), day
    return None


def _single(
    sentence: str, day: Day, following: Day | None, words: Words, received: date, *, away: bool
) -> Absence | None:
    """What a day that is no end of a range means by the words before and after it, or None."""
    said = words.patterns
    before, after = sentence[max(0, day.start - _REACH) : day.start], sentence[day.end : day.end + _REACH]
    through, until = _last(said.through, before), _last(said.until, before)
    through_after, until_after = _starts(said.through_after, after), _starts(said.until_after, after)
    if (through or until or through_after or until_after) and not _verb_last(after, words):
        if not away:
            return None
        inclusive = through_after or (through is not None and (until is None or until.start() <= through.start()))
        last = days.resolve(day, first=received if inclusive else received + _ONE, today=received)
        if last is None:
            return None
        return Absence(1 if inclusive else 2, last + _ONE if inclusive or day.last_of_month else last)
    # Words between two days belong to the second, but where the verb comes last.
    alone = not words.spaced or following is None or following.start >= day.end + _REACH
    if not (_returns_on(before, said) or (alone and _on_it_returns(after, said))):
        return None
    later = day.last_of_month or any(match.end() == len(before.rstrip()) for match in said.after.finditer(before))
    back = days.resolve(day, first=received if later else received + _ONE, today=received)
    return None if back is None else Absence(0, back + _ONE if later else back)


def _returns_on(before: str, said: Patterns) -> bool:
    """Whether the words before a day say that it is the day of return; no other day and no other person may be between."""
    cues = list(said.back.finditer(before))
    return bool(cues) and not _parted(before[cues[-1].end() :], said)


def _on_it_returns(after: str, said: Patterns) -> bool:
    """Whether the words after a day say so: `on the 24th I am back`."""
    cue = said.back.search(after)
    if cue is None:
        return False
    between = after[: cue.start()]
    return not _parted(between, said) and not said.away.search(between)


def _parted(text: str, said: Patterns) -> bool:
    return any(char.isdigit() for char in text) or said.contact.search(text) is not None


def _last(pattern: re.Pattern[str], before: str) -> re.Match[str] | None:
    """The last match that stands next to what follows `before`: a few words between, but no number and no comma."""
    near = None
    for match in pattern.finditer(before):
        if _NEAR.match(before, match.end()):
            near = match
    return near


def _starts(pattern: re.Pattern[str], after: str) -> bool:
    """Whether `after` begins with a match, but for blanks, a weekday in brackets and the like."""
    match = pattern.search(after[:24])
    return match is not None and not after[: match.start()].strip(" ,.()月火水木金土日周一二三四五六年")

"""Who answered: a person or a machine. Automatic mail makes no records (I6) and is never answered (RFC 3834 §2).

By header fields and structure alone; what a bounce says about whom is another file's work (I10).
"""

from __future__ import annotations

import re

from mailrelay.mail.message import ParsedMessage
from mailrelay.mail.structure import Part
from mailrelay.model.message import Kind

# RFC 2142, RFC 3834 §2, RFC 5321 §4.5.5 and what services write; the whole local part, or ended by a separator or digits.
_MACHINE = re.compile(
    r"(?:(?:mailer[-_.]?|mail[-_.]?|m)daemon|post[-_.]?master|system[-_. ]?administrator|ndr"
    r"|(?:do[-_.]?)?not?[-_.]?reply|no[-_.]?response|do[-_.]?not[-_.]?respond|noreply"
    r"|bounces?|auto[-_.]?(?:reply|responder|mailer|notify|confirm)|notifications?|mail[-_.]?delivery(?:[-_.]?(?:subsystem|system))?"
    r"|mailerdaemon|nobody|donotreply)(?:[-_+.=].*|\d*)",
    re.IGNORECASE,
)
_NO_REPLY = re.compile(r"(?:do[-_. ]?)?not?[-_. ]?reply|notifications?", re.IGNORECASE)
_LIST_LOCAL = re.compile(r"(?:owner-.+|.+-(?:request|bounces?|owner|errors|confirm))(?:[+=].*)?", re.IGNORECASE)
_LIST_FIELDS = ("List-Id", "List-Unsubscribe", "List-Post", "List-Help", "List-Subscribe", "List-Owner", "Mailing-List")
_AUTO_FIELDS = (
    "X-Autoreply",
    "X-Autorespond",
    "X-Autoresponder",
    "X-Auto-Reply-From",
    "X-Mail-Autoreply",
    "X-AutoReply-From",
    "X-Vacation",
    "X-MS-Exchange-Inbox-Rules-Loop",
)
_BULK = frozenset(("bulk", "junk", "list", "auto_reply", "auto-reply"))
# As Exchange, Outlook, Gmail, Zimbra, Notes and the usual vacation programs begin a subject, by language.
_REPLY_SUBJECT = re.compile(
    r"(?:automatic reply|auto(?:mated|matic)?[- ]?(?:reply|response|responder)|out[- ]of[- ](?:the )?office|auto:|vacation(?: reply|:|\Z)"
    r"|(?:i am )?(?:on (?:vacation|holiday|leave)|away from (?:the|my) (?:office|mail|desk))|autoreply|ooo:"
    r"|automatische antwort|auto-?antwort|abwesenheit(?:snotiz|sbenachrichtigung|sassistent|smeldung)?|nicht im büro"
    r"|réponse automatique|absence du bureau|absente? du bureau|message d['’]absence|notification d['’]absence"
    r"|respuesta autom[aá]tica|fuera de (?:la )?oficina|ausente de la oficina|resposta autom[aá]tica|fora do escritório"
    r"|risposta automatica|fuori (?:sede|ufficio)|automatisch antwoord|afwezigheids(?:bericht|melding)|niet op kantoor"
    r"|autosvar|automatiskt? svar|automaattinen vastaus|autom(?:atyczna odpowiedź|atická odpověď)|poza biurem"
    r"|(?:frånvaro|fravær|poissa|afwezig|nieobecność|abwesend)\s{0,4}(?:[:–-]|\Z)"
    r"|automatikus válasz|házon kívül|otomatik yanıt|αυτόματη απάντηση|автоматический ответ|автоответ|вне офиса"
    r"|自動応答|自動返信|不在通知|自动回复|自動回覆|自动答复|不在办公室|자동 ?(?:회신|응답)|부재중)",
    re.IGNORECASE,
)
# In a subject of a machine's mail, by language; a person may write any of it.
_BOUNCE_SUBJECT = re.compile(
    r"(?:undeliver(?:able|ed)|deliver(?:y|ing)?[ a-z]{0,20}(?:fail|problem|error|report|unsuccessful|impossible)"
    r"|return(?:ed|ing)? (?:mail|message|to sender|e-?mail)|returned by|bounced? (?:mail|message)|ndn:|ndr:"
    r"|failure notice|fail(?:ed|ure) (?:mail|delivery|to deliver)|mail (?:delivery )?(?:fail|error|system error)|delivery (?:status|has failed)"
    r"|(?:message|mail|email)[a-z ]{0,20}(?:not|could not be|undeliver|failed|bounced|rejected|blocked)"
    r"|non[- ]?(?:remis|deliver|recapitat)|(?:permanent|transient|temporary) (?:delivery )?(?:failure|error)|user unknown|mailbox (?:is )?full"
    r"|unzustellbar|nicht zustellbar|zustell(?:ung|fehler|problem)|fehlgeschlagen|rückläufer|zurückgesandt"
    r"|non remis|non distribu|échec (?:de|d['’])|echec (?:de|d['’])|retour (?:à l['’]|de )|notification (?:d['’]état|de remise)"
    r"|no (?:se )?(?:pudo|entreg)|devuelto|error de (?:env[ií]o|entrega)|entrega fallida|fallo (?:de|en)|notificación de (?:estado|entrega)"
    r"|não (?:entregue|foi)|falha (?:na|de)|devolvid|mancat[ao] (?:recapito|consegna)|messaggio non|impossibile recapitare"
    r"|onbestelbaar|niet bezorgd|bezorging mislukt|niedostarcz|nie dostarcz|zwrot|nedoručitel|kézbesíthetetlen|kézbesítési|iletilemedi"
    r"|oleveransbar|kunne ikke leveres|gick inte att leverera|toimitusvirhe|не доставлен|недоставлен|не удалось доставить|ошибка доставки"
    r"|配信|配達|不達|送信(?:できません|エラー)|宛先不明|投递失败|退信|退回|未送达|无法(?:投递|送达|传递)|無法(?:傳遞|投遞|送達)"
    r"|전송 실패|배달 (?:실패|불가)|반송)",
    re.IGNORECASE,
)
# The whole beginning of a subject that mail systems write and people only quote, after Re: or Fwd:.
_BOUNCE_START = re.compile(
    r"(?:mail delivery (?:failed|failure|system error)|(?:permanent|temporary) delivery (?:failure|error|problem)|undelivered mail"
    r"|undeliverable:|delivery (?:status notification|failure)|returned mail|failure notice\Z|nondeliverable mail|mail system error"
    r"|message (?:undeliverable|delivery failure))",
    re.IGNORECASE,
)
# Some repeat the subject of the mail that came back, and say at its end what became of it.
_BOUNCE_END = re.compile(
    r"\((?:delivery failed|delivery failure|undeliverable|undelivered|not delivered|returned)\)\Z", re.IGNORECASE
)
_DELAY = re.compile(
    r"delay(?:ed)?|warning: |(?:still|not yet) (?:be(?:en)? )?deliver|could not send (?:message )?for past|retrying"
    r"|verzöger|verspätet|retard|ritard|atras|vertraag|opóźni|försen|forsink|задерж|отложен|遅延|延迟|延遲|지연",
    re.IGNORECASE,
)
_CHALLENGE = re.compile(
    r"(?:please )?(?:confirm|verify)[a-z ]{0,30}(?:your )?(?:message|e-?mail|delivery|sender)|(?:message|sender) (?:verification|confirmation)"
    r"|challenge|spam ?arrest|requires? (?:confirmation|verification)|boxbe|waiting for (?:your )?approval",
    re.IGNORECASE,
)
_DAEMON = re.compile(r"mailer[-_.]?daemon", re.IGNORECASE)


def reason(parsed: ParsedMessage, *, envelope_from_null: bool) -> str:
    """Why a mail is taken for automatic, `Auto-Submitted: auto-replied` say, or "" when a person wrote it (I6).

    `envelope_from_null`: whether MAIL FROM was `<>`, which only machines send (RFC 5321 §4.5.5).
    """
    return _by_structure(parsed) or _by_fields(parsed) or _by_sender(parsed, envelope_from_null=envelope_from_null)


def may_reply(parsed: ParsedMessage, *, envelope_from_null: bool = False) -> bool:
    """Whether an automatic answer may be sent: never to machines, lists or nobody (RFC 3834 §2)."""
    addresses = parsed.addresses("Reply-To").addresses or parsed.addresses("From").addresses
    return bool(addresses) and kind(parsed) is Kind.NORMAL and not reason(parsed, envelope_from_null=envelope_from_null)


def is_machine(local: str) -> bool:
    """Whether a local part is one that only machines and lists use (`no-reply`, `owner-…`): it never becomes a record (I6)."""
    return bool(_MACHINE.fullmatch(local) or _LIST_LOCAL.fullmatch(local))


def kind(parsed: ParsedMessage) -> Kind:
    """What the mail is, by its structure, then its fields, then its sender and subject together."""
    report = report_type(parsed)
    if report == "delivery-status":
        return _delivery_kind(parsed)
    if report == "feedback-report":
        return Kind.FEEDBACK
    if report == "disposition-notification":
        return Kind.AUTO_REPLY
    subject = parsed.subject
    if _is_returned(parsed):
        return Kind.DELAY if _DELAY.search(subject) else Kind.BOUNCE
    if _CHALLENGE.search(subject) and _by_fields(parsed):
        return Kind.CHALLENGE
    submitted = _auto_submitted(parsed)
    if submitted.startswith("auto-replied") or _is_auto_reply(parsed):
        return Kind.AUTO_REPLY
    # RFC 3834 §3.1.5: a response names what it answers, whatever its sender calls it.
    if submitted and "In-Reply-To" in parsed.headers and not (_is_list(parsed) or _machine_sender(parsed)):
        return Kind.AUTO_REPLY
    if _is_list(parsed):
        return Kind.LIST
    by_machine = submitted or _null_return_path(parsed) or (_machine_sender(parsed) and not _gateway(parsed))
    return Kind.AUTO_GENERATED if by_machine else Kind.NORMAL


def _is_list(parsed: ParsedMessage) -> bool:
    return any(name in parsed.headers for name in _LIST_FIELDS) or _precedence(parsed) in ("list", "bulk", "junk")


def _gateway(parsed: ParsedMessage) -> bool:
    """Whether a person's words came by a forum or tracker: his name before its `noreply@`. Nobody can answer it all the same."""
    first = parsed.addresses("From").mailboxes[:1]
    if not first or first[0].address is None or not _NO_REPLY.match(first[0].address.local):
        return False
    name, domain = first[0].name.lower(), first[0].address.domain.lower()
    words = [word for word in re.split(r"[\s,]+", name) if word]
    # A shop's name is in its domain.
    return len(words) > 1 and not any(word in domain for word in words if len(word) > 2) and not _NO_REPLY.search(name)


def _is_returned(parsed: ParsedMessage) -> bool:
    """Whether a mail that is no DSN is a bounce all the same: by its sender, or by its subject from a machine."""
    if "X-Failed-Recipients" in parsed.headers or any(_DAEMON.fullmatch(local) for local in _locals(parsed, "From")):
        return True
    if _starts_as_bounce(parsed):
        return True
    # A shop's `noreply@` writes of deliveries too.
    senders = [local for name in ("From", "Sender") for local in _locals(parsed, name)]
    daemon = any(_MACHINE.fullmatch(local) and not _NO_REPLY.match(local) for local in senders)
    nobody = (parsed.headers.get("From") or "").rstrip().endswith("<>")
    by_system = daemon or nobody or bool(_null_return_path(parsed))
    return by_system and _BOUNCE_SUBJECT.search(parsed.subject) is not None


def report_type(parsed: ParsedMessage) -> str:
    """`delivery-status`, `feedback-report` or `disposition-notification` when the mail is such a report, else "" (RFC 6522)."""
    if parsed.root.type == "multipart/report":
        declared = parsed.root.parameters.get("report-type", "").lower()
        if declared in ("delivery-status", "feedback-report", "disposition-notification"):
            return declared
    for part in parsed.parts:
        if part.type in ("message/delivery-status", "message/global-delivery-status"):
            return "delivery-status"
        if part.type in ("message/feedback-report", "message/disposition-notification"):
            return part.type.partition("/")[2]
    return ""


def _delivery_kind(parsed: ParsedMessage) -> Kind:
    """By the worst Action of a DSN (RFC 3464 §2.3.3): failed, then delayed, then delivered, relayed, expanded."""
    actions = {action for part in parsed.parts if "delivery-status" in part.type for action in _actions(part)}
    if "failed" in actions or not actions:
        return Kind.DELAY if not actions and _DELAY.search(parsed.subject) else Kind.BOUNCE
    return Kind.DELAY if "delayed" in actions else Kind.DELIVERED


def _actions(part: Part) -> list[str]:
    found = re.findall(r"^action[ \t]*:[ \t]*([a-z]+)", part.beginning(200_000), re.IGNORECASE | re.MULTILINE)
    return [action.lower() for action in found]


def _auto_submitted(parsed: ParsedMessage) -> str:
    """The Auto-Submitted keyword unless it is `no` (RFC 3834 §5)."""
    value = (parsed.headers.get("Auto-Submitted") or "").split(";")[0].split("(")[0].strip().lower()
    return "" if value == "no" else value


def _precedence(parsed: ParsedMessage) -> str:
    value = (parsed.headers.get("Precedence") or parsed.headers.get("X-Precedence") or "").strip().lower()
    return value if value in _BULK else ""


def _is_auto_reply(parsed: ParsedMessage) -> bool:
    headers = parsed.headers
    if "vacation" in (headers.get("X-Apple-Action") or headers.get("X-Mailer") or "").lower():
        return True
    if any(name in headers for name in _AUTO_FIELDS) or _precedence(parsed) in ("auto_reply", "auto-reply"):
        return (headers.get("X-Autoreply") or "").strip().lower() != "no"
    # Only where it starts the subject, or a person who writes about an out-of-office reply would be taken for one.
    return _REPLY_SUBJECT.match(parsed.subject.removeprefix("[").strip()) is not None


def _by_structure(parsed: ParsedMessage) -> str:
    if report := report_type(parsed):
        return f"multipart/report of {report}"
    return "the subject is that of a bounce" if _starts_as_bounce(parsed) else ""


def _starts_as_bounce(parsed: ParsedMessage) -> bool:
    """Whether the subject is a mail system's; a question about one is a person's."""
    return not parsed.subject.endswith("?") and (
        _BOUNCE_START.match(parsed.subject) is not None or ends_as_bounce(parsed.subject)
    )


def ends_as_bounce(subject: str) -> bool:
    """Whether a subject is that of a mail with, at its end, what became of it: `Re: An offer (delivery failed)`."""
    return _BOUNCE_END.search(subject[-200:]) is not None


def _by_fields(parsed: ParsedMessage) -> str:
    headers = parsed.headers
    if submitted := _auto_submitted(parsed):
        return f"Auto-Submitted: {submitted[:60]}"
    if precedence := _precedence(parsed):
        return f"Precedence: {precedence}"
    for name in (*_LIST_FIELDS, *_AUTO_FIELDS, "X-Failed-Recipients", "Feedback-ID"):
        if name in headers and (headers.get(name) or "").strip().lower() != "no":
            return f"{name} is set"
    suppress = (headers.get("X-Auto-Response-Suppress") or "").lower()
    # "OOF, AutoReply" or "All": set by Exchange on machine mail; "RN, NRN" concerns read receipts only.
    if any(word.strip() in ("all", "oof", "autoreply", "dr") for word in suppress.split(",")):
        return f"X-Auto-Response-Suppress: {suppress[:60]}"
    if _is_auto_reply(parsed):
        return "the subject is that of an automatic reply"
    return ""


def _by_sender(parsed: ParsedMessage, *, envelope_from_null: bool) -> str:
    if envelope_from_null:
        return "the reverse-path is null"
    return _null_return_path(parsed) or _machine_sender(parsed)


def _null_return_path(parsed: ParsedMessage) -> str:
    return "Return-Path is null" if (parsed.headers.get("Return-Path") or "").replace(" ", "") == "<>" else ""


def _machine_sender(parsed: ParsedMessage) -> str:
    for name in ("From", "Sender", "Reply-To"):
        for local in _locals(parsed, name):
            if _MACHINE.fullmatch(local) or (name != "Reply-To" and _LIST_LOCAL.fullmatch(local)):
                return f"{name} is {local[:60]}@"
    return ""


def _locals(parsed: ParsedMessage, name: str) -> list[str]:
    """The local parts of a field's addresses; daemons often write one without a domain, or `MAILER-DAEMON <>`."""
    found = []
    for entry in parsed.addresses(name).mailboxes:
        if entry.address is not None:
            found.append(entry.address.local)
        else:
            bare = entry.source.rpartition("<")[2].strip("<> ") or entry.name
            found.append(bare.partition("@")[0])
    return found

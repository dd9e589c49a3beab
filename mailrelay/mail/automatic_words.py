"""The names, fields and subjects by which machines give themselves away, by language: data for `automatic` (I10, RFC 3834)."""

from __future__ import annotations

import re

# RFC 2142, RFC 3834 §2, RFC 5321 §4.5.5 and what services write; the whole local part, or ended by a separator or digits.
MACHINE = re.compile(
    r"(?:(?:mailer[-_.]?|mail[-_.]?|m)daemon|post[-_.]?master|system[-_. ]?administrator|ndr"
    r"|(?:do[-_.]?)?not?[-_.]?reply|no[-_.]?response|do[-_.]?not[-_.]?respond|noreply"
    r"|bounces?|auto[-_.]?(?:reply|responder|mailer|notify|confirm)|notifications?|mail[-_.]?delivery(?:[-_.]?(?:subsystem|system))?"
    r"|mailerdaemon|nobody|donotreply)(?:[-_+.=].*|\d*)",
    re.IGNORECASE,
)
NO_REPLY = re.compile(r"(?:do[-_. ]?)?not?[-_. ]?reply|notifications?", re.IGNORECASE)
LIST_LOCAL = re.compile(r"(?:owner-.+|.+-(?:request|bounces?|owner|errors|confirm))(?:[+=].*)?", re.IGNORECASE)
LIST_FIELDS = ("List-Id", "List-Unsubscribe", "List-Post", "List-Help", "List-Subscribe", "List-Owner", "Mailing-List")
AUTO_FIELDS = (
    "X-Autoreply",
    "X-Autorespond",
    "X-Autoresponder",
    "X-Auto-Reply-From",
    "X-Mail-Autoreply",
    "X-AutoReply-From",
    "X-Vacation",
    "X-MS-Exchange-Inbox-Rules-Loop",
)
BULK = frozenset(("bulk", "junk", "list", "auto_reply", "auto-reply"))
# As Exchange, Outlook, Gmail, Zimbra, Notes and the usual vacation programs begin a subject, by language.
REPLY_SUBJECT = re.compile(
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
BOUNCE_SUBJECT = re.compile(
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
BOUNCE_START = re.compile(
    r"(?:mail delivery (?:failed|failure|system error)|(?:permanent|temporary) delivery (?:failure|error|problem)|undelivered mail"
    r"|undeliverable:|delivery (?:status notification|failure)|returned mail|failure notice\Z|nondeliverable mail|mail system error"
    r"|message (?:undeliverable|delivery failure))",
    re.IGNORECASE,
)
# Some repeat the subject of the mail that came back, and say at its end what became of it.
BOUNCE_END = re.compile(
    r"\((?:delivery failed|delivery failure|undeliverable|undelivered|not delivered|returned)\)\Z", re.IGNORECASE
)
DELAY = re.compile(
    r"delay(?:ed)?|warning: |(?:still|not yet) (?:be(?:en)? )?deliver|could not send (?:message )?for past|retrying"
    r"|verzöger|verspätet|retard|ritard|atras|vertraag|opóźni|försen|forsink|задерж|отложен|遅延|延迟|延遲|지연",
    re.IGNORECASE,
)
CHALLENGE = re.compile(
    r"(?:please )?(?:confirm|verify)[a-z ]{0,30}(?:your )?(?:message|e-?mail|delivery|sender)|(?:message|sender) (?:verification|confirmation)"
    r"|challenge|spam ?arrest|requires? (?:confirmation|verification)|boxbe|waiting for (?:your )?approval",
    re.IGNORECASE,
)
# Boxbe, Spam Arrest, cPanel's BoxTrapper, TMDA, ChoiceMail, and what else asks.
CHALLENGERS = (
    "x-boxbe",
    "x-spamarrest",
    "x-spam-arrest",
    "x-boxtrapper",
    "x-tmda",
    "x-choicemail",
    "x-qurb",
    "x-asg-challenge",
)
METHOD = re.compile(r"^METHOD:(\w{1,20})", re.IGNORECASE | re.MULTILINE)
# Notes puts the name first: `Ann Arbor is out of the office`.
AWAY = re.compile(
    r"\b(?:is|am|be) (?:currently )?(?:out of (?:the )?office|away|on (?:leave|vacation|holiday))"
    r"|ist (?:außer haus|nicht im (?:büro|haus)|abwesend)"
    r"|est absente?|está ausente|está fuera|è (?:assente|fuori)|is afwezig|is niet (?:op kantoor|aanwezig)",
    re.IGNORECASE,
)
DAEMON = re.compile(r"mailer[-_.]?daemon", re.IGNORECASE)

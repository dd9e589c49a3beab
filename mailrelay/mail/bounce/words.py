"""The words in which mail systems say that a mail failed, and of whom, in the languages they speak: data for `unknown` (I10).

None of them proves anything alone: beside an address, in a mail of a mail system, they say what the address is there for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """Words in lower case, any of which may stand anywhere in a text, in whatever case there."""

    pattern: re.Pattern[str]

    def search(self, text: str) -> bool:
        """Whether one of them is in the text."""
        # Not by re.IGNORECASE: with it, every word is tried at every character, which costs five times as much.
        return self.pattern.search(text.lower()) is not None


def _any(*words: str) -> Words:
    return Words(re.compile("|".join(words)))


FAILURES = _any(
    r"could ?n[o']t|can ?n[o']t|unable to|does ?n[o']t exist|did ?n[o']t|n[o']t be (?:deliver|sent|reach|found|process)",
    r"(?:was|been|is|were|are|has) n[o']t|not (?:a )?(?:known|valid|list|exist|found|accept|receiv|reach|deliver)",
    r"deliver[a-z]{0,4} (?:has )?(?:fail|error|problem|status)|fail(?:ed|ure|s)|error|problem|undeliver|non[- ]?deliver",
    r"reject|refus|denied|return(?:ed|ing)|bounc|block|no such|unknown|invalid|expired|timed out",
    r"quota|(?:is|mailbox) full|exceed|disabled|suspended|delay|retr(?:y|ies)|postponed|giv(?:en|ing) up",
    # German
    r"nicht (?:zugestellt|zustell|gefunden|erreich|übermittelt|möglich|angenommen)|unzustell|konnte nicht|konnten nicht",
    r"fehlgeschlagen|fehler|unbekannt|abgelehnt|verweigert|existiert nicht|verzöger",
    # French
    r"n['’](?:a|ont) (?:pas )?(?:pu|été)|non remis|impossible|échec|echec|inconnu|refusé|introuvable|n['’]existe pas|retardé",
    # Spanish
    r"no se (?:ha )?(?:pud|pod|encontr|entreg)|no (?:ha )?(?:podido|pudo)|no (?:ha sido|fue) |no existe|rechazad|desconocid|fallid|retrasad",
    # Italian
    r"non (?:è stat|è possibile|recapit|consegn|esist|può)|impossibile|sconosciut|mancat|rifiutat|inesistente|ritardat",
    # Portuguese
    r"não (?:foi|pôde|pode|entreg|exist)|desconhecid|rejeitad|falh|atrasad",
    # Dutch
    r"niet (?:worden|bezorgd|afgelever|gevonden|bestaat)|onbestelbaar|onbekend|geweigerd|mislukt|vertraagd",
    # Polish, Czech, Hungarian, Turkish, Greek
    r"nie (?:zosta|moż|istnieje|dostarcz|mógł|mogła)|niedostarcz|nieznany|nedoruč|nebyl|neexistuje|kézbesít|teslim edileme|iletileme|δεν ",
    # Swedish, Danish, Norwegian, Finnish
    r"kunde inte|kunne ikke|gick inte|ei voitu|ei voida|ukendt|okänd|ukjent|tuntematon",
    # Russian, Ukrainian
    r"не (?:может|могло|достав|удалось|существ|найден|був)|неизвест|ошибк|отклонен|недостав",
    # Japanese, Chinese, Korean
    r"きません|ませんでした|エラー|失敗|不明|拒否|届か|配信不能|遅延",
    r"无法|無法|失败|退信|退回|不存在|未能|拒绝|拒絕|错误|錯誤|延迟|수 없|실패|반송|없습니다|거부",
)
"""Words of failure."""

SUCCESSES = _any(
    r"(?:successfully|has been|was|were|is|been) (?:successfully )?(?:delivered|relayed)|successful(?:ly)? deliver|delivery report that you",
    r"(?:wurde|erfolgreich) (?:erfolgreich )?(?:zugestellt|übermittelt|weitergeleitet)",
    r"a été (?:remis|livré|relayé)|ha sido entregado|se entregó",
    r"è stato (?:recapitato|consegnato)|foi entregue|is (?:bezorgd|afgeleverd)|доставлено|配信されました|已送达|已成功",
)
"""Words of success; they count only where no word of failure stands."""

SENDER_LABELS = re.compile(
    r"(?:mail |envelope[- ]?|x-|original[- ])?(?:from|sender|reply-to|return-path|von|absender|de|da|expéditeur|remitente|remetente|mittente"
    r"|van|afzender|från|fra|lähettäjä|nadawca|od|от|от кого|отправитель|差出人|送信者|送信元|发件人|寄件者|보낸 사람)",
    re.IGNORECASE,
)
"""The whole label of who wrote the mail that came back."""

PLAIN_TO = frozenset(("to", "an", "para", "a", "à", "aan", "do", "til", "till", "кому", "宛先", "收件人", "받는 사람"))
"""The label of a header field: who was meant to get the mail, which is less than who did not."""

RECIPIENT_LABELS = _any(
    r"recip|rcpt|\bto\b|address|user|mailbox|account|host|undeliver",
    r"empfänger|\ban\b|adress|destinat|indirizzo|direcci|para|\bà\b|geadresseerde|\baan\b|ontvanger|\bdo\b|mottagare|modtager|mottaker|vastaanottaja",
    r"кому|получат|адрес|отримувач|宛|受信|受取人|アドレス|收件|收信|邮箱|郵箱|地址|帐户|수신|받는",
)
"""What a label has, or a line that announces a list of recipients."""

CONTACTS = _any(
    r"contact|questions?\b|help|support|assist|problems? (?:with|persist)|please (?:send|forward|report|e-?mail|write)",
    r"kontakt|wenden sie|hilfe|aide|soporte|ayuda|assistenza|contat|问い?合|お問い合わせ|联系|聯絡|문의|обратит|свяжит",
)
"""How a paragraph begins that says whom to ask."""

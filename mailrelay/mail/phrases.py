"""The words mail clients put around quotes and forwards, by language: data for `forwarded` and `reply_text` (I12, I22).

Nothing here is code: a client or language more is a word more. Words are compared in lower case, without accents' variants.
"""

from __future__ import annotations

FROM = "from"
DATE = "date"
TO = "to"
CC = "cc"
SUBJECT = "subject"
OTHER = "other"
"""A label that clients write into such a block and that is not needed."""

_LABELS = {
    FROM: (
        *(
            "from",
            "von",
            "de",
            "da",
            "van",
            "exp\u00e9diteur",
            "remitente",
            "remetente",
            "mittente",
            "afzender",
            "absender",
        ),
        *("发件人", "寄件者", "寄件人", "差出人", "送信者", "送信元", "보낸 사람"),
        *(
            "fra",
            "från",
            "lähettäjä",
            "od",
            "от",
            "от кого",
            "odesílatel",
            "kimden",
            "feladó",
            "από",
            "de la",
            "від",
            "nadawca",
        ),
    ),
    DATE: (
        *(
            "date",
            "sent",
            "date sent",
            "datum",
            "gesendet",
            "gesendet am",
            "envoyé",
            "envoyé le",
            "enviado",
            "enviado el",
            "fecha",
        ),
        *(
            "enviada",
            "enviada em",
            "enviado em",
            "data",
            "inviato",
            "data invio",
            "verzonden",
            "verzonden op",
            "date d'envoi",
        ),
        *(
            "日期",
            "时间",
            "发送时间",
            "发送日期",
            "發送時間",
            "寄件日期",
            "傳送日期",
            "日付",
            "日時",
            "送信日時",
            "送信日",
            "날짜",
            "보낸 날짜",
        ),
        *(
            "sendt",
            "dato",
            "skickat",
            "päivämäärä",
            "lähetetty",
            "päiväys",
            "wysłano",
            "data wysłania",
            "отправлено",
            "дата",
        ),
        *("odesláno", "tarih", "gönderildi", "elküldve", "dátum", "ημερομηνία", "trimis", "надіслано"),
    ),
    TO: (
        *(
            "to",
            "an",
            "à",
            "a",
            "para",
            "aan",
            "destinataire",
            "destinatario",
            "destinatário",
            "empfänger",
            "pour",
            "ontvanger",
        ),
        *("收件人", "收件者", "宛先", "送信先", "받는 사람"),
        *("til", "till", "vastaanottaja", "do", "кому", "komu", "kime", "címzett", "προς", "către", "adresat"),
    ),
    CC: (
        *(
            "cc",
            "kopie",
            "kopie (cc)",
            "copie",
            "copie à",
            "copia",
            "kopi",
            "cópia",
            "con copia",
            "in copia",
            "kopia",
            "копия",
        ),
        *("抄送", "副本", "參照"),
    ),
    SUBJECT: (
        *("subject", "betreff", "objet", "sujet", "asunto", "assunto", "oggetto", "onderwerp"),
        *(
            "主题",
            "主旨",
            "主題",
            "标题",
            "件名",
            "제목",
            "emne",
            "ämne",
            "aihe",
            "temat",
            "тема",
            "předmět",
            "konu",
            "tárgy",
            "θέμα",
            "subiect",
        ),
    ),
    OTHER: (
        *(
            "reply-to",
            "bcc",
            "antwort an",
            "répondre à",
            "responder a",
            "responder para",
            "rispondi a",
            "antwoord aan",
            "blindkopie",
        ),
        *(
            "importance",
            "wichtigkeit",
            "priorität",
            "priority",
            "attachments",
            "anlagen",
            "anhänge",
            "pièces jointes",
            "adjuntos",
        ),
        *(
            "datos adjuntos",
            "anexos",
            "allegati",
            "bijlagen",
            "附件",
            "添付ファイル",
            "返信先",
            "密送",
            "回复",
            "organization",
            "cci",
            "cco",
            "ccn",
        ),
        *(
            "importancia",
            "prioridad",
            "prioridade",
            "importância",
            "priorità",
            "urgentie",
            "重要性",
            "重要度",
            "vedhæftede filer",
        ),
    ),
}
LABELS = {label: role for role, labels in _LABELS.items() for label in labels}
"""Label in lower case → its role."""

FORWARD_MARKS = (
    *("forwarded message", "begin forwarded message", "forwarded mail", "forwarded by", "fwd message"),
    *(
        "weitergeleitete nachricht",
        "anfang der weitergeleiteten nachricht",
        "weitergeleitete mail",
        "weitergeleitete e-mail",
    ),
    *(
        "message transféré",
        "message réexpédié",
        "début du message réexpédié",
        "début du message transféré",
        "courriel transféré",
    ),
    *("mensaje reenviado", "inicio del mensaje reenviado", "correo reenviado"),
    *(
        "mensagem encaminhada",
        "início da mensagem encaminhada",
        "mensagem reencaminhada",
        "início da mensagem reencaminhada",
    ),
    *("messaggio inoltrato", "inizio messaggio inoltrato", "inizio del messaggio inoltrato"),
    *("doorgestuurd bericht", "begin doorgestuurd bericht", "doorgestuurde bericht"),
    *(
        "转发的邮件",
        "转发的消息",
        "转发邮件",
        "被转发的邮件",
        "下面是被转发的邮件",
        "以下是转发的邮件",
        "轉寄的郵件",
        "以下是轉寄的郵件",
    ),
    *("已转发邮件", "轉寄郵件", "转发邮件信息"),
    *(
        "転送されたメッセージ",
        "転送メッセージ",
        "転送されたメール",
        "以下は転送されたメッセージです",
        "以下、転送メッセージ",
    ),
    *(
        "videresendt meddelelse",
        "videresendt besked",
        "videresendt melding",
        "vidarebefordrat meddelande",
        "välitetty viesti",
    ),
    *(
        "przekazana wiadomość",
        "wiadomość przekazana",
        "пересылаемое сообщение",
        "переадресованное сообщение",
        "přeposlaná zpráva",
    ),
    *("iletilen mesaj", "yönlendirilmiş ileti", "továbbított üzenet", "mesaj redirecționat"),
)
"""What only a forward writes above its block."""

ORIGINAL_MARKS = (
    *("original message", "original-nachricht", "originalnachricht", "ursprüngliche nachricht", "original appointment"),
    *(
        "message d'origine",
        "message original",
        "message initial",
        "mensaje original",
        "mensagem original",
        "messaggio originale",
    ),
    *(
        "oorspronkelijk bericht",
        "origineel bericht",
        "邮件原件",
        "原始邮件",
        "原始郵件",
        "元のメッセージ",
        "original email",
        "original mail",
    ),
    *(
        "oprindelig meddelelse",
        "oprindelig besked",
        "opprinnelig melding",
        "ursprungligt meddelande",
        "alkuperäinen viesti",
    ),
    *(
        "wiadomość oryginalna",
        "oryginalna wiadomość",
        "исходное сообщение",
        "původní zpráva",
        "orijinal mesaj",
        "eredeti üzenet",
    ),
    *("mesaj original", "αρχικό μήνυμα", "reply message", "antwort-nachricht", "reply above this line"),
)
"""What stands above a block in replies and forwards alike."""

FORWARD_PREFIXES = frozenset(
    "fwd fw wg wtr tr rv enc i inoltra fs vs vb doorst doorgest reenv 转发 轉寄 轉發 転送 vl pd fyi пересл továbbítás ilt".split()  # noqa: SIM905
) - {"vs", "fyi"}
"""What a forward's subject begins with, before its colon; `vs` is Finnish and Swedish for a reply and stands below."""

REPLY_PREFIXES = frozenset(
    "re aw antw sv r rif res ref resp rép vs ynt odp atb 回复 回覆 答复 答覆 返信 ot yan vá блг отв ответ".split()  # noqa: SIM905
)

WROTE = (
    *(
        "wrote",
        "writes",
        "schrieb",
        "geschrieben",
        "a écrit",
        "escribió",
        "escribio",
        "escrito",
        "escreveu",
        "ha scritto",
        "scrive",
    ),
    *(
        "schreef",
        "geschreven",
        "写道",
        "寫道",
        "书写",
        "さんは書きました",
        "のメール",
        "のメッセージ",
        "napisał(a)",
        "napisał",
        "napisała",
    ),
    *(
        "skrev",
        "skreiv",
        "kirjoitti",
        "написал(а)",
        "написал",
        "написала",
        "пишет",
        "napsal(a)",
        "napsal",
        "yazdı",
        "írta",
        "έγραψε",
    ),
    *("a scris", "написав", "님이 작성", "va escriure", "sanoi", "написано"),
)
"""How the line above a quote ends: "On …, … wrote:"."""

WROTE_MIDDLE = (
    "schrieb",
    "skrev",
    "schreef",
    "napisał",
    "escribió",
    "a écrit",
    "geschreven",
    "écrit",
    "kirjoitti",
    "wrote",
)
"""The same where a name may follow: "Am … schrieb …:"."""

SENT_FROM = (
    *(
        "sent from",
        "sent with",
        "sent via",
        "get outlook for",
        "sent by",
        "sent using",
        "von meinem",
        "gesendet von",
        "gesendet mit",
        "diese nachricht wurde von",
    ),
    *(
        "envoyé de",
        "envoyé depuis",
        "envoyé à partir de",
        "enviado desde",
        "enviado do",
        "enviado de",
        "enviado a partir",
        "obtenga outlook",
        "obter o outlook",
    ),
    *(
        "inviato da",
        "verzonden vanaf",
        "verstuurd vanaf",
        "verzonden met",
        "发自我的",
        "从我的",
        "來自我的",
        "iphoneから送信",
        "androidから",
    ),
    *(
        "sendt fra",
        "skickat från",
        "lähetetty",
        "wysłane z",
        "wysłano z",
        "отправлено с",
        "отправлено из",
        "odesláno z",
        "gesendet vom",
        "outlook für",
    ),
    *("telegramdan", "trimis de pe", "envoyé via", "download outlook", "téléchargez outlook"),
)
"""How a phone's signature begins."""

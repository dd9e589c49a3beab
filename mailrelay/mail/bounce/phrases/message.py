"""What is said of the message itself: too large, unwanted, broken."""

from __future__ import annotations

BAD_LINK = """
blacklisted|blocklisted|blacklist|listed|spamvertised|blocked url|link|links|uri|urls|uris|website
url|uri|link|links|urls * blacklisted|blocked|listed|blacklist|blocklist|blocklisted|malicious|phishing|suspicious|spam
url * complaints
uribl
surbl
banned|forbidden|prohibited content|word|words|text|phrase|phrases
message|mail|email * detected|classified|identified|flagged|recognized|marked as spam|junk|phishing|virus|malware
url|urls|uri|link|links rejected|refused|denied
address|recipient * in * header
header|headers * invalid|bad|malformed * address|recipient
"""

ATTACHMENT = """
banned
attachment|attachments|filetype NO|not|type|types|extension|removed|stripped|found|detected
file type|types|extension|name|attachment blocked|not|prohibited|rejected|forbidden|banned
UNWANTED|executable|encrypted|zip attachment|attachments|file|files|archive|extension|filetype
password protected
presents a potential
potential security issue
"""

NOT_COMPLIANT = """
header|headers fail|fails|syntax
not rfc
rfc compliant|compliance|violation|conformant
not compliant|conform|comply * rfc|standard|rfc5322|rfc2822|rfc822
rfc5322|rfc5321|rfc2822|rfc822|rfcmessagenoncompliant
violates|violate|violation * rfc
duplicate|duplicated|multiple header|headers|from|subject|addresses|date|messageid
messages|message missing|with a? valid|multiple
missing|no|empty|required message|date|from|subject|header|headers|messageid id|header|field|headers
missing|empty from|date|messageid
from|date|header|headers missing|required
bare line|lf|cr|linefeed|newline|newlines|linefeeds
stray line|lf|cr|linefeed|newline|newlines|linefeeds
"""

TOO_LARGE = """
message|mail|email|attachment|file|body|content|letter|data|mime too large|big|long|bulky
LETTER size|length OVER|limit|limits|too|restriction
LETTER * OVER * size|limit|maximum|maximal|allowed|bytes|kb|mb|length
message|mail|email|attachment * too large|big
exceeds|exceeded|exceed|exceeding|over|larger|above|greater|than * size limit
exceeds|exceed|exceeded maximum|max|allowed * size
OVER than? the? fixed|maximum|max|administrative|permitted|allowed|global|configured LETTER|size|length|maximum
size limit|restriction exceeded|for|exceed
maximum|max|fixed|allowed message|mail|email|attachment|mailsize|data size|length
message|mail|email size limit|restriction|exceeds|too
larger|bigger|greater|more|longer than the? * limit|maximum|size|allowed|bytes|mb|kb
mailsize limit
too big|large for|to
large|big|oversized|oversize message|mail|email|messages
oversize|oversized
resolver rst recipsizelimit|sendersizelimit
recipsizelimit|sendersizelimit
messagetoobig|messagetoolarge|emailtoolarge|messageexceedslimits
message length|size exceeds
attachment|attachments size|limit|too|exceeds|exceed|larger
nachricht|mail|email|datei * zu gross|gro|lang|groß
message|courriel|mail|mel|taille trop volumineux|gros|grand|volumineuse|long|importante|grande
mensaje|correo|tamano * demasiado|excede|supera|grande
mensagem|tamanho * grande|excede|excedido|maior
messaggio|dimensione|dimensioni * grande|eccede|supera|superata|superiore
bericht te groot
сообщение|размер|письмо * большое|превышает|велик|велико
"""
TOO_LARGE_IN_CJK = """
サイズが大き
サイズ制限
サイズを超
邮件过大
邮件太大
郵件過大
大小超过
大小超出
"""

CONTENT = """
message scored
spam
spams
spm
spamassassin
spamcontent
unsolicitedmessageerror
blockedmessage
virus|viruses|trojan|worm|malware|malicious|ransomware|infected|infection|eicar|macro|macros|ole
phish|phishing|phishy|scam|fraud|fraudulent
junk|junkmail
unsolicited
bulk mail|email|message|messages
uce
ube
content NO|unacceptable|violation|filter|filters|filtering|check|scanner|scan|restrictions|restriction|policy
content not|control|inspection|analysis|rule|rules|error|problem|detected
UNWANTED content|text|url|link|links|word|words|language|html|subject|header|mime
MAIL|body|subject|text content|body|contains|text|contents|subject|headers|header * UNWANTED|not|virus|url|violates
message|mail looks|scored|seems|appears|classified|identified|considered|detected|flagged|marked like|as|to|by|spammy|suspicious
message|mail suspected|recognized|tagged|determined as|to|by
looks|seems like spam|junk|uce
fingerprint|signature
heuristic|heuristics|bayes|bayesian|crm114|dspam|razor|pyzor|dcc|vade|rspamd|mailscanner|mailspike
message|mail|email malformed|corrupt|corrupted|garbled|invalid|format|not rfc|compliant
malformed|corrupt|invalid|incomplete|broken header|headers|mime|MAIL|date|subject|boundary|encoding|format|structure
bad|illegal|wrong header|headers|mime|date|boundary|encoding|format|structure
header|headers|mime error|invalid|malformed|syntax|field|fields
subject mandatory|required|empty|missing
message content
improper use
eight|bit data|characters|character|header|headers|not
line|lines too long
header|headers too large|big|long|many
header|headers size|length|exceeds|exceed
mime complexity|structure|nesting|parts
parts|nested|nesting too many|deeply
non ascii|latin|english
character|charset set? not|unsupported|encoding
smtputf
MAIL NO|quarantined|returned|discarded|dropped by|as|because|due|for * content|spam|filter|virus|antispam|antivirus|junk|phishing|body
content|antispam|antivirus|anti spam|virus
antispam
antivirus
conversion not|failed|prohibited|required|impossible
unsubscribe header|link|missing|required
pourriel|indesirable|courrier indesirable
unerwunschte|unerwuenschte|werbung
correo no deseado
spam|vírus
вирус|спам|спама
mail rejete
ofr_506
mcspamsignature|spamsignature|spamdetected
message|mail|email filtered
line length
"""
CONTENT_IN_CJK = """
迷惑メール
スパム
ウイルス
垃圾邮件
垃圾郵件
病毒
内容被拒
内容拒绝
"""

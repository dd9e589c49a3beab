"""What is said of a recipient: full, switched off, not there, not wanting the mail."""

from __future__ import annotations

FULL = """
can not update mailbox * file too large
space used up
space|storage not enough|sufficient
postfachinhaber|benutzer|postfach * zu viele
depasse son? quota
overdrawn
mailbox exceeded|exceeds
mailbox * limit
kontingent
many messages in
mailbox|inbox|maildir|mailfolder|mailspool|account|user|recipient full
mailbox|inbox|folder * full
full mailbox|inbox
mailbox|inbox|account|user|recipient over|exceeded|exceeds|exceeding|exceed * quota|limit|storage|space|size|capacity
mailbox|account|user|recipient|inbox|storage|disk * quota|limit|space|capacity exceeded|full|reached|overdrawn|violation
mailbox|account|user|recipient at|reached|hit * limit|quota|capacity
mailbox|account storage|size limit|quota|exceeded
mailbox too large|big
mailbox|account overdrawn
over|out of quota|storage|space
over * quota
overquota
quota exceeded|exceed|exceeds|exceeding|violation|full|reached|overdrawn|overflow|overrun
exceeded|exceeds|exceed|exceeding|over|overdrawn|above|beyond * quota
quota * exceeded|full|reached
quota error|failure|problem
disk|storage|mail|mailbox|hard|soft|space quota
disk|filesystem full
storage|space|mailbox limit
exceeded storage|space|allocation
exceeded|exhausted * storage|space
insufficient storage|space|room
not enough storage|space|room
no enough|more|free storage|space|room
no space|room left for|in|on
lacks space
mailbox|account|user|recipient * not have enough|sufficient|available
user|recipient|mailbox|account|inbox|folder too many messages|mails|emails
too many messages|mails|emails on|in the? mailbox|folder|inbox|server|account|queue
too much mail data
message count quota|limit
maximum allowed|number|storage * storage|mailbox|stored
unable|not|can to? accept|receive|store|hold * because full
mailbox can not accept|hold|receive|store more
would|will exceed|overflow|cause * mailbox|quota|storage
receive no more mail
mailquota
overquotatemp
overquotaperm
mailboxfull
quotaexceeded
quotaexceededexception
mapiexceptionshutoffquotaexceeded
mapiexceptionnotenoughquota
postfach|postfachs|mailbox * voll|ueberfullt|uberfullt
speicherplatz|speicher|quota|kontingent * voll|ueberschritten|uberschritten|erschopft|erschoepft|erreicht
speichervolumen * ueberschritten|uberschritten
zuviele|zu mails auf dem server
boite|bal * pleine|saturee|remplie
quota|espace * depasse|atteint|insuffisant
buzon|casilla|cuota|bandeja * lleno|llena|excedida|excedido|superada|superado
caixa|cota|quota|espaco * cheia|excedida|excedido|cheio|lotada
casella|mailbox|quota|spazio * piena|esaurito|superata|raggiunta|esaurita
mailbox|postbus|quotum * vol|overschreden
skrzynka|limit * przepelniona|pelna|przekroczony
ящик|квота * переполнен|превышена|заполнен
переполнен
лимит * превышен
inbox|mailfolder|maildir|mailbox storage|size limit|quota|exceeded
number of messages exceeds|exceeded|over * mailbox|folder|inbox
schranka|posta * plna|preplnena|dolu|kota
postafiok|tarhely * megtelt|tele
postkassen|brevladan|postlada|innboks * full|fuld|fullt
скринька * переповнена|заповнена
kota asimi|asildi|dolu
writing * file too large
"""
FULL_IN_CJK = """
いっぱい
容量
已满
已滿
空间不足
空間不足
超出配额
"""

INACTIVE = """
WHO|domain|mail|box OFF
account|mailbox|user|recipient|address|domain * disabled|suspended|inactive|deactivated|discontinued|terminated|dormant|frozen
account|mailbox|user|recipient|address|domain not|no longer? active|activated|enabled
account|mailbox|address|user temporarily|permanently blocked|closed|disabled|suspended|locked|inactive|unavailable|deactivated
account|mailbox|user|address marked|flagged|listed|set as inactive|disabled|suspended
OFF account|mailbox|mbox|user|recipient|address|email
account|mailbox blocked
account|mailbox|email|address on hold
account|user|mailbox * not been accessed|used|activated|logged
not logged in|on for|since
not entered during last
disabled or discontinued
disabled due to|for
due to extended inactivity
due to inactivity
delivery to this user|account|mailbox|address disabled|suspended|restricted
no longer active
recipient|user|account terminated|cancelled|canceled
account cancelled|canceled
customer|service|subscription|hosting suspended|cancelled|expired
disableduser
inactiveuser
accountdisabledexception
mapiexceptionaduserdisabledandhidden
accountinactive
permanently suspended
temporarily disabled|suspended
temporarily|permanently blocked mailbox|account|user
mailbox|account access rule|policy
rule imposed mailbox access
konto|postfach|benutzer|account * gesperrt|deaktiviert|inaktiv|gekuendigt|gekundigt|abgeschaltet|stillgelegt
compte|boite|adresse * desactive|desactivee|suspendu|suspendue|bloque|bloquee|inactif|inactive|archivee|ferme|fermee
cuenta|buzon|usuario * desactivada|suspendida|bloqueada|inactiva|deshabilitada|deshabilitado|desactivado|suspendido|bloqueado
conta|caixa|usuario * desativada|suspensa|bloqueada|inativa|desativado|suspenso|bloqueado|inativo|cancelada
account|casella|utente * disabilitato|disabilitata|sospeso|sospesa|bloccato|bloccata|disattivata|disattivato|scaduta|scaduto
account|mailbox|postvak * geblokkeerd|opgeheven|uitgeschakeld
konto|skrzynka * zablokowane|zablokowana|nieaktywna|nieaktywne
ящик|аккаунт|пользователь * заблокирован|неактивен|отключен
почтовый|ящик заморожен|заблокирован
ucet|schranka * zablokovana|deaktivovana|zrusena|zablokovan|zrusen
hesap * kapali|askiya|devre
"""
INACTIVE_IN_CJK = """
利用停止
一時停止
休止
アカウントが無効
已停用
已冻结
被冻结
被禁用
已禁用
被停用
休眠
"""

UNKNOWN = """
WHO UNKNOWN
WHO|group|list not KNOWN
user|recipient|mailbox|account|address|alias|addressee|username not a? valid|known|registered|local|member|customer|recognized
user|recipient|mailbox|account|address|alias|email * not exist|exists
user|recipient|mailbox|account|address|alias|email * not be? found|located|resolved
user|recipient|mailbox|account|address|alias|username no exist|exists|longer
account|mailbox|address|user|alias|email no longer exist|exists|valid|available|used|here|accepts|accepted|works|monitored|attended
account|mailbox|address|user|email * no longer exist|exists|valid|in|used|here|available
account|mailbox|user|address|recipient been? deleted|removed
UNKNOWN WHO|local|final|rcpt
unknown|invalid|nonexistent|bad email|mail|to|destination|recipient address|user|mailbox|recipient
bad|no|invalid|illegal|unknown|not destination mailbox|address|user|recipient
non existent|existing|existant|exist user|recipient|mailbox|account|address|alias|email|addressee
nonexistent|inexistent user|mailbox|account|recipient|address
bad recipient|user|mailbox
unknown or illegal|invalid|inactive alias|user|recipient|mailbox|address
no such WHO|person|local|mail|name|id|object|list|group|destination|rcpt
no WHO|person|one|body here|by|with|at|for|named|called|found|such|matching|exists|on
no valid recipient|recipients|rcpt|user|mailbox|address
no mail|email mailbox|account|user|here by|with|for
no mailbox
no local mailbox|user|recipient
no person|user|one|account of|with|by that? name
there no one|user|account|mailbox|such|recipient
not our|a|one|known customer|user|subscriber|mailbox
not a? valid|known|local|registered|recognized|existing|real|working mailbox|user|recipient|account|address|email|customer|alias|username
not known here
not known at|to|on this|our|us|server
not exist|found|listed|known|valid|recognized in|on directory|our|this|server|domino|public|system|host|local|address|here
not listed|found in * directory|domino|book
not listed in|at|on|here
bad|wrong address
mailbox name not
account|recipient|user|mailbox|address unavailable
not in our|my|the? directory|database|list|system|user
not a? user|mailbox
name not found at
not have an|any|such|a * account|mailbox|user
user|recipient|customer not have * account|mailbox|inbox|profile
user|person|recipient|employee|staff|colleague no|not longer? with|works|employed|at|here|work
user|recipient|employee|person left|moved|departed|retired|resigned * company|organization|organisation|firm|institution
left|departed the? company|organization|organisation
person|employee|addressee moved
user|mailbox|recipient|address moved|relocated
can not find user|mailbox|recipient|account|address
could|can|unable|was|were not|to? find|locate|found|resolve|lookup|identify user|mailbox|recipient|account|address|addressee|alias|email
could|can not be? found|located|looked * directory|here|server|domain|system
email|recipient|address|mailbox|user you * not be? found
email you|entered * not be? found
could not be? found|resolved at|in|by
address you|entered|specified|used * not|unknown
do not know|recognize|recognise this|that|such|any|user|recipient|mailbox|address
unable to verify|validate|find|resolve|locate recipient|user|mailbox
recipient|user|mailbox verification|verify|validation failed|failure
recipient|address|mailbox can not be? verified|validated|found|resolved|located
verify address|recipient failed
mailbox|user|address name? not allowed
mailbox unavailable
unavailable mail? user|mailbox
user not local
no such user|mailbox|address|account|recipient
undeliverable address
address|recipient unresolvable|unrouteable|unroutable
unrouteable|unroutable|unresolvable recipient|user|mailbox
this|the email? address no|not longer|in exist|exists|valid|use
addresses|address were|was unknown
destination addresses|address|mailbox|user|recipient unknown|invalid|not
ambiguous name|address|alias
local user|delivery|part|mailbox unknown|invalid|not|nonexistent
userunknown
usernotfound
nosuchuser
nosuchmailbox
recipientnotfound
recipnotfound
recipientunknown
recipientnotexist
resolver adr recipnotfound|recipientnotfound|exrecipnotfound
mailboxunavailable
unknownuser
invalidrecipient
chkuser
not found by smtp address lookup
benutzer|empfaenger|empfanger|adressat|adresse|teilnehmer|mailadresse|postfach|konto * unbekannt|ungultig|ungueltig
benutzer|empfaenger|empfanger|adresse|mailadresse|postfach|konto|mailbox|account * existiert nicht|keine
benutzer|empfaenger|empfanger|adresse|postfach|konto * nicht gefunden|bekannt|vorhanden|gultig|gueltig|existent
unbekannter|unbekannte empfanger|empfaenger|benutzer|adresse|mailadresse|nutzer
ungultige|ungueltige|ungultiger|falsche empfanger|empfaenger|adresse|empfangeradresse|empfaengeradresse|mailadresse
kein|keine|kein solcher|solches|gultiger benutzer|postfach|empfanger|empfaenger|mailbox|konto|account
nicht hier|mehr bekannt|gultig|gueltig|vorhanden|aktiv|erreichbar
utilisateur|destinataire|adresse|compte|boite|abonne|usager * inconnu|inconnue|invalide|introuvable|errone|erronee|incorrecte
utilisateur|destinataire|adresse|compte|boite|abonne|usager * inexistant|inexistante|supprime|supprimee
utilisateur|destinataire|adresse|compte|boite * existe pas|plus
destinataire|utilisateur|adresse|compte|boite pas|non trouve|valide|trouvee|reconnu|valable
usuario|destinatario|cuenta|direccion|buzon|casilla * desconocido|desconocida|inexistente|invalido|invalida|incorrecta
usuario|destinatario|cuenta|direccion|buzon|casilla * no existe|encontrado|valido|valida|encontrada|encontro
no existe * usuario|destinatario|cuenta|direccion|buzon
no se encontro|encuentra * usuario|destinatario|buzon|cuenta|direccion
usuario|destinatario|conta|endereco|caixa|email * desconhecido|desconhecida|inexistente|invalido|invalida
usuario|destinatario|conta|endereco|caixa|email * nao existe|encontrado|encontrada|cadastrado|valido|localizado
utente|destinatario|casella|indirizzo|account|mailbox * sconosciuto|sconosciuta|inesistente|errato|invalido
utente|destinatario|casella|indirizzo|account|mailbox * non esiste|valido|trovato|trovata|presente|esistente|valida
gebruiker|ontvanger|adres|mailbox|postbus|account|geadresseerde * onbekend|ongeldig
gebruiker|ontvanger|adres|mailbox|postbus|account|mailadres * bestaat niet
onbekende gebruiker|ontvanger
uzytkownik|adres|odbiorca|konto|skrzynka * nieznany|istnieje|nieistniejacy|istnieje
nie ma takiego uzytkownika|konta|adresu
mottagare|anvandare|adressen * okand|finns
modtager|bruger|adressen * ukendt
kayttajaa|vastaanottajaa ei
пользователь|адрес|получатель|ящик|аккаунт|адресат * не существует|найден|зарегистрирован
пользователь|адрес|получатель * неизвестен|удален|отсутствует
нет такого пользователя|адреса|ящика
такого пользователя|адреса|ящика|получателя нет
неизвестный пользователь|получатель|адрес
not exist|exists that|this|such user|recipient|mailbox|account|address
not know|recognize|recognise that|this|such user|recipient|mailbox|account
WHO not available here
not in|on valid? recipient|user|mailbox|account list|table|map|database
no longer works|employed|working|with here|at|for|us|our|this|company
WHO not provisioned
WHO has? no mailbox|account|inbox
nobody|noone by|with|called|named
no match|matches for|found? WHO
WHO obsolete|outdated|vacated|abolished|defunct|nonexisting|unverifiable
WHO no longer in use|service|operation
bad|invalid|unknown local part|mailbox
uzivatel|schranka|adresat|prijemce * neexistuje|neznamy|nenalezen|nenalezena
kullanici|alici|adres|posta kutusu? bulunamadi|yok|gecersiz
felhasznalo|cimzett|postafiok * nem letezik|talalhato|ismert
utilizator|destinatar|adresa * necunoscut|inexistent|inexistenta
korisnik|primatelj|adresa * nepoznat|nepostojeci|nepostoji
mottakeren|brukeren|mottaker|bruker * ukjent|finnes|eksisterer
modtageren|brugeren|postkassen * findes|ukendt|eksisterer
anvandaren|mottagaren|brevladan * finns|existerar|okand
tuntematon vastaanottaja|kayttaja|osoite
користувач|отримувач|скринька|адреса * не iснує|існує|знайдено|знайдений|зареєстровано
потребител|получател * не съществува
χρηστης|παραληπτης * δεν υπαρχει|βρεθηκε
validrcptto
failed recipient|user|mailbox|address validation|verification|verify|check
error dd no longer valid|exists|active
user or domain * unknown
previously|already bounced address|recipient|mailbox
"""
UNKNOWN_IN_CJK = """
見つかりません
存在しません
存在しない
登録されていません
宛先不明
ユーザー不明
用户不存在
用戶不存在
帐号不存在
账号不存在
帐户不存在
收件人不存在
邮箱不存在
地址不存在
信箱不存在
查无此人
无此用户
找不到收件人
找不到用户
未开通
존재하지 않
없는 사용자
"""

FILTERED_FIRST = """
not on|in * approved|allowed|safe|permitted|whitelist|trusted senders|sender
not accept * from you
mailbox unavailable or access denied
blocked|rejected by * recipient|user|personal filter|rule|rules|list|blacklist
recipient|recipients preferences|blocklist|blacklist|settings
by the? recipient|recipients
recipient|addressee|user rejects|refuses|declines your|this|mail|message|email
recipient|addressee|user rejected|refused|declined your|mail|message|email
rejected|refused|declined|blocked by this|that|our user|recipient|addressee|customer
marked|reported your messages|message|mail|email as spam
"""

FILTERED = """
recipient|user|mailbox|account|addressee|member preferences|preference|settings|filter|filters|rules
recipient|user|addressee|owner blocked|rejects|refuses|declined|declines
because recipient has|blocked|rejects
recipient|user|mailbox currently? not accepting|receiving
BOX|address|group|list not accepting|accept|receiving|receive MAIL|any|from|external|your|to
recipient|user|mailbox|account * only accepts|accept|receives * mail|messages|email|from
rejected|blocked|refused|declined|denied|filtered|bounced by the? recipient|recipients|user|addressee|owner|filter
mail|message|email declined
not accept|want|wish|receive|accepting|accepts * from you
not wish to receive
blocked|rejected by * user|recipient|personal filter|rule|rules|list|blacklist
recipient|user|personal blacklist|blocklist|filter|filters|rules|whitelist
on the? recipient|user blocked|block|black list|sender|senders
not on|in * recipient|user|approved|allowed|safe|permitted|whitelist|guest list|senders|sender
allowed|permitted|approved|safe|trusted senders list?
allowed list
recipient|mailbox restricted|restricts|protected
sender not on|in * list
mailing to this|you|recipient
mailbox delivery restricted|failure
mailbox unavailable or access denied
restricted address|mailbox|recipient
recipient no longer accepts|wants
on * suppression list
suppression list
mail rejected by recipients|destination|recipient
recipients|recipient was? rejected by a? remote mail server
not accept mail|messages|email|message|emails from|for you|this|unknown|outside|external|strangers|address|sender
reject|rejected|refused by user|addressee|mailbox
rejected by destination domain
user access deny|denied
empfanger|empfaenger * verweigert|abgelehnt|blockiert
WHO not want|wants|wish|like
only accepts|accept|receives|receive MAIL from
unsubscribed address|recipient|user|from
by sieve
recipient|address suppressed
"""
FILTERED_IN_CJK = """
受信拒否
受信を拒否
受信制限
拒收
拒绝接收
黑名单
"""

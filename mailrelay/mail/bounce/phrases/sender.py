"""What is said of whoever sends: an address, a name, a host, a reputation. Never the recipient's doing (I11)."""

from __future__ import annotations

BANNED = """
ip|ips|ipv address|addresses? blacklisted|blocklisted|banned|denylisted
permission|permissions to send as
ip|ips filtered
"""

UNVERIFIED = """
domain may not exist or dns
sender address|domain|host|email|verify|verification|callback|callout|spoofed|spoofing|unverified
sender NO|UNKNOWN|blacklisted|blocklisted
sender verify|verification|validation|callback|callout failed|fail|failure
sender * not exist|exists|verified|verifiable|found|valid|allowed|authorized|authenticated|permitted|accepted|resolve
sender not
could|can|unable not? to? verify|validate|check|resolve * sender
verify|verification|validate|validation|check of|for|the? sender
address|domain of sender
sender|senders|mailfrom domain|address|ip|host
mail|return|reverse|envelope from|path|sender address|domain|rejected|refused|denied|not|unknown|invalid|blocked|verification
reverse|return path not|rejected|invalid|unknown
mail from not|rejected|invalid|refused|denied|unknown
from address|domain|header * rejected|invalid|not|denied|unknown|missing|verified|exist|blocked
invalid|bad|unknown|fake|forged|spoofed|banned|unverifiable|unresolvable|illegal|nonexistent outbound? sender|from|mailfrom|originator
callback setup|verification|failed
callout
domain of sender
null sender|reverse|path not|rejected|denied|refused
sending domain|host|server|ip|address|mta
envelope sender
unverifiable
spoofed|spoofing message|mail|email|sender|address|attempt|detected
anti spoofing
you|sender not allowed|authorized|permitted|authorised to? send|use|mail * as|from|on|using|behalf|this
not allowed|authorized|permitted|authorised to send|use|submit|relay|mail|sending from|as|on|mail|email|messages|emails
return path rejected|invalid
denies|deny|rejects|refuses|dislikes sender
postmaster verification|callout|callback|check
address must fully qualified
unverifyable|unverified sending|ip|ips|host
your domain not|unreachable|unresolvable
bounced? address verification|tag tag|validation|invalid|failed
return|reply|replyto address|to not|invalid|unknown|rejected
replyto|reply to? address? not|invalid|unknown
verify|validate|check your address|email|domain
address|account you send|used|use|mail from|to
as a? valid sender
your helo|ehlo
"""

HARVESTING = """
too many|excessive|multiple|repeated|several bad|UNKNOWN|NO|failed|non WHO|rcpt|existent|existing
directory harvest|harvesting
dictionary attack
harvest attack
excessive unknown|invalid
unknown user|users|recipients attempts|rate|limit
namespace mining
"""

UNAUTHENTICATED = """
spf
sender policy framework
openspf
dmarc
dkim
domainkeys
arc
adsp
authres
unauthenticated|unauthorized|unauthorised email|mail|sender|message|messages
email|mail|message|sender|domain unauthenticated
not pass|meet authentication|required
authentication|auth checks|check|failed|failure|information|results|policy
failed|fails|fail|missing|lacks|requires|require|insufficient|without authentication|auth
sender|email|mail|domain authentication
not have authentication
unauthenticatedmessage
ipv6autherror
ipv6 * authentication|ptr
sender id
senderid
purported responsible
bulk sender|senders guidelines|authentication|requirements
domain policy
alignment
failed|fails|fail * verification|alignment|compliance
domain key|keys
"""

NAMELESS = """
unresolvable relay|client
relay host name
ptr
reverse dns|lookup|hostname|host|name|address|record|resolution|mapping|delegation|entry|ip
rdns
fcrdns
iprev
forward confirmed
no|without|missing|invalid|bad|generic|incorrect|nonexistent|dynamic reverse|rdns|rdnsptr
dns ptr
ip|address not|no resolve|hostname|reverse
can|could|unable not|to to? lookup|resolve|find * hostname|your
can not|could|unable find|resolve|to|not your|resolve|find|lookup hostname|reverse|host|ip|your|address
find|resolve|lookup your hostname|reverse|host|ip|address|domain|name
your|client|sending|connecting host|hostname|ip|server|address not|name|can|lookup|has
ip name lookup failed
mismatches client ip
hostname mismatch|lookup
client|host name|hostname * not resolve|found|match|exist
helo|ehlo command|name|hostname|host|rejected|invalid|argument|string|not|greeting|check|domain|must|requires|mismatch
bad|invalid|fake|forged|wrong|your|illegal helo|ehlo
dynamic|residential|dialup|dial|generic|consumer ip|ips|address|addresses|host|hosts|hostname|range|space|rdns|up|connection|pool|user
dynamically assigned
end user|users ip|addresses|network
may not be? mail exchanger
not a? mail exchanger
direct to mx
use your|the isp|isps|providers|provider smtp|mail|relay|server
helohost
fqdn
fully qualified
domain|hostname|host must resolve
"""

LISTED = """
hl rep|ipb|mep
ip authorization|check|authentication
dnsbl
rbl
rbls
xbl
pbl
sbl
uceprotect
blacklist|blacklisted|blacklists|blacklisting|blocklist|blocklisted|blocklists|blacklistet|blackholed|denylist|denylisted|greylisthosts
black|block|deny listed|list|lists|holes|hole
on|in|by|at our|a|the|their|several|my|an internal|local|global? list|lists|rbl|block|black|dnsbl
blocked|rejected|denied|refused|listed|banned using|by|in|at|see|via|on dnsbl|rbl|http|list|blacklist|lists
is? listed
listed in|at|on|by|as
blocked using
banned ip|host|sender|domain|address|sending
ip|ips|network|client|sender blocked|banned|rejected|denied|refused|restricted|barred|suspended|forbidden
ip address|range|block blocked|banned|rejected|denied|refused|restricted|barred|suspended|forbidden
host|server|domain|address|connection banned
ip|ips|host|server|network * blocked|banned|restricted
your ip|ips|host|server|network|isp|subnet|domain|address * blocked|banned|rejected|listed|denied|refused|suspended
blocked|rejected|refused|denied|bad|banned|suspicious|untrusted|black ip|ips|host|sender|senders|network|client|range
connections|mail|messages|email will? not accepted from
spamhaus|spamcop|sorbs
part of their network
client host|ip|address rejected|blocked|denied|refused|banned
host|client rejected|blocked|denied|refused
reputation
senderscore
sender score
poor|low|bad|no sender score|reputation
senderbase
trustedsource
cloudmark
barracudacentral
talos
mail|messages|email|connections|connection|emails from * blocked|banned|rejected|refused|denied
not accept|accepting|accepted|allowed mail|email|messages|connections|emails|connection|traffic from
NO|refusing|rejecting|blocking MAIL|connection|connections|all from
connection|connections|session|access|service NO by|due|from|because to? policy|reputation|your|ip|blacklist|rbl|spam
user complaints
complaint|complaints
spammer|spammers
spam|spamming source|sources|sender|host|server|ip|network|statistics|blocked|trap|traps|engine|relay|attack|senders|server
known spam|spammer
sent|sending|source|sends|originating|send of? spam
your|this host|ip|server|domain|network * spam|spamming
suspected spam sender
abuse|abusive ip|host|sender|detected|behavior|activity
exploited|compromised|infected|hijacked host|ip|server|machine|account|system|client
open relay|proxy|resolver
service refuse
suspicious|unusual|abnormal activity|behavior|behaviour|traffic|ip
s3140|s3150|s775|s844|s843
unacceptable|unsolicited mail|email traffic|from|source|sender
cdrbl|cxbl|cxdns|cxsndr
invalid|illegal|disallowed|forbidden ip
con|hvu|rtr|rly|dyn b1|b2|b3|t1|bb|bd|bg|bl|ch|du|ge|ip|rd
spam|spams|viruses from your|this|ip|host|server|network
block|blocked|blocking|blocks for|of spam|abuse
suspicious|unusual|abnormal sending|outgoing|login|account activity|behavior|behaviour|pattern|patterns
dnsbls
register your? ip
spamtrap|spamtraps|honeypot|honeypots
ihre ip|adresse
votre ip|adresse|serveur * liste|bloque|bloquee|blackliste
su|tu ip|servidor * lista|bloqueada|bloqueado
ip|ips hangup|control
esmtp server|service not available
connection|connections refused from
mi ipb|spb|nra|nsd
no access for|from this|your ip|host|server|domain
"""

UNENCRYPTED = """
must issue a? starttls
starttls|tls|encryption|ssl required|require|needed|mandatory|must|first|not
require|requires|required|requiring|without|must|needs|enforced|need starttls|tls|encryption|encrypted|ssl|use
session|connection|channel encryption|encrypted required|must|is|not
tls * required|handshake|negotiation|requirement|failed|error
tls version|cipher|protocol
verify tls
no|weak|insufficient shared? cipher|encryption|ciphers
insecure|unencrypted|plaintext|cleartext connection|session|delivery|mail
dane|tlsa failed|failure|record|records|validation|error
mta sts
no tls support
"""

RECIPIENT_BUSY = """
user|recipient|mailbox|account * number of messages
MAIL * per hour|day|minute
user|recipient|mailbox|account|address * receiving|received * quickly|rate|much|many|volume|fast
user|recipient|mailbox|account * rate limit|limited
recipient thread limit
messages|mail|email to deferred|throttled|limited
recipient|user|mailbox rate
server busy
system|host|server busy|overloaded|load
receivingrate|receivingrateperm|receivingratetemp
busy please try
"""

COMPLAINED = """
deferred|delayed|blocked|rejected|refused due|because * complaints|complaint|reputation
user complaints
"""

OWN_LIMIT = """
rate limit|limited|limiting|limits|exceeded|control|throttled
ratelimit|ratelimited|ratelimiting
throttle|throttled|throttling
unusual rate|volume|amount
unexpected volume
excessive volume
frequency limited|limit|exceeded
too many|much connections|connection|sessions|concurrent|simultaneous|connects|transactions
user|users|account? sending limit|quota|limits
sending|submission|relay|outgoing|outbound limit|quota|limits|allowance
daily|hourly * limit|quota|limits
email quota exceeded
attempts reached limit
hl icc|ifc
mi sfq|dmc
rp drc|trc
limit * outgoing messages
reached|exceeded your * limit|quota|limits
received|receiving too many|much messages|mail|emails|email from
deferred|delayed due|because|temporarily|permanently * volume|traffic
temporarily|permanently deferred
deferred due
unsolicitedratelimiterror|unsolicitedipratelimiterror
ip|ips address? deferred|throttled|delayed|limited
connection|connections|session|sessions deferred
connection|session slots
you reached|exceeded|hit limit|limits|maximum|quota|your
sent|send|sending too many|much
message|mail|email submission|sending|delivery|connection rate|frequency
queue quota
rp rcl|qrc|cel
too many same|identical|similar|duplicate
"""

SLOWED = """
too many|much|frequent LOAD|concurrent|simultaneous|connects|auth|new|open|smtp|unsolicited|unauthenticated|hits
too|more many|than * connections|messages|recipients|sessions
unusual rate|volume|amount|number|traffic
unexpected volume
excessive volume|rate|number|connections|mail|messages|traffic|bounces|load
high volume|rate|number
rate|frequency|volume|speed limit|limited|limiting|limits|exceeded|control|throttled|reached|quota|too|policy
ratelimit|ratelimited|ratelimiting
throttle|throttled|throttling
exceeded|exceeds|exceed|over|reached|above|hit|exceeding * rate|hourly|daily|connection|connections|recipients|per|sending
LOAD|sending|send|relay|submission|hourly|daily|minute limit|limits|rate|frequency|quota|quotas|threshold * OVER|reached|hit
OVER|reached maximum|max|allowed|number|limit|limits|permitted * LOAD|hour|day|minute|number|sending
max|maximum|limit|limits on? number? of? concurrent|simultaneous|outgoing? LOAD
connection|sending|message|delivery|submission rate|rates|limit|limits
number of connections|messages|recipients
max|maximum connection|connections|messages|recipients|number|session|sessions|rcpt
concurrent|simultaneous|parallel connection|connections|sessions
frequency limited|limit|exceeded|too
ip|sender|domain|connection|account|mail frequency
slow down
too fast|quickly|frequently|soon|rapidly
sending|sent|send|delivering|connecting|receiving too many|much|fast|quickly|frequently
daily|hourly|sending|submission|relay|outgoing quota|limit|cap|allowance
receiving mail|email|messages|too at|too|quickly
received|receiving too much|many|mail|messages|email
deferred|delayed due|because|temporarily|permanently * complaints|volume|reputation|traffic|spam|limit
temporarily|permanently deferred
messages|message|mail|all|emails from * deferred|throttled|limited
unsolicitedratelimiterror
receivingrate|receivingrateperm|unsolicitedipratelimiterror|receivingratetemp
congested
congestion
overload|overloaded
trop de connexions|messages|destinataires
limite de connexions|envoi
zu viele verbindungen
demasiadas|demasiados conexiones|mensajes
"""

GREYLISTED = """
greylist|greylisted|greylisting|graylist|graylisted|graylisting|greylistd|postgrey|greylst|graylst
grey|gray list|listed|listing
first time|seen * try|retry|sender|again|triplet
internal resource|resources temporarily unavailable
wait|retry|again|back|try|come in|after|for seconds|minutes|minute|few|some|moments|five|an|one|hour
try|retry again|later in|after few|seconds|minutes|minute|moments|moment
not|new whitelisted|triplet|yet
intentional policy|rejection|delay|defer
policy temporarily|delay|defer
please retry|resend immediately|in|message|after
liste grise
"""

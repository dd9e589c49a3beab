"""What is said of the way and the machines: no answer, broken off, out of order; and house rules that blame nobody."""

from __future__ import annotations

RETRYABLE = """
delivery temporarily suspended
attempts exceeded|failed|exhausted
number of received
host|domain|name not found try again
connection reset by peer
temporary|temporarily|transient dns|name|lookup|resolution|resolver failure|error|failed|lookup|failing|resolution
temporarily unable to resolve|lookup|verify|process|deliver
number of delivery|retry|transmission? attempts|retries|tries
best preference mx
"""

DELIVERY_AGENT = """
ofr_505
procmail
command|program not found
mailer error
could|can not create|chdir|append
unable to contact|open|reach|query ldap|database|directory
internal|local system|server error
error in redirect|forward|alias data|file|list
unable|can|could to|not open mailbox|mail|mbox file|database
user|recipient|recipients|mailbox|alias|account database|table|map|backend not
find|locate|open|resolve user|recipient|mailbox|alias database|table|map
"""

NOT_A_MEMBER = """
google groups|groupes|grupper|gruppen|gruppi
グループ
restrictedsender
resolver rst authrequired|notauthorized|notauthorizedtogroup|sendernotauthenticatedforgroup|sendernotauthenticatedformailbox
restrictedtorecipientspermission
recipient|mailbox|group|list * not authorized|authorised to
permission|permitted|allowed|authorized|authorised to send|mail|email|write|deliver this? MAIL? to this? group|list|BOX|distribution
permission|permitted|allowed|authorized|authorised to post|submit
delivery not authorized|authorised
only * allowed|authorized|permitted|members|subscribers * send|post
members only
not a? member
not subscribed
authentication|login|auth failed|failure|error * user|account|login|password
user|client authentication|auth
certificate|certificates|key not|unknown|missing|expired
key|certificate for|of recipient|user * not|unknown|missing
invalid|wrong|bad|incorrect login|username|credentials or|and password
"""

RELAY = """
relay|relaying access? NO|not|permitted|disabled|restriction|restrictions|check|attempt
relay|relaying|relayed not|is? allowed|permitted|accepted|authorized|supported|possible
not|no|unable|deny|refuse|can|without|never|disallow|denied permitted|allowed|to|not|accept|authorized|open|will? relay|relaying|relays
unable|not to relay
no|not relay|relaying|relays
not|no we|us|known|open? relay|relays
don|not relay
relay|relaying mail|email|message to|for
for|mail relay|relaying
trying|attempting|use|try|used|using to? use? me|us|this|our? as|server a? relay
not in my? list of allowed rcpthosts
rcpthosts
not|no local|hosted|handled|served|accepted|gateway|final|serviced domain|here|on|by
domain|host not local|here|hosted|accepted|handled|served|ours|configured|allowed|permitted|served|serviced|authorized|in
not accept * for this|that domain|host
not accept mail|email|messages|message for
not responsible|authoritative|configured for
no permission|authorization to relay
tenantattribution
attr
weitergabe|weiterleitung
relais|reexpedition|relayage refuse|interdit|non|pas
denies|deny|rejects|refuses relay
no longer relays|relay|relaying
local user|users|recipient|recipients|domain|domains only
remote|external|foreign domain|domains not supported|allowed|permitted|accepted
"""

LOGIN = """
smtp auth|authentication|authorization required|needed|necessary|first
authentication|authorization|auth|login|password required|needed|necessary|must|failed|unsuccessful|credentials|rejected|invalid
authrequired
requires authentication|authorization|login
must authenticate|log|login|check|auth
pop before smtp
not authenticated|logged
client not authenticated
auth|authentication|authorization|login mode|method|mechanism
turn on|enable smtp? authentication|auth
login|log|logon to|into|in|on imap|pop3|pop
"""

TOO_LATE = """
failing for long time
lookup not complete
name server returned
address family mismatch
communication BROKEN
timed out
timeout|timedout|timeouts
time out
connection refused|reset|dropped|lost|closed|aborted|expired|timed|terminated|broken|interrupted|unavailable|disconnected
connection BROKEN|attempt
lost|broken|dropped|closed|bad|refused connection|pipe|transmission
remote host|server|system|end closed|disconnected|dropped|unavailable|down|not|unreachable
no route to host
no route
host|network|server|system|destination|site|machine|node|mailserver unreachable|down|unreachable|offline|unavailable|not
host|server|network|destination|site|machine * DOWN|responding|respond|reachable|answer|answering|contacted|reached
network unreachable|error|problem|failure|down|congestion|errors
unable|could|can|failed|not not? to? connect|contact|reach|establish|communicate
could|can|able|unable not to? establish|connect|contact|reach
unable|could|can|failed not? to? open a? connection|session|socket|smtp|tcp
establish an? smtp|a connection
BROKEN|unable|attempt|attempts|trying to|in|connecting? connect|connecting|establish|contact|reach|communicate|connection
not accept our? requests to connect
requests to connect
not respond|responding|answer|answering|reachable|reached|responded|answered
no answer|response|reply|contact|connection from|to|with|received|was
retry time
retry time|timeout|limit|count|period|interval|attempts not|exceeded|reached|expired
retries exceeded|exhausted|failed
max|maximum|too|all|many retries|retry|attempts|tries|delivery
after|failed|despite|made|for|attempted|repeated|several|many|number|of|multiple attempts|tries|retries|days|hours
delivery|attempt|attempts failed attempts|after|repeatedly
could|can not deliver|delivered for|after|within|in|since
undelivered for|after|within
not delivered|sent|transferred within|for|after|yet|since
been in|on the? queue too long
in|queue queue|for too long|more|over
queue|queued|holding|spool time|too|for|lifetime|expired|expiration|exceeded|period|longer
giving|given|give up
message|mail|delivery|time|lifetime|email|envelope expired|expiry|expiration|exceeded|timeout
expired|exceeded in|after|before|on|while|max|maximum|its|maximum|time|queue|delivery time|delivery|queue|lifetime|transit|without|being
exceeded max|maximum time|delivery|queue|retry|lifetime
message too old
delivery time|period|timeout|delayed|attempts|temporarily
delayed|delay|delays
deferred too|for|until
dns query|lookup|failure|error|server|timeout|failed|problem|problems|resolution|servfail|temporary|temporarily|records|loop|issue
name server|service failure|error|failed|timeout|not|lookup|unavailable|temporarily
host name? lookup failure|failed|error|timed
nameserver|servfail
domain|dns|host|name|mx|address lookup|resolution|resolving failure|failed|error|failing|problem|timeout
could not be? resolved
too many|exceeded|maximum|max|excessive hops|received|hop|hopcount|forwards|redirects
hop|hops count|limit|exceeded|too
mail|routing|forwarding|message|delivery|forward|redirect|email|alias|mx|possible|local|dns|suspected loop|loops|looping|looped|forwarding
loop|loops|looping detected|back|to|found|error|with|message|local|mail
already|contains|has my|been|its|a delivered|this|here|delivered
delivered to line
maximum hop|hops
networkcongestion|connectiontimeout
connection|link|line|session interrupted|broken|dropped
sent later|once|when
zeituberschreitung|zeitueberschreitung|nicht erreichbar|zugestellt
connexion impossible|refusee|perdue
tiempo de espera|agotado
tempo limite|esgotado|scaduto
connection|session died|dies|vanished
greeting failed|failure
dns look up?
failure in dns
too old
"""
TOO_LATE_IN_CJK = """
タイムアウト
接続できません
超时
连接失败
无法连接
"""

OUT_OF_ORDER = """
mx record|records points|point to local
redirect|forward data|file
unable to switch
file not exist
world writable
retrieve source|credentials
can not process this? message
system|internal|server|local|configuration|config|software|application|database|general|processing BROKEN
backend|unexpected|script|unknown|storage|ldap|io|disk|filesystem|file|write|writing|read|mailer|delivery|protocol|fatal BROKEN
BROKEN in|on|with|while|during|occurred writing|processing|accessing|opening|reading|STORE|server|system|message|delivery|program|script
local configuration|problem|error|delivery
misconfigured|misconfiguration
improperly|incorrectly|not configured
configuration|config problem|wrong|invalid
i|input o|output error
file|system|disk|read system|only|io|full|error
no space left
insufficient|not|low|out|lack|enough|short disk|system|of|on|server|enough disk|storage|memory|resources|space|resource
insufficient system|disk|server|resource|resources storage|space|resources|memory
out of memory|resources|disk|order|service|space
can|could|unable not? to? OPEN STORE|message|user|local
can|could|unable not? to? deliver|find|locate STORE
couldn|can open|create|not? create|write|open|lock|append
failed to open|create|write|append|lock|store|save|deliver|read|fork|execute
write|read|open|append|lock error|failed|failure
permission denied * open|opening|file|directory|mailbox|write|writing
no such file|directory
file|command not found
service|services|HOST|resource|resources|database|backend|facility|function DOWN|not|temporarily|shutting|busy|maintenance
temporarily|currently|momentarily unavailable|down|offline|unable|not|out|disabled
maintenance
upstream|backend|gateway error|failure|unavailable|server
command|program|script|process|filter|pipe|transport BROKEN|died|output|exited|terminated|not|crashed|aborted|time
command returned|unrecognized|unknown
exit|exited|return|status status|code|with|value|nonzero
exited|died|returned|terminated with|on|by status|signal|code|nonzero|error
improper|bad|wrong|invalid|unexpected sequence|command|commands|state
bad sequence
syntax error|errors
UNKNOWN|unsupported|unimplemented|bad command|commands|parameter|parameters|argument|arguments|option|verb|request
command|parameter|option|feature not implemented|recognized|supported|allowed|permitted|understood
not implemented
protocol error|violation|errors|failure
smtp protocol|synchronization|pipelining|syntax
local delivery|mailer failed|error|failure|problem
mail delivery|system|server|transport failed|problem|error|failure|errors
resource|resources temporarily|unavailable|limit|limits|exhausted|not
mailer error
pipe|piped to
maildrop|vdelivermail|vpopmail|deliverquota|lmtp|lmtpd|storedrv|mysql
transport|delivery|routing|mailing|alias|list|aliasing failed|unavailable|error|expansion|failure|loop
temporary|transient|temporarily|temp BROKEN|local|system|server|internal|lookup|database|authentication|rejection
temp|tempfail|temperror
mailbox|user|recipient|account|maildir locked|lock|busy|corrupt|corrupted|permission|temporarily|in|access
mailbox|user temporarily unavailable|locked|busy|inaccessible|disabled
recipient temporarily unavailable
cname|alias|forwarding|list|catch loop|expansion|recursive
unexpected|abnormal|premature failure|end|termination|error|exception|response|close
memory allocation|exhausted|error
queue|spool file|write|full|error
duplicated|duplicate message
loop back warning
bug
queue|spool|storage|directory|ldap DOWN|full
"""

HOUSE_RULES = """
access|connection|permission|traffic|transaction|request|service to? NO
policy|policies
security policy|policies|reasons|reason|violation|restrictions
administrative|administratively
certificate
administratively denied|prohibited|rejected|blocked
prohibited|prohibit|prohibits|forbidden|forbids|disallowed|unauthorized|unauthorised
not allowed|permitted|authorized|authorised|welcome|wanted
message|mail|email|messages|emails|delivery refused|rejected|denied|blocked|bounced
server refused to talk to me
restricted|restriction|restrictions
mx only
envelope NO
"""

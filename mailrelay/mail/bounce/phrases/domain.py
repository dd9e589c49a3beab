"""What is said of a recipient's domain: not there, or not for mail."""

from __future__ import annotations

NO_MAIL = """
could|can not find a mail exchanger
malformed or unexpected name server reply
not accept|receive any? mail|email
domain|host not accept
null|nullmx mx
nullmx
domain|host|server|machine|site|system not accept|receive|handle|take|accepting|receiving any? mail|email|emails|incoming|messages|smtp
domain|host|server|machine|site|system never accepts|accept|receives|receive mail|email
domain|host accepts no mail|email|emails
domain|address|host not used|use for mail|email
mx|srv record indicated no smtp service
all relevant mx records point to
domain says|declares|indicates * no|not mail
recipient|destination domain not accept|receive
nimmt keine mail|mails|nachrichten an
n accepte pas * courrier|mail|message|email
"""

NOT_THERE = """
destination|mail server * not found
recipient|recipients|destination|target|email domain|host not|unknown|nonexistent|invalid exist|found|valid|known
recipient|recipients|destination|target|email domain|host unknown|nonexistent|invalid
recipient|recipients|destination domain|host * not exist|found
address has * unknown domain
non existent|existing|existant|exist domain|host|hostname|hosts
domain not reachable * check|verify domain
nonexistent domain|host|hostname|hosts
unknown domain
no such domain|host
domain not exist|exists|found
"""

OUT_OF_REACH = """
can not route to
invalid domain name
domain not reachable
not find a gateway
"""

UNKNOWN = """
no mx found
no route found to domain
no matches to nameserver query
host|domain|hostname|node|server unknown|notfound|nonexistent|unresolvable|unrouteable|unroutable|invalid
host|domain|hostname|node|domains not found|exist|exists|known|resolvable|registered|resolve|exists|valid
host|domain|destination * not exist|exists
host or domain name not found
host|domain name|names not found|resolved|exist
host|domain name invalid|unknown
UNKNOWN|bad|unresolvable|unrouteable|unroutable host|domain|hostname|node|system|server
unknown|nonexistent|invalid|illegal|unresolvable|unrouteable|unroutable|nonexisting|unregistered host|domain|hostname|node
unrouteable|unroutable mail? domain|address
illegal host domain name
no such domain|host|hostname|node|server|name
non existent|existing|existant|exist domain|host|hostname
nxdomain
dns|name nxdomain|nonexistent
no mx|mail|valid|mx|usable record|records|exchanger|exchangers|host|hosts|mx
no|not valid|find|any mx|mail|hosts exchanger|exchangers|hosts|host|records|record
lacks an mx|valid
no mx or|and
not find any? mail|host
not|unable|could|can|to|failed find|resolve|locate|lookup any? mail? exchanger|host|domain|hostname|mx|server
could|can not find any|a mail? host|exchanger|server
can|could|unable|failed not? to? resolve|find * domain|mx
domain|host|hostname|name|address could|can|was not be? resolved|found|located
domain|host|name not resolve|resolves|resolved|resolvable
domain must exist
dns unknown
bad|invalid destination|recipient host|system|domain
no route to domain
address|recipient unresolvable domain|host
unable to route
no address associated with hostname|name|host
name or service not known
nodename nor servname provided
no data record of requested type
valid name no data
wrong|incorrect domain|host
infodomainnonexistent
domainnonexistent
dnsdomainnonexistent
domaine|domain|hote * inconnu|inexistant|introuvable|invalide|existe
domain|host|domane|domaene|rechner * unbekannt|existiert|nicht
dominio|servidor * desconocido|inexistente|existe|encontrado|desconhecido|sconosciuto|esiste|invalido
domein * onbekend|bestaat
домен * не|существует|найден
dns hard error
domena|domen neexistuje|neznama|bulunamadi
no mx for|at|in|of
"""
UNKNOWN_IN_CJK = """
域名不存在
域名无法解析
找不到域
ドメインが見つかり
ドメインが存在
"""

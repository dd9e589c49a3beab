"""Words that are asked last, after the exact status: they stand in many sentences and prove little on their own."""

from __future__ import annotations

UNKNOWN = """
user|recipient|mailbox|account|addressee|address * unknown
several matches found
not exist|exists|found|known|registered|recognized|recognised|valid|existing
no longer exist|exists|valid|in|available|on|with|employed|accepts|here|used|active
nonexistent
non existent
unknown to
not in our|my
check|verify if? address correct|spelling
not present in
do not know
unbekannt
existiert nicht
nicht gefunden|bekannt|vorhanden
inconnu|inconnue
n existe pas
no|nao existe
non esiste
desconocido|desconhecido|inexistente|inesistente|sconosciuto|onbekend|okand|ukendt|nieznany
bestaat niet
не существует|найден
not used
bounced address
"""

INACTIVE = """
suspended|disabled|inactive|deactivated|discontinued
"""

SENDER = """
your ip|host|server|isp|network|domain
ip address been|not|rejected
"""

RECIPIENT = """
recipient|recipients|rcpt|user|mailbox|addressee|address rejected|refused|denied
address rejected|refused|denied
invalid|bad rcpt|recipients|recipient
"""

LATER = """
try again|later
retry later|again
again later
later
temporary|temporarily|transient
"""

REFUSED = """
rejected|reject|rejects|rejection
refused|refuse|refuses|refusing
denied|deny
declined
blocked|block|blocking|blocks
not accepted|accept|acceptable|deliverable
bounced
filter|filtered|filtering
abgelehnt|verweigert|blockiert|zuruckgewiesen|zurueckgewiesen
refuse|rejete|rejetee|bloque
rechazado|rechazada|bloqueado|denegado
rejeitado|rejeitada|recusado|recusada|negado
rifiutato|rifiutata|respinto|respinta|bloccato
geweigerd|geblokkeerd
отклонено|отказано|заблокировано
"""

"""Words that patterns share, under a name in capitals: `WHO UNKNOWN` is "user unknown", "mailbox invalid" and all the others."""

from __future__ import annotations

CLASSES = {
    "WHO": """
        user users username userid recipient recipients mailbox inbox account address addresses addressee alias customer subscriber member
        login mailname email mbox
        """,
    "BOX": "mailbox inbox account user recipient folder",
    "UNKNOWN": """
        unknown invalid nonexistent nonexisting nonexist unrecognized unrecognised undeliverable unregistered deleted removed notfound gone
        bogus illegal incorrect wrong
        """,
    "KNOWN": """
        found exist exists existed existing known valid recognized recognised registered present local listed deliverable here
        """,
    "OFF": """
        disabled disable suspended inactive inactivated deactivated locked frozen expired closed discontinued terminated dormant paused
        quarantined hangup barred decommissioned
        """,
    "MAIL": "message messages mail mails email emails",
    "LETTER": "message mail email attachment attachments file data body content letter",
    "OVER": "exceeds exceeded exceeding exceed over above beyond larger bigger greater longer",
    "NO": """
        rejected reject rejects refused refuse refuses denied deny blocked prohibited forbidden banned unauthorized unauthorised disallowed
        dropped closed barred
        """,
    "UNWANTED": """
        inappropriate objectionable unacceptable suspicious unsafe undesirable offensive malformed dangerous harmful illegal bad questionable
        unwanted disallowed restricted rejected blocked refused denied banned prohibited forbidden
        """,
    "BROKEN": "error errors failure failures failed problem problems fault exception bug trouble crash",
    "HOST": "host server system network destination site machine mailserver",
    "DOWN": "unreachable down offline unavailable unresponsive",
    "LOAD": """
        connection connections session sessions message messages mail mails email emails recipient recipients rcpt transactions commands
        requests errors
        """,
    "OPEN": """
        open create write append lock stat access read fork allocate exec execute chdir save store rename make link update
        """,
    "STORE": """
        file mailbox directory lock spool maildir folder home output temp temporary queue mail database inbox mailfile command disk
        """,
}

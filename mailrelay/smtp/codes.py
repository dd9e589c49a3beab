"""What mailrelay says in SMTP, by name: code, enhanced status (RFC 3463, RFC 5248), a sentence a person can act on.

Refusals reach an author inside another server's bounce, without anything around them: each says what to do (I24).
"""

from __future__ import annotations

from datetime import date

from mailrelay.model.reply import Reply, reply

# --- going well
OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
RESET_OK = reply(250, "2.0.0", "Forgotten; ready for a new message")
GOODBYE = reply(221, "2.0.0", "Goodbye")
READY_FOR_TLS = reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = reply(235, "2.7.0", "Authentication succeeded")
SEND_DATA = Reply(354, None, ("Send the message; end it with a line that holds only a dot",))
CANNOT_VERIFY = reply(252, "2.5.0", "Addresses are not verified here; send the message and see")
HELP = reply(214, "2.0.0", "This is mailrelay; the commands are those of RFC 5321")

# --- recipients (I1, S21: unknown and revoked say the same)
NO_SUCH_DROPBOX = reply(
    550,
    "5.1.1",
    "No such dropbox address here; copy your current address from the CRM's mail settings and send again",
)
NO_SUCH_ADDRESS = reply(550, "5.1.1", "No such address here; check how it is spelled and send again")
NO_SUCH_RETURN_PATH = reply(
    550, "5.1.1", "No such return address here; only a mail that this server sent can be returned to it"
)
RELAY_DENIED = reply(
    550,
    "5.7.1",
    "This server does not pass mail on to other domains; send it through your own outgoing mail server",
)
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients in one message; send to the rest in another one")
NO_VALID_RECIPIENTS = reply(554, "5.5.1", "No recipient was accepted, so there is nobody to send the message to")
NULL_MX = reply(556, "5.1.10", "The recipient's domain takes no mail at all; check the address")
NULL_MX_SENDER = reply(550, "5.7.27", "The sender's domain takes no mail at all; use an address that can be answered")

# --- senders
SENDER_NOT_PERMITTED = reply(
    550, "5.7.1", "You may not send as this address; use one of your own or ask your administrator"
)
NOT_PERMITTED = reply(550, "5.7.1", "This is not permitted; ask your administrator")

# --- size and content
TOO_LARGE = reply(
    552, "5.3.4", "The message is larger than this server takes; send it with fewer or smaller attachments"
)
NO_SPACE = reply(452, "4.3.1", "This server is short of disk space; try again later")
HEADER_TOO_LARGE = reply(
    552,
    "5.3.4",
    "The header of the message is larger than this server takes; send it with fewer or shorter header fields",
)
BARE_NEWLINE = reply(
    550, "5.5.2", "The message holds a CR or LF that is not part of CRLF; the sending program must end lines with CRLF"
)
LINE_TOO_LONG = reply(
    500,
    "5.5.2",
    "The message holds a line of over 998 characters; the sending program must break or encode its lines",
)
NUL_IN_MESSAGE = reply(550, "5.6.0", "The message holds a NUL character; the sending program must encode its content")
TOO_MANY_HOPS = reply(
    554,
    "5.4.6",
    "The message has passed through too many servers or here before: a mail loop; check the forwarding rules",
)
CONVERSION_NOT_POSSIBLE = reply(
    554, "5.6.3", "The message needs 8-bit transport that the next server lacks, and it may not be converted"
)
SMTPUTF8_NOT_POSSIBLE = reply(
    553, "5.6.7", "An address holds characters beyond ASCII, which the next server does not take (SMTPUTF8)"
)

# --- the dialogue
LINE_SYNTAX = reply(501, "5.5.2", "The command holds bytes that are not allowed in it")
COMMAND_TOO_LONG = reply(500, "5.5.2", "The command line is too long")
COMMAND_LINE_END = reply(500, "5.5.2", "The command does not end with CRLF")
COMMAND_UNKNOWN = reply(500, "5.5.2", "Unknown command")
COMMAND_NOT_OFFERED = reply(502, "5.5.1", "This command is not offered here")
SYNTAX = reply(501, "5.5.4", "The command's argument is not understood")
NO_ARGUMENT_ALLOWED = reply(501, "5.5.4", "This command takes no argument")
BAD_SEQUENCE = reply(503, "5.5.1", "Not possible at this point; commands come in the order EHLO, MAIL, RCPT, DATA")
HELLO_FIRST = reply(503, "5.5.1", "Say EHLO first")
MAIL_FIRST = reply(503, "5.5.1", "Say MAIL first")
NESTED_MAIL = reply(503, "5.5.1", "A message is already begun; end it, or say RSET")
EARLY_TALKER = reply(554, "5.5.0", "Data came before this server's answer; the sending program must wait for it")
UNKNOWN_PARAMETER = reply(555, "5.5.4", "This parameter is not offered here")
TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors in one session; goodbye")

# --- TLS and AUTH
TLS_REQUIRED = reply(530, "5.7.0", "Say STARTTLS first")
TLS_ALREADY = reply(503, "5.5.1", "TLS is already in use")
TLS_UNAVAILABLE = reply(454, "4.7.0", "TLS is not available for now; try again later")
AUTH_REQUIRED = reply(530, "5.7.0", "Log in first (AUTH) to send through this server")
AUTH_NEEDS_TLS = reply(538, "5.7.11", "Log in only over TLS: say STARTTLS first or use the port for implicit TLS")
AUTH_FAILED = reply(535, "5.7.8", "Wrong user name or password, or the account may not send")
AUTH_ALREADY = reply(503, "5.5.1", "You are already logged in")
AUTH_CANCELLED = reply(501, "5.7.0", "Authentication cancelled")
AUTH_MALFORMED = reply(501, "5.5.2", "The response is not valid base64 of what the mechanism asks")
AUTH_TOO_LONG = reply(501, "5.5.6", "The response is longer than any that the mechanism needs")
AUTH_MECHANISM = reply(504, "5.5.4", "This mechanism is not offered; use PLAIN or LOGIN over TLS")
AUTH_UNAVAILABLE = reply(454, "4.7.0", "Logging in is not possible for now; try again later")

# --- our own trouble: always "later", never final (S20, D05, D06, D10)
LOCAL_ERROR = reply(451, "4.3.0", "An error on our side; nothing was taken, try again later")
TOO_SLOW_TO_STORE = reply(451, "4.3.0", "The message could not be stored in time; nothing was taken, try again later")
SHUTTING_DOWN = reply(421, "4.3.2", "This server is restarting; connect again in a moment")
OVERLOADED = reply(421, "4.3.2", "This server is too busy; connect again later")
TOO_MANY_CONNECTIONS = reply(421, "4.7.0", "Too many connections from your address; connect again later")
IDLE_TOO_LONG = reply(421, "4.4.2", "Nothing came for too long; goodbye")
TOO_SLOW = reply(421, "4.4.2", "The message came too slowly; goodbye")


def address_over(last_day: date) -> Reply:
    """The address of a record that was valid until a day, which is past: only who was given it hears this (I21)."""
    return reply(
        550, "5.1.1", f"This address was valid until {last_day:%Y-%m-%d}; ask whoever gave it to you for a new one"
    )


def queued(queue_id: str) -> Reply:
    """The 250 after the final dot: from here on the message is ours (O1, O19)."""
    return reply(250, "2.0.0", f"queued as {queue_id}")


def too_large(*, limit: int, size: int | None = None) -> Reply:
    """TOO_LARGE with the figures, in octets; `size` when it is known (O4)."""
    what = "The message is larger" if size is None else f"The message has {size} bytes, more"
    return reply(552, "5.3.4", f"{what} than the {limit} bytes this server takes; send it with less attached")

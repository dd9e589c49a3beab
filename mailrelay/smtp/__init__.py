"""SMTP without sockets: what the edge and the outgoing connection share; bytes in, values out (RFC 5321)."""

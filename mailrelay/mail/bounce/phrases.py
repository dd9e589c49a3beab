"""What the world's mail systems write when they refuse, by what it means: data for `category`, nothing else.

One phrase a line, in lower case, with addresses, reply codes and statuses left out of what it is compared with; ` * ` stands for
anything between. Groups are asked in order and the first that holds decides, so what is exact stands before what is vague.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailrelay.model.feedback import Category, Fault


@dataclass(frozen=True, slots=True)
class Group:
    """Phrases of one meaning, each as the pieces that must follow one another."""

    category: Category
    fault: Fault
    phrases: tuple[tuple[str, ...], ...]


def _group(category: Category, fault: Fault, text: str) -> Group:
    lines = (line.strip() for line in text.splitlines())
    return Group(category, fault, tuple(tuple(line.split(" * ")) for line in lines if line))


GROUPS: tuple[Group, ...] = (
    # What is certain wherever it stands, before words that also stand beside other meanings.
    _group(
        Category.POLICY,
        Fault.SENDER,
        """
        sender address rejected
        sender verify failed
        sender verification failed
        sender rejected
        user complaints
        """,
    ),
    _group(
        Category.POLICY,
        Fault.NEITHER,
        """
        """,
    ),
    _group(
        Category.TIMEOUT,
        Fault.NEITHER,
        """
        host not found, try again
        connection reset by peer
        """,
    ),
    _group(
        Category.SYSTEM,
        Fault.NEITHER,
        """
        procmail:
        command not found
        file not found
        couldn't create
        mailer error
        internal system error
        ldap
        """,
    ),
    _group(
        Category.CONTENT,
        Fault.NEITHER,
        """
        blacklisted url
        blacklisted link
        url * blacklisted
        uribl
        surbl
        virus detected
        """,
    ),
    _group(
        Category.RATE_LIMITED,
        Fault.NEITHER,
        """
        frequency limited
        greylist
        graylist
        grey list
        unusual rate
        sending quota
        receiving mail at a rate
        receiving mail too quickly
        ip frequency
        """,
    ),
    _group(
        Category.USER_UNKNOWN,
        Fault.RECIPIENT,
        """
        user unknown
        unknown user
        no such user
        user not found
        user does not exist
        not listed in * directory
        recipientnotfound
        recipnotfound
        mailbox does not exist
        """,
    ),
    _group(
        Category.TOO_LARGE,
        Fault.NEITHER,
        """
        message size exceeds
        message too large
        message is too large
        message too big
        message was too big
        exceeds * size limit
        exceeds size limit
        size limit exceeded
        maximum message size
        message length exceeds
        message file too big
        exceeds the maximum * size
        mail size limit
        larger than the * limit
        message header size exceeds
        mail is too large
        mail too big
        nachricht ist zu gro
        message trop volumineux
        """,
    ),
    _group(
        Category.MAILBOX_FULL,
        Fault.RECIPIENT,
        """
        mailbox full
        mailbox is full
        mailbox * is full
        mailbox exceeded
        mailbox exceeds
        mailbox size limit
        exceeded storage
        exceeded * quota
        exceeds * quota
        exceed * quota
        out of storage
        over quota
        overquota
        over * quota
        over disk quota
        overdrawn
        quota exceed
        quota has been exceeded
        quota violation
        quota full
        quota for * exceeded
        quota is full
        disk quota
        disk full
        inbox is full
        inbox full
        storage quota
        insufficient storage
        storage limit
        not enough storage
        not enough space
        no space left for
        too much mail data
        too many messages in
        maildir delivery failed: * disk quota
        mailbox * limit
        mailfolder is full
        user has too many messages
        recipient * mailbox is full
        exceeded the space limit
        unable to accept mail because it is full
        mailbox has exceeded
        maximum allowed storage
        postfach ist voll
        postfach * voll
        speicherplatz * erreicht
        kontingent
        boîte * pleine
        boite * pleine
        buzón lleno
        casella piena
        caixa * cheia
        mailbox vol
        mailquota
        メールボックスがいっぱい
        容量
        邮箱已满
        """,
    ),
    # Who is blamed for how they send: the domain's set-up and name, never the recipient (I11).
    _group(
        Category.POLICY,
        Fault.SENDER,
        """
        spf check
        spf record
        spf fail
        spf hard
        spf validation
        by spf
        domain's spf
        spf policy
        due to spf
        sender policy framework
        openspf
        spf.pobox
        dmarc
        dkim
        unauthenticated email
        unauthenticated mail
        unauthenticated sender
        not have authentication information
        authentication checks
        sender authentication
        failed authentication
        sender id
        purported responsible
        not allowed to send from
        not authorized to send
        not permitted to send
        ptr record
        no ptr
        dns ptr
        missing ptr
        reverse dns
        rdns
        reverse lookup
        reverse hostname
        reverse host
        cannot find your hostname
        cannot find your reverse
        unable to lookup * hostname
        ip name lookup failed
        mismatches client ip
        cannot resolve your * address
        client host rejected: cannot find
        helo command rejected
        invalid helo
        bad helo
        helo name
        low reputation
        bad reputation
        poor reputation
        reputation of
        your reputation
        sender reputation
        ip reputation
        senderscore
        reputation
        blacklist
        black list
        blocklist
        block list
        blocked using
        dnsbl
        spamhaus
        spamcop
        is listed
        are listed
        was listed
        been listed
        listed in spam
        sorbs
        barracudacentral
        /rbl
        rbl/
        rbl:
        in rbl
        an rbl
        proofpoint.com/dnsbl
        banned sending ip
        banned ip
        blocked ip
        ip address * blocked
        ip address has been
        ip has been blocked
        your ip
        your host
        part of their network is on our block list
        client host * blocked
        client host rejected
        bad sender ip
        may not be mail exchanger
        not a mail exchanger
        dynamic ip
        dynamic address
        dynamically assigned
        generic reverse
        access denied, banned
        requires tls
        must issue a starttls
        tls required
        starttls required
        tls is required
        without tls
        encryption required
        session encryption is required
        sender address rejected
        sender rejected
        sender denied
        sender domain
        sender address
        sender verify failed
        sender verification
        sender is not
        domain of sender
        sending domain
        from address * rejected
        mailfrom domain
        mail from domain
        return-path rejected
        envelope sender
        service refuse
        not accept mail from
        not accept email from
        rejecting mail from
        rejected mail from
        refused mail from
        connections not accepted from
        """,
    ),
    _group(
        Category.CONTENT,
        Fault.NEITHER,
        """
        virus
        infected
        malware
        phish
        spamsignature
        scored as spam
        considered spam
        considered as spam
        looks like spam
        identified as spam
        classified as spam
        detected as spam
        marked as spam
        flagged as spam
        appears to be spam
        is spam
        likely spam
        suspected spam
        unsolicited
        spam message
        spam detected
        spam content
        spam score
        spam-like
        - spam
        as spam
        spamassassin
        this looks like junk
        junk mail
        junkmail
        bulk mail
        content rejected
        content reject
        content denied
        content filter
        content check
        content scanner
        message content
        blocked content
        blacklisted url
        malformed header
        malformed message
        malformed mime
        malformed mail
        duplicate header
        bare lf
        improper use of 8-bit
        8-bit data in
        not rfc
        rfc 5322
        rfc5322
        rfc 2822
        header error
        invalid header
        bad header
        """,
    ),
    _group(
        Category.RATE_LIMITED,
        Fault.NEITHER,
        """
        greylist
        graylist
        grey list
        too many connections
        too many concurrent
        too many sessions
        too many recipients
        too many messages
        too many emails
        too many mails
        too much mail
        too many errors
        connection rate
        rate limit
        rate-limit
        ratelimit
        rate is limited
        exceeded * rate
        sending rate
        frequency limited
        connection frequency
        unusual rate
        throttl
        deferred due to user complaints
        temporarily deferred
        connection limit
        max connections
        maximum connections
        number of connections
        concurrent connections
        slow down
        too fast
        exceeded the maximum number of
        daily * limit
        hourly * limit
        message limit
        """,
    ),
    _group(
        Category.POLICY,
        Fault.NEITHER,
        """
        access denied, traffic
        authrequired
        authentication required
        authentication is required
        policy violation
        policy reason
        policy reject
        denied by policy
        by policy
        local policy
        due to policy
        security polic
        for policy
        against policy
        company policy
        violates * policy
        rejected due to * polic
        illegal attachment
        presents a potential
        prohibited attachment
        attachment type
        blocked attachment
        attachment not allowed
        relay access denied
        relaying denied
        relay denied
        relaying not allowed
        relay not permitted
        relaying not permitted
        not permitted to relay
        relaying is prohibited
        relay is prohibited
        unable to relay
        relay not allowed
        we do not relay
        don't relay
        relaying mail to
        not a relay
        open relay
        no relaying
        not a known relay
        is not allowed to relay
        that domain isn't in my list of allowed rcpthosts
        rcpthosts
        weitergabe
        multiple addresses in from
        messages with multiple
        restrictedsender
        restricted sender
        not authorized
        unauthorized
        permission denied by
        message refused
        server refused to talk to me
        you are not allowed
        message rejected
        email rejected
        mail rejected
        """,
    ),
    _group(
        Category.INACTIVE,
        Fault.RECIPIENT,
        """
        account disabled
        account is disabled
        account has been disabled
        account * been disabled
        account that you tried to reach is disabled
        account that you tried to reach is inactive
        account is inactive
        account inactive
        account * inactive
        account suspended
        account is suspended
        account has been suspended
        account * suspended
        account is locked
        account has been locked
        account expired
        account * expired
        account deactivated
        account has been deactivated
        account closed
        account has been closed
        account is not active
        account not active
        account is temporarily
        disabled or discontinued
        mailbox disabled
        mailbox is disabled
        mailbox * disabled
        mailbox is inactive
        mailbox inactive
        mailbox * inactive
        mailbox is suspended
        mailbox suspended
        mailbox * suspended
        mailbox is locked
        mailbox locked
        mailbox is frozen
        mailbox is blocked
        mailbox currently suspended
        mailbox not active
        user is inactive
        user inactive
        user account is overdrawn
        user is suspended
        user suspended
        user disabled
        user is disabled
        user is deactivated
        inactive user
        inactive email
        inactive account
        inactive recipient
        inactive mailbox
        address is no longer active
        recipient is inactive
        recipient suspended
        recipient disabled
        disabled recipient
        domain is suspended
        domain suspended
        domain has been suspended
        temporarily disabled
        temporarily blocked mailbox
        customer account suspended
        not accepting mail * suspended
        is currently suspended
        permanently suspended
        konto * gesperrt
        konto * deaktiviert
        """,
    ),
    _group(
        Category.NO_MAIL_HOST,
        Fault.RECIPIENT,
        """
        null mx
        couldn't find a mail exchanger
        nullmx
        does not accept mail
        doesn't accept mail
        does not accept email
        doesn't receive email
        does not receive mail
        does not receive email
        domain does not accept
        host does not accept
        smtp protocol violation by * does not
        name service error * malformed or unexpected name server reply
        """,
    ),
    _group(
        Category.HOST_UNKNOWN,
        Fault.RECIPIENT,
        """
        host unknown
        unknown host
        host not found
        host or domain name not found
        domain name not found
        domain not found
        domain does not exist
        domain doesn't exist
        domain is not reachable
        domain must exist
        unknown domain
        domain unknown
        unrouteable mail domain
        unroutable mail domain
        unrouteable domain
        unroutable domain
        unrouteable address
        unroutable address
        no such domain
        no such host
        non-existent domain
        nonexistent domain
        non-existent host
        non existent domain
        nxdomain
        name server: * host not found
        couldn't find any host named
        could not find any host
        couldn't find any mail
        can't find a mail exchanger
        no mail exchanger
        no mx record
        no mx or a
        no valid mx
        lacks an mx
        host name is unknown
        destination domain * not exist
        recipient domain * not exist
        recipient's domain * not exist
        recipient address has * unknown domain
        unable to find host
        no route to domain
        illegal host/domain
        bad destination host
        bad destination system
        dns unknown
        dns lookup fail
        dns lookup returned
        unresolvable
        all relevant mx records point to non-existent hosts
        name or service not known
        domain nicht
        domain inconnu
        domaine inconnu
        """,
    ),
    _group(
        Category.FILTERED,
        Fault.RECIPIENT,
        """
        recipient preferences
        because the recipient has
        due to extended inactivity new mail
        not accept * from you
        user has blocked
        user reject
        user refuses
        user refused
        recipient refuses
        recipient has rejected
        recipient is not accepting
        user is not accepting
        rejected by recipient
        blocked by recipient
        blocked by the recipient
        declined by the recipient
        recipient's filter
        allowed list
        permitted senders
        not on the recipient's
        mailing to this
        mailbox unavailable or access denied
        restricted address
        message filtered
        message was filtered
        filtered by
        """,
    ),
    _group(
        Category.USER_UNKNOWN,
        Fault.RECIPIENT,
        """
        user unknown
        unknown user
        userunknown
        no such user
        no such account
        no such address
        no such mailbox
        no such recipient
        no such person
        no such local
        no such email
        no such customer
        no such id
        no such name
        nosuchuser
        no account by that
        no account with
        no longer valid
        no longer on server
        no longer in use
        no longer exist
        no longer available
        no longer accepts
        no longer with
        no longer employed
        not a valid
        not our customer
        not a user
        not a local
        not a known
        not known here
        not known at this
        not known to
        not a registered
        not registered
        not found
        notfound
        not exist
        not exists
        not listed in
        not in our
        not in directory
        not in address book
        not in mailbox
        not present in
        not a mailbox
        non-existent
        non existent
        nonexistent
        does not have an account
        doesn't have an account
        doesn't exist
        don't exist
        don't know
        do not know
        user invalid
        user is unknown
        user has no
        username is not
        unknown account
        unknown recipient
        not valid
        not recognized
        not recognised
        no mailbox here
        no mailbox by
        no mailbox for
        no user by
        no user here
        no user with
        no valid recipients
        user not local
        mailbox name not allowed
        user doesn't have a
        address error
        doesn't have a yahoo
        unknown address
        unknown local
        unknown email
        unknown mailbox
        unknown or illegal
        unknown to
        invalid recipient
        invalid address
        invalid user
        invalid mailbox
        invalid email
        invalid final
        invalid local
        recipient unknown
        recipient invalid
        recipient no longer
        recipient address unknown
        recipient address is
        recipient cannot be verified
        recipients invalid
        bad recipient
        bad address
        bad destination mailbox
        bad user
        address unknown
        address invalid
        address is unknown
        address is invalid
        address no longer
        address you * is not
        addressee unknown
        mailbox unknown
        mailbox unavailable
        mailbox is unavailable
        mailbox name not
        mailbox * not found
        mailbox invalid
        account unknown
        account is unavailable
        account has been deleted
        account has been removed
        account deleted
        ambiguous recipient
        is unknown
        deleted user
        has moved
        has left
        can't be found
        cannot be found
        could not be found
        couldn't be found
        undeliverable address
        verify address failed
        unable to verify
        destination addresses were unknown
        there is no one here
        this address no longer
        vrfy
        unbekannt
        existiert nicht
        empfänger unbekannt
        adressat unbekannt
        kein benutzer
        kein solche
        nicht gefunden
        inconnu
        n'existe pas
        destinataire invalide
        no existe
        desconocido
        usuario desconocido
        usuário
        não existe
        inexistente
        sconosciut
        inesistente
        onbekend
        bestaat niet
        okänd
        ukendt
        nieznany
        не существует
        не найден
        見つかりません
        存在しません
        不存在
        """,
    ),
    _group(
        Category.TIMEOUT,
        Fault.NEITHER,
        """
        timed out
        timeout
        time out
        connection refused
        connection reset
        connection dropped
        connection lost
        connection closed
        connection expired
        lost connection
        remote host closed
        broken pipe
        no route to host
        host unreachable
        host is unreachable
        network is unreachable
        network unreachable
        network error
        unable to connect
        could not connect
        couldn't connect
        couldn't establish
        cannot connect
        can't connect
        failed to connect
        establish an smtp connection
        not accept our requests to connect
        did not respond
        not responding
        no answer from
        retry time
        retry timeout
        could not be delivered for
        could not be delivered after
        not been delivered for
        undelivered for
        been in the queue too long
        been in queue too long
        in the queue too long
        giving up
        given up
        message expired
        expired
        too old
        delivery time
        deferred too
        dns query failed
        dns failure
        temporary dns
        name server failure
        host name lookup failure
        name service error
        servfail
        could not be resolved
        try again
        too many hops
        too many received
        mail loop
        mail forwarding loop
        routing loop
        loops back
        loop detected
        forwarding loop
        hop count
        maximum hop
        """,
    ),
    _group(
        Category.SYSTEM,
        Fault.NEITHER,
        """
        system error
        internal error
        server error
        local error
        configuration error
        config error
        local configuration
        i/o error
        input/output error
        file system
        no space left
        insufficient disk
        insufficient system
        out of memory
        cannot open
        can't open
        couldn't create
        can't create
        unable to create
        cannot create
        write error
        service unavailable
        service not available
        service currently unavailable
        temporarily unavailable
        upstream error
        command failed
        command died
        command output
        command rejected
        improper sequence
        bad sequence
        syntax error
        unrecognized command
        not implemented
        local delivery failed
        resources temporarily
        resource
        exit status
        exited with
        mailer error
        mail system problem
        pipe to
        procmail
        maildrop
        transport failed
        temporary failure
        temporary error
        lmtp
        """,
    ),
    _group(
        Category.POLICY,
        Fault.NEITHER,
        """
        access denied
        access refused
        not allowed
        not permitted
        prohibit
        forbidden
        """,
    ),
    _group(
        Category.USER_UNKNOWN,
        Fault.RECIPIENT,
        """
        recipient address rejected
        recipient rejected
        address rejected
        @ rejected
        """,
    ),
    _group(
        Category.POLICY,
        Fault.NEITHER,
        """
        not accepted
        blocked
        rejected
        refused
        denied
        declined
        policy
        """,
    ),
)

"""Domains that cover others, and the public mail domains, which say nothing about whom somebody works for (I4, I5)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mailrelay.model.address import Address


def covering(domain: str, listed: Collection[str]) -> str:
    """The entry of `listed` that `domain` is, or is below; "" when there is none. All are lower-case A-labels."""
    return next((one for one in upwards(domain) if one in listed), "")


def upwards(domain: str) -> Iterator[str]:
    """A domain, then what it is below: `a.b.test`, `b.test`, `test`."""
    while domain:
        yield domain
        _, _, domain = domain.partition(".")


def is_public(domain: str) -> bool:
    """Whether anybody can have an address there: an account never matches by such a domain."""
    return bool(covering(domain, PUBLIC_MAIL_DOMAINS))


def is_beside(domain: str, other: str) -> bool:
    """Whether one domain is the other, or below it: as `mx.b.test` and `b.test`, whose mail is one house's."""
    return other in upwards(domain) or domain in upwards(other)


def is_one_of(address: Address, keys: Collection[str]) -> bool:
    """Whether `keys` name an address, or somebody at its domain where not anybody can have an address."""
    if address.key in keys:
        return True
    return not is_public(address.domain) and any(key.rpartition("@")[2] == address.domain for key in keys)


PUBLIC_MAIL_DOMAINS = frozenset(
    """
    gmail.com googlemail.com outlook.com hotmail.com live.com msn.com passport.com windowslive.com
    hotmail.co.uk hotmail.fr hotmail.de hotmail.it hotmail.es hotmail.be hotmail.nl hotmail.se hotmail.no hotmail.dk hotmail.fi
    hotmail.gr hotmail.ch hotmail.com.br hotmail.com.ar hotmail.com.mx hotmail.com.tr hotmail.co.jp hotmail.co.th hotmail.co.il
    hotmail.co.za hotmail.ca hotmail.com.au hotmail.hu hotmail.cl
    live.co.uk live.fr live.de live.it live.nl live.be live.ca live.se live.no live.dk live.fi live.at live.ie live.cl live.cn
    live.jp live.com.au live.com.mx live.com.ar live.com.pt live.co.za live.in live.ru live.hk live.com.sg live.com.my
    outlook.fr outlook.de outlook.it outlook.es outlook.be outlook.dk outlook.at outlook.ie outlook.jp outlook.kr outlook.in
    outlook.pt outlook.hu outlook.cz outlook.sa outlook.my outlook.ph outlook.sg outlook.cl outlook.com.br outlook.com.au
    outlook.com.tr outlook.com.ar outlook.com.gr outlook.com.vn outlook.co.th outlook.co.id outlook.co.il
    yahoo.com ymail.com rocketmail.com myyahoo.com yahoo.co.uk yahoo.fr yahoo.de yahoo.it yahoo.es yahoo.ca yahoo.in yahoo.ie
    yahoo.se yahoo.no yahoo.dk yahoo.gr yahoo.nl yahoo.be yahoo.pl yahoo.ro yahoo.co.jp yahoo.ne.jp ybb.ne.jp yahoo.co.in yahoo.co.id
    yahoo.co.kr yahoo.co.nz yahoo.co.th yahoo.co.za yahoo.com.br yahoo.com.ar yahoo.com.mx yahoo.com.au yahoo.com.cn yahoo.cn
    yahoo.com.hk yahoo.com.tw yahoo.com.sg yahoo.com.my yahoo.com.ph yahoo.com.vn yahoo.com.tr yahoo.com.co yahoo.com.pe
    yahoo.com.ve yahoo.cl
    aol.com aol.co.uk aol.de aol.fr aim.com aolmail.com netscape.net compuserve.com cs.com love.com verizon.net
    icloud.com me.com mac.com privaterelay.appleid.com
    proton.me protonmail.com protonmail.ch pm.me tutanota.com tutanota.de tuta.com tuta.io tutamail.com keemail.me
    fastmail.com fastmail.fm fastmail.net fastmail.co.uk fastmail.de fastmail.us fastmail.jp fastmail.org messagingengine.com sent.com
    hey.com skiff.com hushmail.com hush.com hushmail.me mailfence.com runbox.com posteo.de posteo.net posteo.at posteo.eu posteo.org
    mailbox.org startmail.com disroot.org riseup.net countermail.com kolabnow.com ctemplar.com zoho.com zohomail.com zohomail.in
    zohomail.eu zoho.in migadu.com librem.one autistici.org inventati.org duck.com mozmail.com simplelogin.com slmail.me
    anonaddy.com anonaddy.me addy.io
    gmx.com gmx.de gmx.net gmx.at gmx.ch gmx.eu gmx.org gmx.info gmx.biz gmx.us gmx.co.uk gmx.fr gmx.es gmx.it caramail.com
    web.de email.de freenet.de t-online.de magenta.de arcor.de vodafone.de vodafonemail.de online.de onlinehome.de kabelmail.de
    unitybox.de mail.de firemail.de o2online.de o2mail.de ewetel.net ewe.net osnanet.de netcologne.de versanet.de alice.de
    alice-dsl.de alice-dsl.net freemail.de directbox.com email.com
    mail.com usa.com post.com europe.com asia.com engineer.com consultant.com myself.com dr.com iname.com writeme.com accountant.com
    techie.com email.cz cheerful.com contractor.net execs.com journalist.com lawyer.com musician.org programmer.net workmail.com
    chef.net doctor.com mail-me.com inbox.com
    aon.at chello.at utanet.at a1.net inode.at liwest.at drei.at bluewin.ch hispeed.ch sunrise.ch bluemail.ch swissonline.ch
    quickline.ch vtxmail.ch tele2.ch
    orange.fr wanadoo.fr free.fr sfr.fr neuf.fr laposte.net bbox.fr numericable.fr noos.fr club-internet.fr cegetel.net aliceadsl.fr
    gmx.fr voila.fr tele2.fr numericable.com libertysurf.fr netcourrier.com mailo.com
    orange.net wanadoo.es telefonica.net terra.es ono.com movistar.es ya.com euskaltel.net jazztel.es
    sapo.pt iol.pt mail.telepac.pt netcabo.pt clix.pt meo.pt nos.pt
    libero.it virgilio.it tiscali.it alice.it tin.it tim.it inwind.it iol.it blu.it poste.it email.it fastwebnet.it aruba.it
    pec.it legalmail.it hotmail.it teletu.it vodafone.it infinito.it supereva.it jumpy.it
    btinternet.com btopenworld.com btconnect.com talktalk.net sky.com virginmedia.com virgin.net ntlworld.com blueyonder.co.uk
    tiscali.co.uk plus.com plusnet.com o2.co.uk freeserve.co.uk talk21.com lineone.net fsmail.net cwgsy.net manx.net jersey.net
    eircom.net iol.ie
    ziggo.nl kpnmail.nl kpnplanet.nl planet.nl hetnet.nl home.nl xs4all.nl chello.nl casema.nl upcmail.nl quicknet.nl zonnet.nl
    telfort.nl wxs.nl onsnet.nu solcon.nl caiway.nl tele2.nl hccnet.nl
    telenet.be skynet.be proximus.be scarlet.be pandora.be belgacom.net voo.be
    telia.com comhem.se bredband.net spray.se tele2.se passagen.se swipnet.se bahnhof.se glocalnet.net
    online.no broadpark.no getmail.no lyse.net altibox.no frisurf.no
    mail.dk stofanet.dk tdcadsl.dk jubii.dk ofir.dk webspeed.dk youmail.dk privat.dk get2net.dk
    luukku.com kolumbus.fi elisanet.fi saunalahti.fi suomi24.fi pp.inet.fi welho.com dnainternet.net
    seznam.cz post.cz centrum.cz volny.cz atlas.cz tiscali.cz azet.sk centrum.sk zoznam.sk pobox.sk post.sk
    wp.pl o2.pl interia.pl onet.pl op.pl poczta.onet.pl poczta.fm vp.pl gazeta.pl tlen.pl go2.pl interia.eu onet.eu autograf.pl
    freemail.hu citromail.hu indamail.hu t-online.hu vipmail.hu upcmail.hu
    abv.bg mail.bg dir.bg gbg.bg inbox.lv inbox.lt mail.ee hot.ee online.ee one.lt delfi.lt
    otenet.gr forthnet.gr in.gr freemail.gr windtools.gr
    net.hr inet.hr siol.net email.si t-2.net eunet.rs sezampro.rs mail.ru inbox.ru list.ru bk.ru internet.ru xmail.ru yandex.ru yandex.com
    ya.ru yandex.ua yandex.by yandex.kz narod.ru rambler.ru lenta.ru autorambler.ru myrambler.ru ro.ru pochta.ru ukr.net i.ua meta.ua
    bigmir.net email.ua online.ua tut.by mail.kz
    walla.co.il walla.com bezeqint.net netvision.net.il 012.net.il 013.net barak.net.il zahav.net.il
    mynet.com superonline.com ttmail.com
    qq.com vip.qq.com foxmail.com 163.com vip.163.com 126.com vip.126.com yeah.net 188.com sina.com sina.cn vip.sina.com sohu.com
    vip.sohu.com tom.com 139.com wo.cn 189.cn 21cn.com aliyun.com 263.net eyou.com hainan.net
    naver.com daum.net hanmail.net nate.com kakao.com empas.com korea.com dreamwiz.com paran.com hanafos.com
    docomo.ne.jp ezweb.ne.jp au.com softbank.ne.jp i.softbank.jp nifty.com nifty.ne.jp biglobe.ne.jp ocn.ne.jp so-net.ne.jp
    plala.or.jp dion.ne.jp infoseek.jp excite.co.jp goo.jp mail.goo.ne.jp livedoor.com asahi-net.or.jp hi-ho.ne.jp
    pchome.com.tw hinet.net seed.net.tw giga.net.tw netvigator.com singnet.com.sg pacific.net.sg starhub.net.sg
    rediffmail.com rediff.com indiatimes.com sify.com in.com vsnl.com vsnl.net sancharnet.in bsnl.in
    bol.com.br uol.com.br terra.com.br ig.com.br globo.com globomail.com oi.com.br r7.com zipmail.com.br pop.com.br superig.com.br
    itelefonica.com.br fibertel.com.ar arnet.com.ar speedy.com.ar ciudad.com.ar prodigy.net.mx terra.com terra.com.mx terra.cl vtr.net
    telmex.com une.net.co etb.net.co
    mweb.co.za webmail.co.za telkomsa.net vodamail.co.za iafrica.com absamail.co.za
    bigpond.com bigpond.net.au bigpond.com.au optusnet.com.au iinet.net.au tpg.com.au internode.on.net westnet.com.au dodo.com.au
    ozemail.com.au iprimus.com.au adam.com.au aapt.net.au xtra.co.nz slingshot.co.nz orcon.net.nz paradise.net.nz clear.net.nz
    vodafone.co.nz ihug.co.nz
    comcast.net xfinity.com att.net sbcglobal.net bellsouth.net ameritech.net pacbell.net swbell.net snet.net flash.net prodigy.net
    nvbell.net cox.net charter.net spectrum.net rr.com roadrunner.com twc.com brighthouse.com earthlink.net mindspring.com juno.com
    netzero.net netzero.com optonline.net optimum.net cablevision.com frontier.com frontiernet.net windstream.net centurylink.net
    centurytel.net embarqmail.com qwest.net suddenlink.net mediacombb.net wowway.com rcn.com bresnan.net insightbb.com tds.net
    peoplepc.com excite.com lycos.com hughes.net wildblue.net cableone.net sparklight.net ptd.net epix.net zoominternet.net
    rogers.com bell.net sympatico.ca shaw.ca telus.net videotron.ca cogeco.ca eastlink.ca mts.net sasktel.net aliant.net nbnet.nb.ca
    ns.sympatico.ca hotmail.ca teksavvy.com primus.ca
    mailinator.com guerrillamail.com 10minutemail.com yopmail.com trashmail.com trashmail.de tempmail.com temp-mail.org
    sharklasers.com getnada.com maildrop.cc dispostable.com spamgourmet.com mailnesia.com throwawaymail.com
    """.split()  # noqa: SIM905 (a list to be read and added to)
)
"""Consumer and provider domains of the world; what lies below one of them is public too."""

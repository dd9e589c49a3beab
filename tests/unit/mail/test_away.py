"""Away until when, gone for good, and whom to write to instead, in the languages people write them in (I25)."""

from __future__ import annotations

from datetime import date
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.mail import automatic
from mailrelay.mail.away import Away, read
from mailrelay.mail.away.days import MAX_AHEAD
from mailrelay.mail.message import parse
from mailrelay.model.message import Kind
from tests.support.cost import cpu

MONDAY = date(2026, 11, 16)


def away(
    text: str, *, subject: str = "Automatic reply: our offer", html: bool = False, received: date = MONDAY
) -> Away | None:
    mail = EmailMessage()
    mail["From"] = "Bob Gone <bob@customer.example>"
    mail["To"] = "Ann Example <ann@ours.example>"
    mail["Subject"] = subject
    mail["Auto-Submitted"] = "auto-replied"
    mail.set_content(text, subtype="html" if html else "plain")
    parsed = parse(mail.as_bytes())
    assert automatic.kind(parsed) is Kind.AUTO_REPLY
    return read(parsed, received=received)


RETURNS = {
    "en": [
        ("I am out of the office and will be back on Monday, 23 November.", date(2026, 11, 23)),
        ("I'm currently on annual leave, returning Tuesday 24th November.", date(2026, 11, 24)),
        (
            "Thank you for your e-mail. I am out of the office until December 1st and have limited access to my mail.",
            date(2026, 12, 1),
        ),
        (
            "I will be out of the office starting 20 November 2026 and will not return until 30 November 2026.",
            date(2026, 11, 30),
        ),
        ("I am away from 20 to 28 November with no access to email.", date(2026, 11, 29)),
        ("Out of office Nov 20 - Nov 24.", date(2026, 11, 25)),
        ("I'm on vacation November 20-27, 2026.", date(2026, 11, 28)),
        ("I am travelling through November 25 and will reply when I can.", date(2026, 11, 26)),
        ("I'm out until 12/05/2026.", date(2026, 12, 5)),
        ("I am out of the office. I will return on 11/24/2026.", date(2026, 11, 24)),
        ("I'll be back in the office on 24/11.", date(2026, 11, 24)),
        ("I am not in the office today. I'll be back tomorrow.", date(2026, 11, 17)),
        ("I'm out sick, back on Wednesday.", date(2026, 11, 18)),
        ("I am on leave. On 3 January 2027 I will be back at my desk.", date(2027, 1, 3)),
        ("I am on maternity leave until March 2027.", date(2027, 3, 1)),
        ("I'm away until the end of November.", date(2026, 12, 1)),
        ("I am out of the office until and including Friday, 27 November.", date(2026, 11, 28)),
        ("I am on holiday until Friday 27 November inclusive.", date(2026, 11, 28)),
        ("Our office is closed from December 24, 2026 to January 3, 2027.", date(2027, 1, 4)),
        ("I am currently out of the office and will be returning on the 30th.", date(2026, 11, 30)),
        (
            "I am out of the office attending a conference and will respond to your message on 2026-11-23.",
            date(2026, 11, 23),
        ),
        ("I am out of the office (return date: 23-Nov-2026).", date(2026, 11, 23)),
        ("I'll be out of the office until 9:00 am on 23 November.", date(2026, 11, 23)),
        ("I am out of the office between 18 and 20 November.", date(2026, 11, 21)),
        ("I will be back after 24 November.", date(2026, 11, 25)),
        (
            "Our offices are closed from Thursday, December 24th and will reopen on Monday, January 4th.",
            date(2027, 1, 4),
        ),
        ("I will be away from (11/20/2026) through (11/24/2026), returning (11/25/2026).", date(2026, 11, 25)),
        ("I'm on annual leave w/c 23rd November, back Monday 30th November.", date(2026, 11, 30)),
        ("I'm out from Monday 23 to Friday 27 November inclusive.", date(2026, 11, 28)),
        ("I am out of the office today (Monday 16th) and back tomorrow (Tuesday 17th).", date(2026, 11, 17)),
        ("Away - back 1/12", date(2026, 12, 1)),
        ("I'm out of the office Nov 24th–28th.", date(2026, 11, 29)),
        ("I am on leave 24–28 Nov.", date(2026, 11, 29)),
        ("I'm on holiday 24/11-28/11.", date(2026, 11, 29)),
        ("I am OOO 24.11.26 – 28.11.26", date(2026, 11, 29)),
        ("I am out from Tuesday 24 November to Friday 27 November, returning Monday 30.", date(2026, 11, 30)),
        ("I'm away for the next two weeks, back on the 30th.", date(2026, 11, 30)),
        ("I am on vacation and will not be back until Dec. 1.", date(2026, 12, 1)),
    ],
    "de": [
        ("Ich bin bis einschließlich 5. Dezember nicht im Büro.", date(2026, 12, 6)),
        ("Ich bin am 24.11. wieder erreichbar.", date(2026, 11, 24)),
        ("Ab Montag, den 30. November 2026, bin ich wieder für Sie da.", date(2026, 11, 30)),
        ("Ich bin vom 20.11. bis 28.11. im Urlaub.", date(2026, 11, 29)),
        ("Ich befinde mich vom 20. bis zum 28. November im Urlaub.", date(2026, 11, 29)),
        ("Ich bin bis zum 27.11.2026 abwesend.", date(2026, 11, 27)),
        ("Ich bin derzeit nicht im Hause und kehre am 1. Dezember zurück.", date(2026, 12, 1)),
        (
            "Vielen Dank für Ihre Nachricht. Ich bin auf Dienstreise und erst ab dem 23.11.26 wieder im Büro.",
            date(2026, 11, 23),
        ),
        ("Ich bin krank und voraussichtlich am Mittwoch zurück.", date(2026, 11, 18)),
        ("Ich bin heute nicht erreichbar. Ab morgen bin ich wieder da.", date(2026, 11, 17)),
        ("Abwesend: 20.-27.11.2026", date(2026, 11, 28)),
        ("Ich bin vom 23.11.-27.11.26 im Urlaub.", date(2026, 11, 28)),
        ("Ich bin bis inkl. Freitag, den 27.11. abwesend.", date(2026, 11, 28)),
        ("Ich bin ab Mo. 30.11. wieder da.", date(2026, 11, 30)),
        ("Ich bin am kommenden Montag wieder erreichbar.", date(2026, 11, 23)),
        ("Ich bin bis 3. Jänner nicht im Büro.", date(2027, 1, 3)),
        ("Unser Büro ist vom 24.12.2026 bis einschließlich 6.1.2027 geschlossen.", date(2027, 1, 7)),
        ("Ich bin bis Ende November in Elternzeit.", date(2026, 12, 1)),
        (
            "Ich bin nicht im Haus. Ich werde Ihre E-Mail nach meiner Rückkehr am 24.11. beantworten.",
            date(2026, 11, 24),
        ),
        ("Ich bin bis und mit 27. November in den Ferien.", date(2026, 11, 28)),
    ],
    "fr": [
        ("Je suis absent du bureau, de retour le 3 janvier.", date(2027, 1, 3)),
        ("Je suis en congés jusqu'au 27 novembre inclus.", date(2026, 11, 28)),
        ("Absent du 20 au 28 novembre, je prendrai connaissance de vos messages à mon retour.", date(2026, 11, 29)),
        ("Je serai absente du 20/11/2026 au 28/11/2026.", date(2026, 11, 29)),
        ("Je suis absente jusqu'au lundi 30 novembre 2026.", date(2026, 11, 30)),
        ("Je suis actuellement en déplacement. Je serai de retour au bureau le 1er décembre.", date(2026, 12, 1)),
        ("Je suis en arrêt maladie et reviendrai mercredi.", date(2026, 11, 18)),
        ("Je serai à nouveau joignable à partir du 24/11.", date(2026, 11, 24)),
        ("Je ne suis pas disponible aujourd'hui, je rentre demain.", date(2026, 11, 17)),
        ("Nos bureaux sont fermés du 24 décembre au 3 janvier inclus.", date(2027, 1, 4)),
        ("Dès le 7 décembre, je serai de nouveau disponible.", date(2026, 12, 7)),
        ("Mon retour est prévu le 5 décembre.", date(2026, 12, 5)),
        ("Je suis en congés du lundi 23 au vendredi 27 novembre inclus.", date(2026, 11, 28)),
        ("De retour lundi prochain.", date(2026, 11, 23)),
    ],
    "es": [
        ("Estoy de vacaciones. Vuelvo el 1 de diciembre de 2026.", date(2026, 12, 1)),
        ("Estaré fuera de la oficina hasta el 27 de noviembre.", date(2026, 11, 27)),
        ("Estaré ausente del 20 al 28 de noviembre.", date(2026, 11, 29)),
        ("Estoy fuera de la oficina y regresaré el lunes 30 de noviembre.", date(2026, 11, 30)),
        ("Me encuentro de baja y me reincorporaré el 3/12/2026.", date(2026, 12, 3)),
        ("Estaré de viaje desde el 20/11 hasta el 24/11, ambos inclusive.", date(2026, 11, 25)),
        ("No estoy en la oficina hoy; vuelvo mañana.", date(2026, 11, 17)),
        ("Estoy ausente, regreso el miércoles.", date(2026, 11, 18)),
        ("Responderé a su correo a partir del 7 de enero de 2027.", date(2027, 1, 7)),
        ("Estaré de vacaciones hasta el 30 de noviembre inclusive.", date(2026, 12, 1)),
        ("Estoy fuera hasta el próximo lunes.", date(2026, 11, 23)),
        ("Estaré de vacaciones del lunes 23 al viernes 27 de noviembre.", date(2026, 11, 28)),
    ],
    "pt": [
        ("Estarei ausente, regresso a 7 de dezembro.", date(2026, 12, 7)),
        ("Estou de férias e retorno no dia 1º de dezembro.", date(2026, 12, 1)),
        ("Estarei fora do escritório até 27 de novembro.", date(2026, 11, 27)),
        ("Estarei ausente de 20 a 28 de novembro de 2026.", date(2026, 11, 29)),
        ("Estou de férias de 16 a 27/11.", date(2026, 11, 28)),
        ("Estou em férias de 20/11/2026 a 04/12/2026.", date(2026, 12, 5)),
        ("Voltarei ao escritório na segunda-feira, 30 de novembro.", date(2026, 11, 30)),
        ("Estou de licença até 30/11 inclusive.", date(2026, 12, 1)),
        ("Não estou no escritório, volto amanhã.", date(2026, 11, 17)),
        ("Estou em viagem e estarei de volta na quarta-feira.", date(2026, 11, 18)),
        ("A partir de 7 de janeiro estarei novamente disponível.", date(2027, 1, 7)),
    ],
    "it": [
        ("Sono fuori ufficio, rientrerò il 30 novembre.", date(2026, 11, 30)),
        ("Sarò assente dal 20 al 28 novembre.", date(2026, 11, 29)),
        ("Sono in ferie fino al 27 novembre compreso.", date(2026, 11, 28)),
        ("Sono in ferie fino al 27/11/2026.", date(2026, 11, 27)),
        ("Sarò di nuovo in ufficio lunedì 30 novembre 2026.", date(2026, 11, 30)),
        ("Sono assente per malattia, torno mercoledì.", date(2026, 11, 18)),
        ("Oggi non sono in ufficio, rientro domani.", date(2026, 11, 17)),
        ("Fuori ufficio: rientro il 3/12.", date(2026, 12, 3)),
        ("Sono assente; torno in ufficio lunedì 30.", date(2026, 11, 30)),
        ("Gli uffici sono chiusi dal 24/12/2026 al 6/1/2027.", date(2027, 1, 7)),
        ("Dal 7 gennaio sarò nuovamente disponibile.", date(2027, 1, 7)),
    ],
    "nl": [
        ("Ik ben afwezig en op 1 december weer terug.", date(2026, 12, 1)),
        ("Ik ben met vakantie tot en met 27 november.", date(2026, 11, 28)),
        ("Ik ben afwezig t/m vrijdag 27 november 2026.", date(2026, 11, 28)),
        ("Ik ben niet op kantoor tot maandag 30 november.", date(2026, 11, 30)),
        ("Ik ben van 20 tot en met 28 november met verlof.", date(2026, 11, 29)),
        ("Vanaf 7 december ben ik weer bereikbaar.", date(2026, 12, 7)),
        ("Ik ben woensdag weer aanwezig.", date(2026, 11, 18)),
        ("Vandaag ben ik vrij; morgen ben ik weer terug.", date(2026, 11, 17)),
        ("Ik ben terug op 3-12-2026.", date(2026, 12, 3)),
        ("Vanaf 30-11 ben ik weer aanwezig.", date(2026, 11, 30)),
        ("Ik ben met verlof van 10-12 december.", date(2026, 12, 13)),
        ("Ik ben afwezig tot en met 27 november en vanaf maandag 30 november weer bereikbaar.", date(2026, 11, 30)),
        ("Ik ben met verlof van maandag 23/11 t.e.m. vrijdag 27/11.", date(2026, 11, 28)),
        ("Ik ben afwezig van 20/11 tot 28/11.", date(2026, 11, 29)),
    ],
    "zh": [
        ("我将于12月3日返回办公室。", date(2026, 12, 3)),
        ("本人正在休假,12月3日恢复上班。", date(2026, 12, 3)),
        ("我于11月20日至11月28日休假,期间无法及时回复邮件。", date(2026, 11, 29)),
        ("我从2026年11月20日到28日出差。", date(2026, 11, 29)),
        ("我目前不在办公室,将在2026-12-01回来。", date(2026, 12, 1)),
        ("我正在外出,明天回复您。", date(2026, 11, 17)),
        ("休假至12月3日。", date(2026, 12, 4)),
        ("本人于11月16日至11月27日休年假,11月30日正式上班。", date(2026, 11, 30)),
        ("我正在休假,下周一回来。", date(2026, 11, 23)),
        ("12月3日前不在办公室。", date(2026, 12, 3)),
        ("我目前不在辦公室,將於2026年12月3日返回。", date(2026, 12, 3)),
    ],
    "ja": [
        ("12月3日まで不在にしております。", date(2026, 12, 4)),
        ("休暇のため、12月4日（金）より出社いたします。", date(2026, 12, 4)),
        ("11月20日から28日まで休暇をいただいております。", date(2026, 11, 29)),
        ("11月20日（金）〜11月24日（火）の間、出張のため不在です。", date(2026, 11, 25)),
        ("不在期間：2026年11月20日～2026年11月24日", date(2026, 11, 25)),
        ("現在外出しております。明日、返信いたします。", date(2026, 11, 17)),
        ("１２月３日に戻ります。", date(2026, 12, 3)),
        ("12/3まで出張のため不在です。", date(2026, 12, 4)),
        ("現在出張中です。来週月曜日に戻ります。", date(2026, 11, 23)),
        ("12/4(金)に出社いたします。", date(2026, 12, 4)),
        ("12月4日以降に順次ご返信いたします。", date(2026, 12, 4)),
        ("年末年始は12月29日から1月3日まで休業いたします。", date(2027, 1, 4)),
    ],
}


@pytest.mark.parametrize(
    ("text", "until"),
    [pytest.param(*case, id=f"{code}-{at}") for code, cases in RETURNS.items() for at, case in enumerate(cases)],
)
def test_the_first_day_back_is_read(text, until):
    found = away(text)
    assert found is not None
    assert (found.until, found.gone, found.instead) == (until, False, ())


GONE = {
    "en": [
        ("Bob Gone is no longer with Customer Inc. Please contact Ann New <ann.new@customer.example>.", "Ann New"),
        ("I no longer work at Customer. For anything, write to Ann New at ann.new@customer.example.", "Ann New"),
        ("Bob has left the company. Please direct your enquiries to Ann New (ann.new@customer.example).", "Ann New"),
        ("Bob Gone has left Customer Ltd. Ann New (ann.new@customer.example) has taken over his accounts.", "Ann New"),
        (
            "As of 1 November I am no longer employed by Customer. My successor is Ann New, ann.new@customer.example",
            "Ann New",
        ),
        ("I've left Customer. Please write to Ann New, ann.new@customer.example", "Ann New"),
        ("Unfortunately, Bob Gone has left us. His successor is Ann New (ann.new@customer.example).", "Ann New"),
        ("Bob has moved on to pastures new. Please contact Ann New (ann.new@customer.example).", "Ann New"),
        ("Bob has retired. Contact: Ann New, Head of Sales, Tel. +49 30 1234567, ann.new@customer.example", "Ann New"),
        ("Bob doesn't work here any more. Please e-mail ann.new@customer.example instead.", ""),
        (
            "This mailbox is no longer monitored. Please reach out to Ms. Ann New via ann.new@customer.example",
            "Ann New",
        ),
        (
            "My last day at Customer was 30 October. Please get in touch with:\n\nAnn New\nann.new@customer.example",
            "Ann New",
        ),
    ],
    "de": [
        (
            "Bob Gone ist nicht mehr bei der Kunde GmbH tätig. Bitte wenden Sie sich an Ann Neu (ann.new@customer.example).",
            "Ann Neu",
        ),
        ("Ich bin nicht mehr im Unternehmen. Meine Nachfolgerin ist Frau Ann Neu: ann.new@customer.example", "Ann Neu"),
        ("Herr Gone arbeitet nicht mehr für uns. Bitte schreiben Sie an Frau Neu unter ann.new@customer.example.", ""),
        (
            "Herr Gone hat unser Unternehmen verlassen. Ihre Ansprechpartnerin: Ann Neu, Tel. 030 123456, ann.new@customer.example",
            "Ann Neu",
        ),
        (
            "Herr Gone ist zum 31.10. aus dem Unternehmen ausgeschieden. Kontaktieren Sie bitte Dr. Ann Neu (ann.new@customer.example)",
            "Ann Neu",
        ),
        ("Herr Gone hat das Unternehmen zum 30.09. verlassen. Bitte schreiben Sie an ann.new@customer.example", ""),
        ("Bob Gone ist in den Ruhestand gegangen. Bitte richten Sie Anfragen an ann.new@customer.example.", ""),
        (
            "Diese E-Mail-Adresse wird nicht mehr verwendet. Bitte senden Sie Ihre Nachricht an ann.new@customer.example",
            "",
        ),
        ("Bob Gone ist nicht mehr bei uns. Ann Neu <ann.new@customer.example> hilft Ihnen gerne weiter.", "Ann Neu"),
    ],
    "fr": [
        (
            "Bob ne fait plus partie de la société. Merci de contacter Mme Anne Neuve : ann.new@customer.example",
            "Anne Neuve",
        ),
        (
            "Je ne travaille plus chez Client SA. Veuillez vous adresser à Anne Neuve (ann.new@customer.example).",
            "Anne Neuve",
        ),
        (
            "Bob Gone a quitté l'entreprise. Vous pouvez écrire à Anne Neuve à l'adresse ann.new@customer.example.",
            "Anne Neuve",
        ),
        (
            "Je n'exerce plus mes fonctions au sein de la société. Contactez M. Anne Neuve : ann.new@customer.example",
            "Anne Neuve",
        ),
        ("M. Gone n'est plus en poste. Contactez ann.new@customer.example.", ""),
        ("Bob a quitté la société ; il est remplacé par Anne Neuve (ann.new@customer.example).", "Anne Neuve"),
        ("Cette adresse n'est plus utilisée. Merci d'écrire à ann.new@customer.example", ""),
        (
            "Je suis parti à la retraite. Pour toute demande, contactez Anne Neuve <ann.new@customer.example>",
            "Anne Neuve",
        ),
        ("Bob ne fait désormais plus partie de nos effectifs. Contact : ann.new@customer.example", ""),
    ],
    "es": [
        (
            "Bob ya no trabaja en esta empresa. Por favor, contacte con Ana Nueva (ann.new@customer.example).",
            "Ana Nueva",
        ),
        ("Ya no formo parte de la compañía. Puede escribir a Ana Nueva: ann.new@customer.example", "Ana Nueva"),
        ("Bob ha dejado la empresa. Diríjase a Dña. Ana Nueva, ann.new@customer.example", "Ana Nueva"),
        ("Bob ya no labora en la organización. Póngase en contacto con ann.new@customer.example", ""),
        (
            "Ya no está trabajando con nosotros. Mi compañera Ana Nueva (ann.new@customer.example) le atenderá.",
            "Ana Nueva",
        ),
        ("Esta cuenta ya no está activa. Envíe su mensaje a ann.new@customer.example", ""),
        (
            "Bob ya no forma parte de nuestro equipo. Puede contactar con Ana Nueva: ann.new@customer.example",
            "Ana Nueva",
        ),
        ("Me he jubilado. Contacten con Ana Nueva <ann.new@customer.example>", "Ana Nueva"),
        ("Bob dejó la empresa. Para asuntos urgentes contactar a Ana Nueva ann.new@customer.example", "Ana Nueva"),
    ],
    "pt": [
        (
            "Já não trabalho na Cliente. Por favor contacte a minha colega Ana Nova (ann.new@customer.example).",
            "Ana Nova",
        ),
        (
            "Bob não faz mais parte da empresa. Favor entrar em contato com Ana Nova: ann.new@customer.example",
            "Ana Nova",
        ),
        ("Não faço mais parte do quadro. Fale com Ana Nova <ann.new@customer.example>", "Ana Nova"),
        ("O Bob saiu da empresa. Envie o seu e-mail para ann.new@customer.example", ""),
        ("Bob não trabalha mais conosco. Dirija-se a Ana Nova, ann.new@customer.example", "Ana Nova"),
        ("Deixei a empresa. O meu substituto é Rui Novo (ann.new@customer.example)", "Rui Novo"),
        ("O Bob já não colabora connosco. Contactar ann.new@customer.example", ""),
        ("Este endereço já não está em uso. Escreva para ann.new@customer.example", ""),
    ],
    "it": [
        ("Bob non lavora più in azienda. Rivolgersi a Anna Nuova, ann.new@customer.example", "Anna Nuova"),
        ("Non faccio più parte della società. Contattare Anna Nuova (ann.new@customer.example)", "Anna Nuova"),
        ("Bob Gone non è più in forza alla nostra azienda. Scrivere a ann.new@customer.example", ""),
        (
            "Bob ha lasciato l'azienda. Vi prego di contattare la Sig.ra Anna Nuova: ann.new@customer.example",
            "Anna Nuova",
        ),
        ("Ho lasciato la società. Potete scrivere al mio collega Rui Nuovo <ann.new@customer.example>", "Rui Nuovo"),
        ("Questa casella non è più attiva. Si prega di inviare a ann.new@customer.example", ""),
        ("Bob è andato in pensione. Per urgenze: Anna Nuova - ann.new@customer.example", "Anna Nuova"),
        ("Non sono più con noi... Bob non è più un collaboratore: contattate ann.new@customer.example", ""),
    ],
    "nl": [
        ("Bob werkt niet meer bij Klant BV. Neem contact op met Anna Nieuw via ann.new@customer.example", "Anna Nieuw"),
        (
            "Ik ben niet langer werkzaam bij Klant. U kunt mailen naar Anna Nieuw (ann.new@customer.example).",
            "Anna Nieuw",
        ),
        (
            "Bob is uit dienst. Mijn collega Jan van der Berg (ann.new@customer.example) helpt u graag verder.",
            "Jan van der Berg",
        ),
        ("Bob heeft het bedrijf verlaten. Stuur uw bericht naar ann.new@customer.example", ""),
        ("Ik ben met pensioen. Contactpersoon: mevr. Anna Nieuw, ann.new@customer.example", "Anna Nieuw"),
        (
            "Bob is niet meer in dienst. Voor vragen kunt u terecht bij Anna Nieuw <ann.new@customer.example>",
            "Anna Nieuw",
        ),
        ("Dit e-mailadres is niet meer in gebruik. Gebruik voor contact ann.new@customer.example", ""),
        ("Bob Gone werkt sinds 1 november niet meer bij ons. Mail ann.new@customer.example", ""),
    ],
    "zh": [
        ("本人已离职,请联系李四:ann.new@customer.example", "李四"),
        ("我已经从公司离职,后续工作由同事王小明(ann.new@customer.example)负责。", "王小明"),
        ("该员工已离开公司,请与张三联系,邮箱:ann.new@customer.example。", ""),
        ("我已于11月1日离职。如有需要,请发送邮件至ann.new@customer.example。", ""),
        ("本人已離職,請聯繫陳大文(ann.new@customer.example)。", "陳大文"),
        ("我不再在该公司工作,请联系ann.new@customer.example。", ""),
        ("此邮箱已停用,请转发至 ann.new@customer.example", ""),
        ("张伟已退休,请联系我的同事李雷 <ann.new@customer.example>", "李雷"),
    ],
    "ja": [
        ("私は10月末で退職いたしました。後任は鈴木花子（ann.new@customer.example）です。", "鈴木花子"),
        ("ゴーンは退職いたしました。今後は鈴木（ann.new@customer.example）までご連絡ください。", "鈴木"),
        ("弊社を退社いたしました。お問い合わせは ann.new@customer.example までお願いいたします。", ""),
        ("ボブは既に退職しております。担当の鈴木 花子 <ann.new@customer.example> へご連絡ください。", "鈴木 花子"),
        ("退職しました。後任：山田太郎（ann.new@customer.example）", "山田太郎"),
        (
            "当該社員は在籍しておりません。ご用件は ann.new@customer.example にお送りください。ご連絡をお願いします。",
            "",
        ),
        ("このメールアドレスは現在使われておりません。ann.new@customer.example までご連絡ください。", ""),
        ("9月30日をもちまして退職致しました。後任の佐藤様（ann.new@customer.example）までご連絡ください。", "佐藤"),
    ],
}


@pytest.mark.parametrize(
    ("text", "name"),
    [pytest.param(*case, id=f"{code}-{at}") for code, cases in GONE.items() for at, case in enumerate(cases)],
)
def test_somebody_gone_for_good_names_his_successor(text, name):
    found = away(text)
    assert found is not None
    assert (found.until, found.since, found.gone) == (None, None, True)
    assert [(one.name, str(one.address)) for one in found.instead] == [(name, "ann.new@customer.example")]


NO_DAY = [
    "I am out of the office. I have worked here since 1998.",
    "I'm away from my desk. Call me: +49 30 12 11 2026.",
    "I am on the road. Phone 030/24.11.26-12, please leave a message. I'm away.",
    "Back in 5 minutes.",
    "I am out of the office, back in 2 weeks.",
    "I am away. Our new price list: 24.11 EUR a piece, 12/24 bottles.",
    "I am away.\n\nKind regards\nBob\n\nNext courses: 24 November 2026, 3 December 2026 in Berlin",
    "I am out of office.\n\nVisit us at the fair, 24 to 27 November, hall 5.",
    "I am on leave. Support is there 24/7.",
    "I returned on 3 November and am travelling again.",
    "I am out of the office until 3 January 2025.",
    "I am out of the office and will be back on 24 November 2029.",
    "I'm out of office. The offer is valid until 30 November.",
    "I am out of the office. Please send it back on Monday.",
    "I'm out of the office. We will call you back on Monday.",
    "I am on holiday until 31 February.",
    "I am not available on 24 November.",
    "I am out of the office until further notice.",
    "I am travelling and may be slow to reply.",
    "Ich bin nicht im Büro. Angebote gelten bis 30.11.2026.",
    "Ich bin abwesend. Version 3.11. ist erschienen.",
    "Ich bin im Urlaub. Seit 1998 für Sie da.",
    "Ich bin unterwegs. Schulungstermine: 24.11., 25.11. und 26.11.",
    "Ich bin nicht da. Rechnung Nr. 24.11.2026-4711.",
    "Je suis absent. Prix : 24,11 €. Tél. 01 24 11 20 26.",
    "Je suis en congés. Nos soldes commencent le 8 janvier.",
    "Estoy de viaje. Teléfono: 24-11-2026.",
    "Estou ausente. Promoção válida até 30/11.",
    "Sono assente. Il corso si tiene il 24 novembre.",
    "Ik ben afwezig. De cursus is op 24 november.",
    "我不在办公室。展会时间:11月24日至27日。",
    "不在にしております。展示会は11月24日から27日までです。",
    "I am out of the office (week 48/2026).",
    "I'm on leave from 30 November.",
    "I am away. Our return on investment webinar is on 24 November.",
    "I am on leave. Your item is back in stock on 24 November.",
    "Our office is closed on Saturday and Sunday.",
    "We are closed on public holidays; opening hours: Monday to Friday.",
    "I am out of the office on Fridays. Mondays I am back.",
    "Unser Büro ist von Freitag bis Sonntag geschlossen.",
    "Ich bin abwesend. Ihre Anfrage vom 16.11.2026 habe ich erhalten und melde mich wieder.",
    "不在にしております。ご注文は11月24日までにご連絡いたします。",
    "Je suis absent. Répondez-nous avant le 24 novembre.",
    "Estoy ausente. La oferta termina el 30 de noviembre.",
]


@pytest.mark.parametrize("text", NO_DAY)
def test_a_day_that_is_no_return_is_not_taken_for_one(text):
    found = away(text)
    assert found is None or (found.until, found.since, found.gone) == (None, None, False)


NOTHING = [
    "Thank you for your message. Your ticket number is 24112026. We will answer within two days.",
    "Vielen Dank für Ihre Bestellung vom 20.11.2026. Die Lieferung erfolgt bis 28.11.2026.",
    "We received your application. The deadline is 30 November.",
    "Bob no longer than yesterday wrote to you.",
    "We no longer work with paper invoices.",
    "If you no longer wish to get such mails, tell us.",
    "This product is no longer available.",
    "Bob has left a message for you.",
    "Wir arbeiten nicht mehr mit Papier.",
    "Le produit n'est plus disponible en magasin.",
    "Thank you for your order of 16 November 2026. It will be delivered until 24 November.",
    "Votre demande a bien été reçue. Nous vous répondrons dans les deux jours ouvrés.",
    "Hemos recibido su solicitud 24/11. Gracias.",
    "Abbiamo ricevuto il suo messaggio del 16/11/2026.",
    "お問い合わせを受け付けました。受付番号:20261124",
    "您的邮件已收到,我们会尽快回复。单号:20261124",
    "",
    "\u200b",
]


@pytest.mark.parametrize("text", NOTHING)
def test_an_automatic_reply_about_something_else_says_nothing(text):
    assert away(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Bob has left for the day and is out of the office.",
        "Bob has left the office for his holidays.",
        "I am leaving the company on 30 November. I am on leave now.",
        "I am no longer in the office today.",
        "Ich bin heute nicht mehr im Büro.",
        "Ich bin ab 12 Uhr nicht mehr im Hause.",
        "Bob is no longer available by phone; he is on vacation.",
        "I am away. You can no longer reach me by fax.",
        "Je suis absent, j'ai quitté le bureau pour la journée.",
        "Não estou mais no escritório hoje, estou em viagem.",
        "Ho lasciato l'ufficio, sono in ferie.",
        "I've left Berlin for a week and am travelling.",
        "Ik heb het kantoor verlaten, ik ben met vakantie.",
        "今日は退社いたします。明日まで不在です。",
    ],
)
def test_who_is_away_is_not_gone(text):
    found = away(text)
    assert found is not None
    assert not found.gone


@pytest.mark.parametrize(
    ("subject", "until"),
    [
        ("Out of office until 23 November", date(2026, 11, 23)),
        ("Automatic reply: Out of Office - back on 23 November", date(2026, 11, 23)),
        ("Abwesenheitsnotiz: Abwesend bis einschließlich 27.11.2026", date(2026, 11, 28)),
        ("Réponse automatique : absent du 20 au 28 novembre", date(2026, 11, 29)),
        ("Out of office: Offer valid until 30 November", None),
        ("Automatische Antwort: Messe vom 20. bis 28. November", None),
    ],
)
def test_the_subject_is_read_but_not_the_one_it_answers(subject, until):
    found = away("I am not in the office.", subject=subject)
    assert found is not None
    assert found.until == until


def test_a_mail_in_html_alone_is_read():
    text = (
        "<html><body><p>I am out of the <b>office</b> until<br>Monday,&nbsp;23&nbsp;November.</p>"
        '<p>Urgent? Contact <a href="mailto:ann.new@customer.example">Ann New</a> (ann.new@customer.example).</p></body></html>'
    )
    found = away(text, html=True)
    assert found is not None
    assert found.until == date(2026, 11, 23)
    assert [(one.name, str(one.address)) for one in found.instead] == [("Ann New", "ann.new@customer.example")]


def test_quoted_text_is_not_read():
    quoted = (
        "I am not in the office.\n\nOn Mon, 16 Nov 2026 at 09:15, Ann Example <ann@ours.example> wrote:\n"
        "> I will be back on 24 November. Please contact tom@ours.example.\n"
    )
    assert away(quoted) == Away(None, None, False, ())


def test_two_languages_agree_on_the_first_day_named_best():
    both = (
        "Ich bin bis 27.11.2026 nicht im Büro.\n\nI am out of the office and will be back on 30 November 2026.\n\n"
        "In dringenden Fällen / in urgent cases: Ann Neu, ann.new@customer.example"
    )
    found = away(both)
    assert found is not None
    assert found.until == date(2026, 11, 30)
    assert [(one.name, str(one.address)) for one in found.instead] == [("Ann Neu", "ann.new@customer.example")]


def test_a_range_gives_its_first_day_too():
    for text in (
        "I am away from 20 to 28 November.",
        "Ich bin vom 20.11. bis 28.11.2026 im Urlaub.",
        "11月20日から28日まで不在です。",
        "Je suis absent du vendredi 20 au samedi 28 novembre.",
    ):
        found = away(text)
        assert found is not None
        assert (found.since, found.until) == (date(2026, 11, 20), date(2026, 11, 29)), text


def test_the_range_gives_the_first_day_away_and_the_return_the_first_day_back():
    found = away("Estarei em férias no período de 23/11 a 04/12/2026, retornando no dia 07/12.")
    assert found is not None
    assert (found.since, found.until) == (date(2026, 11, 23), date(2026, 12, 7))


@pytest.mark.parametrize(
    "text",
    [
        "I am away since 1 December and return 5 December.",
        "I am away from 1 December, back 5 December.",
        "I am away from December 1 and back on 5th December.",
        "I am on leave from 1 December 2026 until I return on 5 December 2026.",
        "Ich bin ab dem 1. Dezember abwesend und am 5. Dezember wieder da.",
        "Im Urlaub seit 1. Dezember und zurück am 5. Dezember.",
        "Absent depuis le 1er décembre et retour le 5 décembre.",
        "Je suis absent à partir du 1 décembre et retour 5 décembre.",
        "Estoy ausente desde el 1 de diciembre y vuelvo el 5 de diciembre.",
        "Estou ausente desde 1 de dezembro e volto a 5 de dezembro.",
        "Estou de férias a partir de 1 de dezembro, regresso a 5 de dezembro.",
        "Sono assente dal 1 dicembre e rientro il 5 dicembre.",
        "Sono in ferie dal 1 dicembre e di ritorno 5 dicembre.",
        "Ik ben afwezig vanaf 1 december en terug op 5 december.",
        "我从12月1日休假到12月5日返回。",
        "12月1日から休暇、12月5日に戻ります。",
        "12月1日から不在にしており、12月5日より出社いたします。",
    ],
)
def test_the_day_of_return_is_no_last_day_of_a_range(text):
    found = away(text)
    assert found is not None
    assert (found.since, found.until) == (date(2026, 12, 1), date(2026, 12, 5))


def test_a_month_of_return_begins_with_its_first_day():
    found = away("I am away since 1 Sept 2026 and back in May 2027.")
    assert found is not None
    assert (found.since, found.until) == (date(2026, 9, 1), date(2027, 5, 1))


def test_the_day_of_somebody_else_or_of_a_mail_is_no_first_day_away():
    for text in (
        "I am away, please contact Ann Bee, who is there from 20 November; I return on 5 December.",
        "I am away, your mail of 10 November will be read when I am back on 5 December.",
    ):
        found = away(text)
        assert found is not None
        assert (found.since, found.until) == (None, date(2026, 12, 5)), text


def test_a_range_over_the_turn_of_the_year():
    found = away("I am on leave from 20 December to 5 January.")
    assert found is not None
    assert (found.since, found.until) == (date(2026, 12, 20), date(2027, 1, 6))


def test_a_reply_that_was_not_switched_off_says_no_day():
    found = away("I am out of the office until 10 November.")
    assert found is not None
    assert found.until is None


@pytest.mark.parametrize("text", ["I am out until 12/5.", "I am out until 5/12.", "Je suis absent jusqu'au 5/12."])
def test_american_and_european_order_are_told_apart_by_what_is_near(text):
    found = away(text)
    assert found is not None
    assert found.until == date(2026, 12, 5)


def test_who_is_merely_away_may_name_somebody_too():
    found = away(
        "I am out of the office until 23 November. In urgent cases please contact my colleagues Ann New (ann.new@customer.example)"
        " or Tom Old <tom@customer.example>."
    )
    assert found is not None
    assert (found.until, found.gone) == (date(2026, 11, 23), False)
    assert [(one.name, str(one.address)) for one in found.instead] == [
        ("Ann New", "ann.new@customer.example"),
        ("Tom Old", "tom@customer.example"),
    ]


def test_one_name_is_known_by_the_address_with_and_without_accents():
    found = away("Não trabalho mais na empresa. Por favor, contate João: joao@customer.example")
    assert found is not None
    assert [one.name for one in found.instead] == ["João"]


def test_nobody_is_named_who_wrote_got_or_is_a_machine():
    found = away(
        "I am no longer with Customer. Please contact bob@customer.example, Ann@Ours.example, no-reply@customer.example"
        " or postmaster@customer.example."
    )
    assert found is not None
    assert (found.gone, found.instead) == (True, ())


def test_at_most_five_are_named_and_each_once():
    many = ", ".join(f"a{n}@customer.example, A{n}@customer.example" for n in range(9))
    found = away(f"I am no longer with Customer. Please contact {many}.")
    assert found is not None
    assert [str(one.address) for one in found.instead] == [f"a{n}@customer.example" for n in range(5)]


@pytest.mark.parametrize(
    "text",
    [
        "I am no longer with Customer. Please call my colleague.\n\nKind regards,\nBob Gone\nSales\ninfo@customer.example",
        "I am no longer with Customer.\n\nBob Gone, private: bob.gone@home.example",
        "I am no longer with Customer. Please do not contact ann@customer.example.",
        "I am no longer with Customer. See www.customer.example/@ann or @ann.",
    ],
)
def test_an_address_that_nobody_is_asked_to_write_to_is_not_named(text):
    found = away(text)
    assert found is not None
    assert (found.gone, found.instead) == (True, ())


def test_a_read_receipt_says_nothing_of_being_away():
    raw = (
        b"From: bob@customer.example\nSubject: Read: away until 24 November\nContent-Type: multipart/report; boundary=b;"
        b" report-type=disposition-notification\n\n--b\n\nI am away until 24 November.\n--b\n"
        b"Content-Type: message/disposition-notification\n\nDisposition: automatic-action/MDN-sent-automatically; displayed\n--b--\n"
    )
    assert read(parse(raw), received=MONDAY) is None


PIECES = st.sampled_from(
    [
        *(
            "back on ",
            "until ",
            "from ",
            "to ",
            "1.1.",
            "31/12",
            "24 November ",
            "12月3日",
            "まで",
            "bis ",
            "wieder ",
            "contact ",
        ),
        *(
            "ann@customer.example ",
            "@",
            ".",
            " ",
            "\n",
            "A",
            "Ann ",
            "no longer with ",
            "退職",
            "0",
            "9",
            "-",
            "/",
            "+1 2",
            "tel ",
        ),
        *(
            "out of office ",
            "may ",
            "mon ",
            "d'",
            "end of ",
            "2026",
            "９",
            "\u0301",
            "ー",
            "(",
            "<",
            "left ",
            "we ",
            "(?",
            "20",
            "30 ",
        ),
    ]
)


@given(st.lists(PIECES, max_size=80).map("".join), st.dates())
def test_any_text_is_read_without_an_exception(text, received):
    found = read(
        parse(b"Auto-Submitted: auto-replied\nSubject: x\nContent-Type: text/plain; charset=utf-8\n\n" + text.encode()),
        received=received,
    )
    if found is not None and found.until is not None:
        assert received < found.until <= received + MAX_AHEAD
        assert not found.gone
        assert found.since is None or found.since < found.until


@pytest.mark.parametrize("received", [date.min, date.max])
def test_the_ends_of_the_calendar_are_days_like_others(received):
    for text, _ in (case for cases in RETURNS.values() for case in cases):
        away(text, received=received)
    assert away("I am away until tomorrow.", received=received) is not None


@given(st.binary(max_size=2_000))
def test_any_bytes_are_read_without_an_exception(raw):
    read(parse(raw), received=MONDAY)


@pytest.mark.parametrize(
    "piece",
    [
        "back on 1.1. ",
        "until until until ",
        "out of office from 1 to ",
        "12月3日",
        "A. B. C. D. E. ",
        "contact a@b.example ",
        "Ann Ann Ann Ann ",
        "no longer with ",
        "has left ",
        "the ",
        "not not not ",
        "a ",
        "20 November 2026 ",
        "e-mail address is is is ",
        "0",
        "+1 (2) 3-",
        "我不在",
        "已",
        "まで",
        "\n",
        "regards\n",
        "退職 した",
        "tel 1 2 ",
        "wieder zurück ",
        "ist ist ",
        "je ne suis pas ",
    ],
)
def test_hostile_repetition_takes_no_time(piece):
    parsed = parse(b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\nout of office " + (piece * 20_000).encode())
    parsed.text  # noqa: B018 the body's own reading is not what is measured
    _, seconds = cpu(lambda: read(parsed, received=MONDAY))
    assert seconds < 0.1

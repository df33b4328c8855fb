"""A mail server that keeps what it gets: NNN.eml and NNN.json (envelope) in its folder.

A file `refuse` there holds an answer such as "451 later", given to each message instead; with a line "once" after it the
file is removed by the first one.
"""
import json
import os
import ssl
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

folder, mode = os.environ["MAIL_FOLDER"], os.environ["MAIL_MODE"]
user, password = os.environ.get("MAIL_USER"), os.environ.get("MAIL_PASSWORD")


class Keeper:
    def __init__(self):
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        refuse = os.path.join(folder, "refuse")
        if os.path.exists(refuse):
            with open(refuse) as file:
                answer, *once = file.read().splitlines()
            if once:
                os.remove(refuse)
            return answer
        self.count += 1
        name = os.path.join(folder, f"{self.count:03}")
        with open(name + ".eml", "wb") as file:
            file.write(envelope.content)
        facts = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or mode == "implicit",
            "user": session.auth_data.decode() if session.auth_data else None,
        }
        # Whoever sees the envelope finds the mail whole.
        with open(name + ".new", "w") as file:
            json.dump(facts, file)
        os.rename(name + ".new", name + ".json")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=good, handled=good, auth_data=data.login if good else None)


options = {}
if mode != "none":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["MAIL_CERT"], os.environ["MAIL_KEY"])
    if mode == "implicit":
        options["ssl_context"] = context
    else:
        options["tls_context"] = context
        options["require_starttls"] = True
if user:
    # With implicit TLS the library does not see that there is any.
    options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": mode == "starttls"}
Controller(Keeper(), hostname="127.0.0.1", port=int(os.environ["MAIL_PORT"]), **options).start()
threading.Event().wait()

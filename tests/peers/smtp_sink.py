"""A mail server that keeps what it gets (aiosmtpd), with faults on request.

Arguments: port, then `plain`, `tls` or `starttls`, then certificate and key (PEM), then user and password or `-`.
Each mail becomes one JSON line on standard output. Lines on standard input plan faults, one each:
  rcpt 550 5.1.1 nobody here      the answer to the next RCPT
  data 451 4.3.0 busy             the answer to the next message
  drop before                     the next DATA is cut before the message
  drop after                      the next message is kept, and the connection cut before the answer
"""

import asyncio
import base64
import collections
import json
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult

faults = collections.deque()


def planned(kind):
    """The next fault, if it is of this kind."""
    if faults and faults[0].split(" ", 1)[0] == kind:
        return faults.popleft().split(" ", 1)[1]
    return None


def say(what):
    print(json.dumps(what), flush=True)


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = planned("rcpt")
        if answer:
            say({"refused": address})
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = planned("data")
        if answer:
            say({"refused": "data"})
            return answer
        fault = planned("drop")
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "authenticated": bool(session.authenticated),
            "raw": base64.b64encode(envelope.original_content or envelope.content).decode(),
        })
        if fault == "after":
            server.transport.abort()
        return "250 kept"


class Server(SMTP):
    async def smtp_DATA(self, arg):
        if faults and faults[0] == "drop before":
            faults.popleft()
            say({"refused": "drop"})
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


def listen_to_orders():
    for line in sys.stdin:
        if line.strip():
            faults.append(line.strip())
            say({"planned": line.strip()})


async def main():
    port, mode, cert, key, user, password = sys.argv[1:7]
    context = None
    if mode != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)

    def check(server, session, envelope, mechanism, data):
        good = (data.login.decode(), data.password.decode()) == (user, password)
        return AuthResult(success=good, handled=False)

    options = {"hostname": "sink.example", "enable_SMTPUTF8": True}
    if user != "-":
        options.update(authenticator=check, auth_required=True, auth_require_tls=False)
    if mode == "starttls":
        options.update(tls_context=context, require_starttls=True)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Server(Sink(), loop=loop, **options), "127.0.0.1", int(port), ssl=context if mode == "tls" else None
    )
    threading.Thread(target=listen_to_orders, daemon=True).start()
    say({"listening": int(port)})
    await server.serve_forever()


asyncio.run(main())

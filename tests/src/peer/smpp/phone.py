# A phone made of the PyPI package `smpplib`: sends texts to the hotline and says what it receives, as JSON lines.
import json
import logging
import socket
import sys
import threading

import smpplib.client
import smpplib.consts
import smpplib.gsm

logging.disable(logging.CRITICAL)
client = smpplib.client.Client("127.0.0.1", int(sys.argv[1]), timeout=1, allow_unknown_opt_params=True)


def say(**event):
    print(json.dumps(event, ensure_ascii=False), flush=True)


def received(pdu):
    data, part = pdu.short_message or b"", None
    if pdu.esm_class & smpplib.consts.SMPP_GSMFEAT_UDHI:
        part, data = list(data[1 : data[0] + 1]), data[data[0] + 1 :]
    if pdu.esm_class & 4:
        return say(event="receipt", text=data.decode("ascii", "replace"))
    text = data.decode("utf-16-be" if pdu.data_coding == 8 else "latin-1", "replace")
    say(event="received", sender=pdu.source_addr.decode(), coding=pdu.data_coding, part=part, text=text)


client.set_message_received_handler(received)
client.set_message_sent_handler(lambda pdu: say(event="sent", id=(pdu.message_id or b"").decode()))
client.connect()
client.bind_transceiver(system_id="phone", password="secret")
say(event="bound")


def listen():
    try:
        client.listen()
    except (Exception,) as e:  # the SMSC went away: so do we
        say(event="ended", why=str(e))


threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    message = json.loads(line)
    parts, coding, esm_class = smpplib.gsm.make_parts(message["text"])
    for part in parts:
        client.send_message(
            source_addr_ton=1,
            source_addr_npi=1,
            source_addr=message["from"],
            dest_addr_ton=0,
            dest_addr_npi=1,
            destination_addr=message["to"],
            short_message=part,
            data_coding=coding,
            esm_class=esm_class,
            registered_delivery=1,
        )

"""The gateway and the mail server alone, where tasks.py looks for them by default: for trying things after the demo.

python -m examples.shop.services
"""

from pathlib import Path
from threading import Event

from examples.shop.gateway import Gateway
from examples.shop.mail_sink import MailSink

with Gateway(8431) as gateway, MailSink(Path(".demo/mails"), 8025) as mail_sink:
    print(
        f"a payment gateway on {gateway.address}, a mail server on {mail_sink.address}; Ctrl-C ends"
    )
    try:
        Event().wait()
    except KeyboardInterrupt:
        print("closed")

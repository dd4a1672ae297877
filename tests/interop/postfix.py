"""Postfix: submission with STARTTLS and sign-in (Dovecot judges the passwords), a queue of its own, and a next hop."""

from __future__ import annotations

import shutil
import subprocess

import trustme

from tests.interop.daemon import HOST, Daemon, program
from tests.interop.dovecot import Dovecot

_MASTER = """\
{port} inet n - n - - smtpd -o syslog_name=postfix/submission
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Daemon):
    """See the module's promise."""

    offers_smtputf8 = True
    session_line = "]: connect from "

    def __init__(self, authority: trustme.CA, sink_port: int, judge: Dovecot) -> None:
        super().__init__(authority)
        self._sink_port = sink_port
        self._judge = judge

    def command(self) -> list[str]:
        folder = self.folder
        for name in ("etc", "queue", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        (folder / "etc" / "master.cf").write_text(_MASTER.format(port=f"{HOST}:{self.port}"))
        (folder / "etc" / "main.cf").write_text(f"""\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
myhostname = postfix.test
mydestination =
mynetworks =
inet_interfaces = {HOST}
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
disable_dns_lookups = yes
smtp_dns_support_level = disabled
default_transport = smtp:[{HOST}]:{self._sink_port}
relay_transport = $default_transport
# One next hop for everybody, so that a message stays one message.
smtp_destination_recipient_limit = 1000
default_destination_recipient_limit = 1000
smtp_tls_security_level = none
smtputf8_enable = yes
message_size_limit = 67108864
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {self.certificate}
smtpd_tls_key_file = {self.key}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {self._judge.sasl_socket}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_client_connection_rate_limit = 0
""")
        return self._said("start-fg")

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        # What runs in the foreground is a script; the master has a session of its own.
        subprocess.run(self._said("stop"), capture_output=True, timeout=30)

    def _said(self, word: str) -> list[str]:
        return [program("postfix"), "-c", str(self.folder / "etc"), word]

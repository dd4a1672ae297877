"""Dovecot: a submission server that passes on to a next hop, and, for Postfix, the judge of passwords.

With ``introspection`` (the address of an endpoint that says whose a token is, RFC 7662) it takes tokens instead of
passwords: AUTH XOAUTH2.
"""

from __future__ import annotations

from pathlib import Path

import trustme

from tests.interop.daemon import HOST, PASSWORD, SENDER, Daemon, program

_OAUTH2 = """\
introspection_mode = post
introspection_url = {url}
username_attribute = username
active_attribute = active
active_value = true
# Of ours and of nobody else, so that nothing but the configuration of the service decides who that is.
username_format = %Lu
timeout_msecs = 5000
debug = yes
"""


class Dovecot(Daemon):
    """See the module's promise."""

    session_line = "submission-login: Info: Login: "

    def __init__(self, authority: trustme.CA, sink_port: int, *, introspection: str = "") -> None:
        super().__init__(authority)
        self._sink_port = sink_port
        self._introspection = introspection

    @property
    def sasl_socket(self) -> Path:
        """Where Postfix asks about passwords."""
        return self.folder / "run" / "sasl"

    def command(self) -> list[str]:
        folder = self.folder
        (folder / "users").write_text(f"{SENDER}:{{PLAIN}}{PASSWORD}\n")
        (folder / "oauth2.conf").write_text(_OAUTH2.format(url=self._introspection))
        if self._introspection:
            mechanisms, passdb = "xoauth2", f"driver = oauth2\n  mechanisms = xoauth2\n  args = {folder}/oauth2.conf"
        else:
            mechanisms, passdb = "plain login", f"driver = passwd-file\n  args = {folder}/users"
        (folder / "dovecot.conf").write_text(f"""\
base_dir = {folder}/run
log_path = {folder}/dovecot.log
instance_name = postroom-test
protocols = submission
listen = {HOST}
ssl = required
ssl_cert = <{self.certificate}
ssl_key = <{self.key}
disable_plaintext_auth = yes
auth_mechanisms = {mechanisms}
passdb {{
  {passdb}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/home
}}
mail_location = maildir:{folder}/home
first_valid_uid = 1
# A refusal comes at once, also after others; the tests have no time to be punished.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
hostname = dovecot.test
submission_relay_host = {HOST}
submission_relay_port = {self._sink_port}
submission_max_mail_size = 64M
service submission-login {{
  inet_listener submission {{
    port = {self.port}
  }}
}}
service auth {{
  unix_listener sasl {{
    mode = 0666
  }}
}}
# None of these is needed, and each would want room in the system's own places.
service stats {{
  chroot =
}}
""")
        (folder / "home").mkdir(exist_ok=True)
        (folder / "home").chmod(0o777)
        return [program("dovecot"), "-F", "-c", str(folder / "dovecot.conf")]

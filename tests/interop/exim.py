"""Exim: submission with STARTTLS (by GnuTLS, where the others have OpenSSL) and sign-in, and a next hop."""

from __future__ import annotations

import shutil

import trustme

from tests.interop.daemon import HOST, PASSWORD, SENDER, Daemon, program


class Exim(Daemon):
    """See the module's promise."""

    offers_smtputf8 = True
    session_line = "(TCP/IP connection count"

    def __init__(self, authority: trustme.CA, sink_port: int) -> None:
        super().__init__(authority)
        self._sink_port = sink_port

    def command(self) -> list[str]:
        folder = self.folder
        # Exim reads the key when it is no longer root.
        (folder / "spool").mkdir()
        for place in (self.key, folder / "spool"):
            shutil.chown(place, "Debian-exim", "Debian-exim")
        (folder / "exim.conf").write_text(f"""\
exim_path = {program("exim4")}
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%s.log
log_selector = +smtp_connection
primary_hostname = exim.test
daemon_smtp_ports = {self.port}
local_interfaces = {HOST}
disable_ipv6 = true
keep_environment =
host_lookup =
rfc1413_hosts =
tls_advertise_hosts = *
tls_certificate = {self.certificate}
tls_privatekey = {self.key}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
message_size_limit = 64M
smtp_accept_max_per_connection = 0
smtp_receive_timeout = 30s
acl_smtp_rcpt = rcpt
acl_smtp_data = data
queue_run_max = 1
remote_max_parallel = 1

begin acl
rcpt:
  accept authenticated = *
  deny message = sign in first
data:
  accept

begin routers
onward:
  driver = manualroute
  route_list = * {HOST} byname
  transport = onward
  self = send

begin transports
onward:
  driver = smtp
  hosts = {HOST}
  port = {self._sink_port}
  allow_localhost
  hosts_try_fastopen =
  hosts_avoid_tls = *
  message_linelength_limit = 100000
  max_rcpt = 0
  multi_domain

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{SENDER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${{if and{{{{eq{{$auth1}}{{{SENDER}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
""")
        return [program("exim4"), "-C", str(folder / "exim.conf"), "-bdf"]

    def told(self) -> str:
        logs = sorted((self.folder / "spool").glob("*.log"))
        return super().told() + "\n".join(path.read_text(errors="replace") for path in logs)

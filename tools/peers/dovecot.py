"""A private Dovecot: its own configuration, users, mail and sockets, as root or as anybody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from .certs import Certificate, Tls
from .greeting import wait_for_greeting
from .process import (
    BACKEND_PORT,
    SUN_PATH_MAX,
    Process,
    chown_tree,
    group_name,
    is_reachable,
    is_root,
    private_dir,
    remove_dir,
    unprivileged,
)

MAIL_ACCOUNT = "mail"
PROXY_HELLO = b"PROXY UNKNOWN\r\n"
LONGEST_SOCKET = len("/run/token-login/imap-urlauth-login.12345678")

CONFIG = """
protocols = imap {others}
base_dir = {run}
state_dir = {run}
instance_name = {name}
listen = {address}
log_path = {log}
auth_verbose = yes
mail_log_prefix = "%s(%u)<%{{pid}}><%{{session}}>: "
login_greeting = {greeting}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
default_client_limit = 4096
default_process_limit = 4096
default_vsz_limit = 0

disable_plaintext_auth = {tls_first}
auth_mechanisms = plain login
auth_failure_delay = {failure_delay}
haproxy_trusted_networks = 127.0.0.0/8
haproxy_timeout = 1 secs
login_trusted_networks = {trusted}
imap_id_log = *
imap_idle_notify_interval = {idle_notify} secs
mail_max_userip_connections = {userip_connections}
{masters}passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {passwd}
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={mail}/%u
}}
first_valid_uid = 1
mail_location = {location}
mail_fsync = never
mail_plugins = {mail_plugins}
{plugin_settings}protocol imap {{
  mail_plugins = {imap_plugins}
  {capability}
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
{special_uses}}}

ssl = {ssl}
{ssl_files}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  process_limit = 2
  client_limit = 4096
  inet_listener imap {{
    port = {port}
    haproxy = {haproxy}
  }}
  inet_listener imaps {{
    port = {implicit_port}
    ssl = yes
    haproxy = {haproxy}
  }}
}}
service imap {{
  process_limit = 4096
  client_limit = {clients_per_process}
  service_count = {clients_per_process}
}}
service auth {{
  client_limit = 16384
}}
service anvil {{
  chroot =
  client_limit = 16384
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
{listeners}
"""

# Who may log in for others, by the authorization identity of SASL.
MASTERS = """passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {passwd}
  master = yes
}}
"""

# What it can do beside mail, by names of our own: plugins for all its programs, further ones for IMAP,
# and their settings.
PLUGINS = {
    "compress": ("", "imap_zlib", ""),
    "acl": ("acl", "imap_acl", "plugin {{\n  acl = vfile\n}}\n"),
    "metadata": (
        "",
        "",
        "mail_attribute_dict = file:%h/dovecot-attributes\nprotocol imap {{\n  imap_metadata = yes\n}}\n",
    ),
    "quota": (
        "quota",
        "imap_quota",
        "plugin {{\n  quota = count:User quota\n  quota_vsizes = yes\n"
        "  quota_rule = *:storage={quota}\n}}\n",
    ),
}

# Its other servers, by the words that "protocols" has for them.
OTHERS = {
    "pop3": """service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
""",
    "submission": """submission_relay_host = 127.0.0.1
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {port}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
""",
    "sieve": """service managesieve-login {{
  chroot =
  inet_listener sieve {{
    port = {port}
  }}
}}
""",
    "lmtp": """service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
}}
""",
}


class Dovecot:
    """One server. `address`, `port` and `log` are for its users; stop() when done.

    Its sockets, and for root also its mail, are in a temporary folder if `folder` is too deep for
    a socket's name, or closed to the accounts that Dovecot's processes change to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        address: str,
        users: Mapping[str, str],
        port: int = BACKEND_PORT,
        tls: Tls = Tls.OFF,
        certificate: Certificate | None = None,
        tls_first: bool = False,
        driver: str = "maildir",
        clients_per_process: int = 1,
        failure_delay_s: int = 0,
        haproxy: bool = False,
        trusted_networks: str = "",
        idle_notify_s: int = 120,
        compress: bool = False,
        others: Mapping[str, int] | None = None,
        mail: Path | None = None,
        masters: Mapping[str, str] | None = None,
        separator: str = "/",
        prefix: str = "",
        layout: str = "",
        special_uses: Mapping[str, str] | None = None,
        plugins: Collection[str] = (),
        quota: str = "1G",
        userip_connections: int = 0,
        capability: str = "",
    ) -> None:
        """Starts the server and returns when it greets.

        `users` maps names to passwords. With Tls.IMPLICIT the port speaks TLS from the first
        byte, with Tls.STARTTLS it offers it, and `tls_first` refuses passwords before. `driver`
        is "maildir", "sdbox" or "mdbox". With `haproxy` each
        connection must begin with a PROXY header, and from `trusted_networks` the ID command may
        tell of the client. Above one, `clients_per_process` makes many sessions cheap. Who idles
        hears "* OK Still here" about every `idle_notify_s`. `compress` offers COMPRESS=DEFLATE.
        `others` has ports of OTHERS, which share TLS and users. `mail` is where users' mail lies, if
        servers share it; every account may walk there. `masters` maps names to passwords of those
        who may log in for every user.

        The users' namespace has `separator` and `prefix`; `layout` "fs" lets names in a Maildir have
        dots; `special_uses` maps names without the prefix to "\\Sent" and the like. `plugins` are
        some of PLUGINS; `quota` is what each user may have, with that. A user may have so many
        `userip_connections` from an address; 0: any number. `capability`, if it is not empty, is what
        the server says that it can do, after the login.
        """
        self.folder = folder
        self.name = name
        self.address = address
        self.port = port
        self.tls = tls
        self.users = dict(users)
        self.account = unprivileged(MAIL_ACCOUNT)
        self.log = folder / "dovecot.log"
        self.config = folder / "dovecot.conf"
        folder.mkdir(parents=True, exist_ok=True)

        place = folder
        self.temporary: Path | None = None
        if len(str(folder)) + LONGEST_SOCKET > SUN_PATH_MAX or (is_root() and not is_reachable(folder)):
            self.temporary = place = private_dir(f"dovecot-{name}")
        run = place / "run"
        # Sockets of an earlier run would be waited at for an answer.
        remove_dir(run)
        run.mkdir()
        self.mail = mail or (folder if not is_root() or is_reachable(folder) else place) / "mail"
        for user in users:
            (self.mail / user).mkdir(parents=True, exist_ok=True)
        chown_tree(self.mail, self.account)

        passwd = place / "passwd"
        passwd.write_text("".join(f"{user}:{word}::::::\n" for user, word in users.items()))
        passwd.chmod(0o644)
        if masters:
            of_masters = place / "masters"
            of_masters.write_text("".join(f"{user}:{word}::::::\n" for user, word in masters.items()))
            of_masters.chmod(0o644)
        location = f"{driver}:~/{'Maildir' if driver == 'maildir' else driver}"
        location += f":LAYOUT={layout}" if layout else ""
        used = [PLUGINS[name] for name in [*plugins, *(["compress"] if compress else [])]]
        files = ""
        if certificate:
            files = f"ssl_cert = <{certificate.certificate}\nssl_key = <{certificate.key}\n"
        internal = unprivileged("dovecot")
        self.config.write_text(
            CONFIG.format(
                run=run,
                name=name,
                address=address,
                log=self.log,
                greeting=f"{name} ready.",
                internal_user=internal.pw_name,
                internal_group=group_name(internal),
                login_user=unprivileged("dovenull").pw_name,
                tls_first="yes" if tls_first else "no",
                failure_delay=failure_delay_s,
                haproxy="yes" if haproxy else "no",
                trusted=trusted_networks,
                idle_notify=idle_notify_s,
                mail_plugins=" ".join(["$mail_plugins", *(of_all for of_all, _, _ in used)]),
                imap_plugins=" ".join(["$mail_plugins", *(of_imap for _, of_imap, _ in used)]),
                plugin_settings="".join(settings.format(quota=quota) for _, _, settings in used),
                capability=f"imap_capability = {capability}" if capability else "",
                userip_connections=userip_connections,
                separator=separator,
                prefix=prefix,
                special_uses="".join(
                    f"  mailbox {mailbox} {{\n    special_use = {use}\n  }}\n"
                    for mailbox, use in (special_uses or {}).items()
                ),
                others=" ".join(others or {}),
                listeners="".join(OTHERS[key].format(port=at) for key, at in (others or {}).items()),
                passwd=passwd,
                masters=MASTERS.format(passwd=of_masters) if masters else "",
                mail_uid=self.account.pw_uid,
                mail_gid=self.account.pw_gid,
                mail=self.mail,
                location=location,
                ssl="no" if tls is Tls.OFF else "yes",
                ssl_files=files,
                port=0 if tls is Tls.IMPLICIT else port,
                implicit_port=port if tls is Tls.IMPLICIT else 0,
                clients_per_process=clients_per_process,
            )
        )
        self.process = Process(["dovecot", "-F", "-c", self.config])
        try:
            wait_for_greeting(self.process, address, port, tls, PROXY_HELLO if haproxy else b"")
        except BaseException as error:
            self.process.kill()
            self._forget_temporary()
            if not isinstance(error, Exception):
                raise
            said = self.log.read_text() if self.log.exists() else ""
            raise RuntimeError(f"dovecot {name} did not start: {said[-2000:]}") from error

    def __enter__(self) -> Dovecot:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def maildir(self, user: str) -> Path:
        """Where the user's INBOX lies, with driver "maildir"."""
        return self.mail / user / "Maildir"

    def adopt(self, user: str) -> None:
        """Gives files that were put into a user's mail folder to the account that serves it."""
        chown_tree(self.mail / user, self.account)

    def stop(self) -> None:
        """Ends the server and all its processes; its mail stays in the folder."""
        try:
            # Told through its master alone, a Dovecot with sessions takes ten seconds.
            self.process.stop(to_children=True)
        finally:
            self._forget_temporary()

    def _forget_temporary(self) -> None:
        if self.temporary:
            remove_dir(self.temporary)

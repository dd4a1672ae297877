"""The command line: one function a command, each with its exit code and no traceback for expected trouble.

Exit codes: 0 done or drained, 1 the command failed, 2 faults in the configuration or the call, 3 cannot start. Imports
stay inside the commands, so that a small one starts at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from app.commands.common import DEFAULT_CONFIG, EXIT_CANNOT_START, EXIT_CONFIGURATION, ConfigFile, load_settings

app = typer.Typer(
    name="postroom",
    help="The mail desk of an organisation on Microsoft 365.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables could show a secret.
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Check the configuration and tell about it.", no_args_is_help=True)
keys_app = typer.Typer(help="Make API keys.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(keys_app, name="keys")


def main() -> None:
    """Run the command line (the console script ``postroom``)."""
    from app.commands.doctor import doctor, setup_app
    from app.commands.mailboxes import mailbox_app
    from app.commands.queue import audit, queue_app
    from app.commands.senders import sender_app
    from app.commands.store import store_app
    from app.commands.tenants import tenant_app

    app.command()(doctor)
    app.add_typer(mailbox_app, name="mailbox")
    app.add_typer(setup_app, name="setup")
    app.add_typer(queue_app, name="queue")
    app.add_typer(tenant_app, name="tenant")
    app.add_typer(sender_app, name="sender")
    app.command("audit")(audit)
    app.add_typer(store_app, name="store")
    app()


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"postroom {version('postroom')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: ConfigFile = DEFAULT_CONFIG,
    dev: Annotated[
        bool, typer.Option("--dev", help="Development: read .env in the current folder, allow POSTROOM_FAILPOINTS.")
    ] = False,
) -> None:
    """Run the service until it is told to stop."""
    failpoints = os.environ.get("POSTROOM_FAILPOINTS", "")
    if failpoints:
        _check_failpoints(failpoints, dev=dev)
    settings = load_settings(config, dotenv=dev)

    from app.main import Reload
    from app.main import serve as run
    from app.settings import load

    reload = Reload(config, lambda: load(config, os.environ, dotenv=dev))
    raise typer.Exit(run(settings, reload, failpoints=failpoints))


def _check_failpoints(failpoints: str, *, dev: bool) -> None:
    """Exit with 2 where named points would end a service that is not for development, or where one does not exist."""
    from app.kit.failpoints import Failpoints

    problem = None if dev else "ends the process on purpose; use it with --dev only"
    try:
        Failpoints(failpoints)
    except ValueError as error:
        problem = problem or str(error)
    if problem:
        typer.echo(f"environment: POSTROOM_FAILPOINTS: {problem}", err=True)
        raise typer.Exit(EXIT_CONFIGURATION)


@config_app.command("check")
def config_check(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Check the configuration: print ok, or every fault with its place and what to do."""
    settings = load_settings(config)
    typer.echo(f"ok: {config}")
    for plan in settings.mailbox_plans():
        server = plan.connection
        typer.echo(f"mailbox {plan.name}: {plan.address} at {server.host}:{server.port}, signs in by {plan.method}")
    for name, tenant in settings.tenants.items():
        senders = ", ".join(map(str, tenant.senders)) or "no sender"
        typer.echo(f"tenant {name}: {_counted(len(tenant.keys), 'key')}, {senders}")
    typer.echo(f"operators: {_counted(len(settings.server.admin_keys), 'key')}")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


@config_app.command("schema")
def config_schema(config: ConfigFile = DEFAULT_CONFIG) -> None:  # noqa: ARG001 (every command takes it)
    """Print a JSON Schema of the configuration file, for editors."""
    from app.settings.documents import schema

    typer.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@config_app.command("env-example")
def config_env_example(config: ConfigFile = DEFAULT_CONFIG) -> None:  # noqa: ARG001 (every command takes it)
    """Print every setting as a variable of the environment, with its meaning."""
    from app.settings.documents import env_example

    typer.echo(env_example(), nl=False)


@config_app.command("reference")
def config_reference(config: ConfigFile = DEFAULT_CONFIG) -> None:  # noqa: ARG001 (every command takes it)
    """Print every setting with meaning, kind, default and variable, as Markdown."""
    from app.settings.documents import reference

    typer.echo(reference(), nl=False)


@keys_app.command("new")
def keys_new(
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="The tenant it is for.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make an operator's key.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Make a key that does everything but send.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,  # noqa: ARG001 (every command takes it)
) -> None:
    """Make an API key: print it, and the line for the configuration. It is shown this once and kept nowhere."""
    from secrets import SystemRandom

    from app.web.keys import new_key

    if admin == (tenant is not None):
        raise typer.BadParameter("name a tenant, or say --admin")
    if admin and test:
        raise typer.BadParameter("an operator's key sends nothing, so --test has no meaning for it")
    key = new_key(test, SystemRandom())
    typer.echo(key.text)
    typer.echo(f'{{ id = "{key.id}", hash = "{key.hash}" }}')
    where = "[server] admin_keys" if admin else f"[tenants.{tenant}] keys"
    typer.echo(f"The second line goes into {where}; the first is shown this once.", err=True)


@app.command()
def emulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for SMTP; 0: any free one.")] = 2525,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for HTTP; 0: any free one.")] = 8025,
    ca_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the certificate authority, PEM.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Accounts and faults of the emulator, TOML.")
    ] = None,
) -> None:
    """Run an Exchange Online look-alike for development and tests."""
    from app.emulator import run

    try:
        run(host=host, port=port, http_port=http_port, ca_out=ca_out, config=config)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    except OSError as error:
        typer.echo(f"cannot start: {error.strerror or error}", err=True)
        raise typer.Exit(EXIT_CANNOT_START) from None

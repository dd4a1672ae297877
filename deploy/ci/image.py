"""Does what the Dockerfile and the compose file say, without a container engine, and sends one message through it.

Each instruction of the Dockerfile is carried out as it stands, in a root of its own made of this machine's Debian and
Python; then both services of the compose file run as the image's user, without rights, on a root file system that is
read-only, and are judged by the image's own health check. Needs root and namespaces, so it is for CI and the brave:
nothing outside its own folder is written. What only an engine can do is not done: no layers, no image.

``image.py`` exits 0 when a message posted to the service has arrived at the emulator.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

HERE = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0
SIZE_GOAL_MB = 180
# What this machine may stand in for, being Debian 12 with Debian's Python: the images that are made of just that.
BASES = ("debian:bookworm-slim", "gcr.io/distroless/python3-debian12:nonroot")
# What the second of them is made of, to tell its size.
BASE_PACKAGES = (
    *("base-files", "ca-certificates", "netbase", "tzdata", "python3.11-minimal", "libpython3.11-minimal"),
    *("libpython3.11-stdlib", "libc6", "libgcc-s1", "libgomp1", "libstdc++6", "libssl3", "libsqlite3-0", "zlib1g"),
    *("libbz2-1.0", "liblzma5", "libexpat1", "libffi8", "libuuid1", "libdb5.3", "libcrypt1", "libtinfo6", "libnsl2"),
    *("libncursesw6", "libreadline8", "libtirpc3", "libcom-err2", "libgssapi-krb5-2", "libk5crypto3", "libkeyutils1"),
    *("libkrb5-3", "libkrb5support0"),
)
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib64")
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")


class Failed(Exception):
    """It cannot go on; the text says why."""


@dataclass
class Stage:
    """A stage of the Dockerfile: its root, and what its instructions have set."""

    root: Path
    name: str = ""
    env: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})
    workdir: str = "/"
    user: str = "0:0"
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        """Return where a path of the image lies on this machine."""
        return self.root / (Path(self.workdir) / path).relative_to("/")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with their arguments, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def run(*command: str | Path, **more: Any) -> None:
    """Run a command; fail with its output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **more)  # noqa: S603
    if done.returncode:
        raise Failed(f"{shlex.join(map(str, command))}\n{(done.stdout + done.stderr)[-3000:]}")


def within(stage: Stage, command: list[str], env: dict[str, str] | None = None) -> list[str | Path]:
    """Return a command that runs in a stage: its root, its user, its folder, its environment and no other."""
    settings = [f"{name}={value}" for name, value in {**stage.env, **(env or {})}.items()]
    words = ["/usr/bin/env", "-i", f"--chdir={stage.workdir}", *settings, *command]
    return ["setpriv", "--no-new-privs", "chroot", f"--userspec={stage.user}", stage.root, *words]


def new_root(folder: Path, name: str) -> Path:
    """Make a root of this machine's Debian, read-only, with an /etc of its own."""
    root = folder / name
    root.mkdir(mode=0o755)
    for each in _SYSTEM:
        if Path("/", each).is_symlink():
            (root / each).symlink_to(os.readlink(Path("/", each)))
        elif Path("/", each).is_dir():
            (root / each).mkdir()
            bind(Path("/", each), root / each)
    # What this machine has installed by hand is no part of Debian.
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "usr" / "local")
    for each in ("proc", "dev", "tmp", "opt", "var/lib"):
        (root / each).mkdir(parents=True)
    run("mount", "--rbind", "/dev", root / "dev")
    run("mount", "-t", "proc", "proc", root / "proc")
    (root / "tmp").chmod(0o1777)
    shutil.copytree("/etc", root / "etc", symlinks=True, ignore_dangling_symlinks=True)
    return root


def bind(source: Path, target: Path, *, writable: bool = False) -> None:
    """Show a folder or file at another place, read-only unless said otherwise."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    else:
        target.mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", source, target)
    if not writable:
        run("mount", "-o", "remount,ro,bind", target)


def build(folder: Path, text: str) -> Stage:
    """Carry out a Dockerfile; return its last stage."""
    stages: list[Stage] = []
    for word, rest in instructions(text):
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            check_base(image)
            stages.append(Stage(new_root(folder, f"stage{len(stages)}"), name))
            continue
        began = time.monotonic()
        carry_out(stages, word, rest)
        print(f"  {word:<11} {rest[:90]:<90} {time.monotonic() - began:6.1f} s")
    return stages[-1]


def carry_out(stages: list[Stage], word: str, rest: str) -> None:
    """Carry out one instruction in the last stage."""
    stage = stages[-1]
    match word:
        case "RUN" if rest.startswith("apt-get update"):
            install = next(each for each in rest.split("&&") if "apt-get install" in each)
            check_packages([each for each in shlex.split(install)[2:] if not each.startswith("-")])
        case "RUN":
            passed = {
                name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("PIP_")
            }
            stage.env, before = {**passed, **stage.env}, stage.env
            run(*within(stage, ["/bin/sh", "-c", rest]))
            stage.env = before
        case "COPY":
            copy(stages, shlex.split(rest))
        case "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                stage.env[name] = value.replace("${PATH}", stage.env["PATH"])
        case "WORKDIR":
            stage.workdir = rest
            stage.at(".").mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = rest
        case "HEALTHCHECK":
            stage.health = json.loads(rest.partition("CMD ")[2])
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        case "CMD":
            stage.command = json.loads(rest)
        case "ARG" | "LABEL" | "VOLUME" | "EXPOSE" | "STOPSIGNAL":
            pass  # for engines and people
        case _:
            raise Failed(f"the Dockerfile has an instruction that is not known here: {word}")


def check_base(image: str) -> None:
    """Fail where this machine is too far from the base image to stand in for it."""
    release = Path("/etc/os-release").read_text()
    if image not in BASES or "VERSION_CODENAME=bookworm" not in release:
        raise Failed(f"the Dockerfile begins with {image}, for which this machine cannot stand in")


def check_packages(names: list[str]) -> None:
    """Fail where a package that the Dockerfile installs is missing here; the system itself is left alone."""
    for name in names:
        run("dpkg-query", "--show", name)


def installed_mb(names: tuple[str, ...]) -> float:
    """Return the room that packages take once installed, those that are installed here."""
    told = subprocess.run(  # noqa: S603
        ["dpkg-query", "--show", "--showformat=${Installed-Size}\n", *names],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return sum(int(line) for line in told.stdout.split()) * 1024 / 1_000_000


def copy(stages: list[Stage], words: list[str]) -> None:
    """COPY: from an earlier stage, or from what .dockerignore lets through."""
    stage = stages[-1]
    flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    *names, destination = [word for word in words if not word.startswith("--")]
    source = HERE
    if "from" in flags:
        source = next(each.root for each in stages if each.name == flags["from"])
        names = [name.lstrip("/") for name in names]
    else:
        kept = [line[1:] for line in (HERE / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        if missing := set(names) - set(kept):
            raise Failed(f".dockerignore hides {', '.join(missing)} from the build")
    for name in names:
        target = stage.at(destination)
        if (source / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__") if source is HERE else None
            shutil.copytree(source / name, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)
        else:
            shutil.copy(source / name, target / name if destination.endswith("/") else target)
        if "chown" in flags:
            owner, _, group = flags["chown"].partition(":")
            for each in (target, *target.rglob("*")):
                os.chown(each, int(owner), int(group))


def start(stage: Stage, folder: Path, name: str, service: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a service of the compose file in a root that nobody can write to."""
    root = folder / name
    root.mkdir(mode=0o755)
    # Everything beneath comes along, read-only; volumes and tmpfs are put over it.
    run("mount", "--rbind", stage.root, root)
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        place = root / target.lstrip("/")
        if not place.exists():
            # An engine makes the missing mount point in the container's own layer.
            (place if not source.startswith(".") else place.parent).mkdir(parents=True, exist_ok=True)
            if source.startswith("."):
                place.touch()
        if source.startswith("."):
            bind(HERE / source, place)
            continue
        shared = folder / f"volume-{source}"
        if not shared.exists():
            # A new volume takes owner and rights of what the image has there.
            shared.mkdir()
            state = place.stat()
            os.chown(shared, state.st_uid, state.st_gid)
            shared.chmod(state.st_mode & 0o7777)
        bind(shared, place, writable=mode != ["ro"])
    for each in service.get("tmpfs", []):
        target, _, options = each.partition(":")
        run("mount", "-t", "tmpfs", "-o", options, "tmpfs", root / target.lstrip("/"))
    if service["read_only"]:
        run("mount", "-o", "remount,ro,bind", root)
    env = {key: str(value) for key, value in service.get("environment", {}).items()}
    container = Stage(root, env={**stage.env}, workdir=stage.workdir, user=stage.user)
    command = within(container, [*stage.entrypoint, *(service.get("command") or stage.command)], env)
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603


def await_health(stage: Stage, folder: Path, name: str, check: list[str], process: subprocess.Popen[bytes]) -> None:
    """Ask by a health check until it is content."""
    container = Stage(folder / name, env=stage.env, workdir=stage.workdir, user=stage.user)
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if subprocess.run(within(container, check), capture_output=True, check=False).returncode == 0:  # noqa: S603
            return
        time.sleep(0.2)
    raise Failed(f"{name} is not healthy:\n{(folder / f'{name}.log').read_text()[-3000:]}")


def serve(stage: Stage, folder: Path) -> None:
    """Run the compose file's services in a network of their own; post a message and see it arrive."""
    key, line = made_key(stage)
    text = (HERE / "docker-compose.yml").read_text()
    before, _, rest = text.partition("${DEMO_KEYS:?")
    services = yaml.safe_load(before + json.dumps(f"[{as_json(line)}]") + rest.partition("}")[2])["services"]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name in ("emulator", "postroom"):
            processes.append(start(stage, folder, name, services[name]))
            check = services[name].get("healthcheck", {}).get("test", ["CMD", *stage.health])[1:]
            await_health(stage, folder, name, check, processes[-1])
            print(f"  {name} is healthy")
        post(key)
        processes[-1].send_signal(signal.SIGTERM)
        code = processes[-1].wait(45)
        if code:
            raise Failed(f"the service ended with {code}:\n{(folder / 'postroom.log').read_text()[-3000:]}")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def made_key(stage: Stage) -> tuple[str, str]:
    """Make an API key with the image; return it and the line for the configuration."""
    command = within(stage, [*stage.entrypoint, "keys", "new", "demo"])
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        raise Failed(made.stderr)
    key, line = made.stdout.splitlines()
    return key, line


def as_json(line: str) -> str:
    """Return a line of TOML of two texts, as ``keys new`` prints it, as JSON."""
    words = line.strip("{} ").split('"')
    return json.dumps({"id": words[1], "hash": words[3]})


def post(key: str) -> None:
    """Post a message and wait until the emulator has it."""
    letter = {"from": "billing@contoso.test", "to": "ada@customer.test", "subject": "From the image", "text": "Hello."}
    with httpx.Client(trust_env=False, timeout=10, headers={"Authorization": f"Bearer {key}"}) as http:
        answer = http.post("http://127.0.0.1:8080/v1/messages", json=letter)
        if answer.status_code != httpx.codes.ACCEPTED:
            raise Failed(answer.text)
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            arrived = http.get("http://127.0.0.1:8025/messages").json()
            if arrived:
                print(f"  a message arrived at the emulator: {answer.json()['id']}")
                return
            time.sleep(0.1)
    raise Failed("the message did not arrive")


def raise_loopback() -> None:
    """Bring up the loopback interface of a new network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        up = struct.pack("16sH14s", b"lo", 0x1 | 0x40, b"")
        fcntl.ioctl(probe, 0x8914, up)


def megabytes(place: Path) -> float:
    """Return the room that a folder's files take."""
    return sum(each.lstat().st_size for each in place.rglob("*")) / 1_000_000


def check_size(ours: float, base: float) -> None:
    """Tell the size of the image, and fail where it is past the goal."""
    print(f"  {ours:.0f} MB of ours and about {base:.0f} MB of the base image: {ours + base:.0f} MB")
    if ours + base > SIZE_GOAL_MB:
        raise Failed(f"the image would have more than {SIZE_GOAL_MB} MB")


def unshare_network() -> None:
    """Leave this machine's network for one of our own, in which the usual ports are free (unshare(2))."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise Failed(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    raise_loopback()


def outside() -> int:
    """Run this script again where mounts are its own and end with it; return its exit code."""
    folder = tempfile.mkdtemp(prefix="postroom-image-")
    try:
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, folder]
        return subprocess.run(command, check=False).returncode  # noqa: S603
    finally:
        # Empty, seen from here: whatever was made lay on a file system of its own.
        Path(folder).rmdir()


def inside(folder: Path) -> int:
    """Build and serve below a folder; return the exit code."""
    try:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
        print("the Dockerfile's instructions:", flush=True)
        stage = build(folder, (HERE / "Dockerfile").read_text())
        check_size(megabytes(stage.root / "opt"), installed_mb(BASE_PACKAGES))
        with (stage.root / "etc" / "hosts").open("a") as hosts:
            hosts.write("\n127.0.0.1 emulator\n")
        print("the compose file's services:", flush=True)
        unshare_network()
        serve(stage, folder)
    except Failed as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(inside(Path(sys.argv[1])) if len(sys.argv) > 1 else outside())

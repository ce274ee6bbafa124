"""Services on a machine: installed, started in the order of their uses, degraded, replaced, stopped and removed."""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.rigs.command_line import casemate_here
from tests.rigs.examples import files_of
from tests.rigs.served_commands import up
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, SEED, Workshop, exact_policy

from casemate.client import AttestAgainError, Client, HostRefusedError, aio, connect
from casemate.client.core import CallSecrets
from casemate.client.local import LocalMachine, local_machine
from casemate.images.image import Image
from casemate.testing.served import served_machine
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.services import ServiceState
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

ENTRY: dict[str, Any] = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone", "kind": "query"}
SOURCE = """
export function ask(input, context) {{
    return {{ version: "{version}", below: JSON.stringify({uses}.map((name) => context.call(name, "ask", null))) }};
}}
"""


@dataclass
class Site:
    """A machine of its own, and services to install on it."""

    machine: LocalMachine
    workshop: Workshop
    client: Client
    images: dict[tuple[str, str], Image] = field(default_factory=dict)

    def image(self, name: str, *used: str, version: str = "1.0.0", **more: Any) -> Image:
        """The image of a service; its operation says its version, and those of what it uses."""
        if (name, version) not in self.images:
            demands = {"mrsigner": "same", "product_id": 1, "min_security_version": 1, "operations": ["ask"]}
            self.images[name, version] = self.workshop.image(
                SOURCE.format(version=version, uses=list(used)),
                name=name,
                entries={"ask": ENTRY},
                service={"version": version, "family": "custom", "description": f"The service {name}."},
                uses=dict.fromkeys(used, demands) if used else None,
                time_ms=5000,
                **more,
            )
        return self.images[name, version]

    def install(self, name: str, *used: str, version: str = "1.0.0", **more: Any) -> Any:
        return self.machine.install_service(self.image(name, *used, version=version), source="a test", **more)

    def states(self) -> dict[str, ServiceState]:
        return {each.name: each.state for each in self.machine.services()}

    def ask(self, name: str, version: str = "1.0.0") -> Any:
        policy = exact_policy(self.machine, self.images[name, version])
        return self.client.attest(name, policy).call("ask", None).value


@pytest.fixture
def site(tmp_path: Path, workshop: Workshop) -> Iterator[Site]:
    with local_machine(tmp_path / "machine", seed=SEED) as machine, connect(machine.host_socket) as client:
        yield Site(machine, workshop, client)


def refused(code: Code, work: Any, *given: Any, **more: Any) -> str:
    with pytest.raises((FaultError, HostRefusedError)) as raised:
        work(*given, **more)
    fault = raised.value.fault
    assert fault.code is code, fault
    return fault.reason


def test_services_start_in_the_order_of_their_uses_and_show_how_they_are(site: Site) -> None:
    machine = site.machine
    site.install("shop", "billing", "stock")
    site.install("billing", "vault")
    site.install("stock", "vault")
    told = refused(Code.WRONG_STATE, machine.start_service, "shop")
    assert told.startswith("shop -> billing -> vault: nothing of that name")
    assert set(site.states().values()) == {ServiceState.STOPPED}
    site.install("vault")
    started = machine.start_service("shop")
    assert (started.state, started.reason, started.uses) == (ServiceState.READY, "", ("billing", "stock"))
    assert set(site.states().values()) == {ServiceState.READY}
    used = json.loads(site.ask("shop")["below"])
    assert [json.loads(each["below"])[0]["version"] for each in used] == ["1.0.0", "1.0.0"]
    again = machine.start_service("shop")
    assert again.enclave == started.enclave

    assert "used by shop, billing, stock" in refused(Code.WRONG_STATE, machine.stop_service, "vault")
    site.client.stop(machine.service("vault").enclave)
    shop = machine.service("shop")
    assert (shop.state, shop.reason) == (ServiceState.DEGRADED, "uses vault, which does not run")
    assert site.states()["vault"] is ServiceState.STOPPED
    machine.start_service("vault")
    assert machine.service("shop").state is ServiceState.READY

    drawn = casemate_here("service", "graph", "--state", machine.state)
    assert drawn.out.splitlines()[:3] == ["shop (ready)", "├─ billing (ready)", "│  └─ vault (ready)"]
    stopped = machine.stop_service("vault", with_users=True)
    assert stopped.state is ServiceState.STOPPED
    assert set(site.states().values()) == {ServiceState.STOPPED}
    assert "used by billing, stock: remove" in refused(Code.WRONG_STATE, machine.remove_service, "vault")
    assert {each.name for each in machine.remove_service("shop")} == {"billing", "stock", "vault"}
    assert refused(Code.UNKNOWN_ENCLAVE, machine.service, "shop").endswith("there are: billing, stock, vault")


def test_a_newer_version_takes_the_place_of_the_one_that_runs(site: Site) -> None:
    machine = site.machine
    site.install("tallies")
    first = machine.start_service("tallies")
    site.image("tallies", version="1.1.0")
    newer = site.install("tallies", version="1.1.0")
    assert (newer.version, newer.enclave, newer.state) == ("1.1.0", first.enclave, ServiceState.READY)
    assert "start it to change over" in newer.reason
    assert site.ask("tallies")["version"] == "1.0.0"
    changed = machine.start_service("tallies")
    assert changed.enclave != first.enclave
    assert site.ask("tallies", "1.1.0")["version"] == "1.1.0"
    told = refused(Code.WRONG_STATE, site.install, "tallies", version="1.0.0")
    assert "1.1.0 is installed, which is newer than 1.0.0" in told
    assert site.install("tallies", version="1.0.0", allow_older=True).version == "1.0.0"
    machine.start_service("tallies")
    assert site.ask("tallies")["version"] == "1.0.0"
    machine.remove_service("tallies")
    assert site.client.enclaves() == ()


def test_what_is_installed_outlives_the_machine(tmp_path: Path, workshop: Workshop) -> None:
    with up(tmp_path / "machine") as (machine, _), connect(machine.host_socket) as client:
        site = Site(machine, workshop, client)
        site.install("vault")
        site.install("shop", "vault")
        before = machine.start_service("shop")
    with up(tmp_path / "machine") as (machine, _), connect(machine.host_socket) as client:
        later = Site(machine, workshop, client, site.images)
        shop = machine.start_service("shop")
        assert (shop.enclave, shop.version, shop.source) == (before.enclave, "1.0.0", "a test")
        assert json.loads(later.ask("shop")["below"])[0]["version"] == "1.0.0"


def test_circles_are_refused_when_they_would_close(site: Site) -> None:
    site.install("a", "b")
    site.install("b", "c")
    assert "c -> a -> b -> c" in refused(Code.WRONG_STATE, site.install, "c", "a")
    assert "d -> d" in refused(Code.WRONG_STATE, site.install, "d", "d")
    assert set(site.states()) == {"a", "b"}


def test_what_is_no_service_is_not_installed(site: Site) -> None:
    machine = site.machine
    plain = site.workshop.image("export function main() { return 1; }")
    assert "add [service]" in refused(Code.LAUNCH_REFUSED, machine.install_service, plain)
    good = site.image("good")
    for sgxs in (b"", good.sgxs[:1000], b"\xff" * 5000):
        broken = Image("good", sgxs, good.sigstruct)
        assert refused(Code.LAUNCH_REFUSED, machine.install_service, broken)
    for name in ("none", "../x", "x" * 64, ""):
        assert "there are: none" in refused(Code.UNKNOWN_ENCLAVE, machine.start_service, name)
    assert machine.services() == ()


def test_one_that_does_not_start_is_named_and_those_before_it_stay(site: Site) -> None:
    machine = site.machine
    site.install("vault")
    broken = site.workshop.image(
        "throw new Error('never');\nexport function ask() {}",
        name="billing",
        entries={"ask": ENTRY},
        service={"version": "1.0.0", "family": "custom", "description": "Broken."},
        uses={"vault": {"mrsigner": "same", "product_id": 1, "min_security_version": 1, "operations": ["ask"]}},
    )
    machine.install_service(broken)
    site.install("shop", "billing")
    with pytest.raises(FaultError, match=r"billing \(used by shop\) does not start") as raised:
        machine.start_service("shop")
    assert raised.value.fault.reason
    assert site.states() == {
        "billing": ServiceState.STOPPED, "shop": ServiceState.STOPPED, "vault": ServiceState.READY,
    }  # fmt: skip
    assert [each.state for each in site.client.enclaves()] == [State.RUNNING]


@pytest.mark.parametrize("engine", Engine)
def test_a_service_is_written_installed_called_upgraded_and_removed_by_commands(
    engine: Engine, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    on_it, folder = ("--state", site.machine.state), tmp_path / "tallies"

    def does(*arguments: object) -> Any:
        said = casemate_here(*arguments)
        assert said.code == 0, said
        return said

    does("service", "new", folder, "--engine", engine)
    installed = does("service", "install", folder, "--json", *on_it).json
    assert (installed["name"], installed["version"], installed["state"]) == ("tallies", "1.0.0", "stopped")
    assert [(each["name"], each["kind"]) for each in installed["operations"]] == [("add", "command"), ("tell", "query")]
    assert installed["operations"][0]["input"]["required"] == ["name", "by"]
    assert does("service", "start", "tallies", "--json", *on_it).json["state"] == "ready"
    policy = tmp_path / "policy.toml"
    policy.write_text(does("policy", folder, *on_it).out)
    called = ("call", "tallies", "add", "--input", folder / "input.json", "--policy", policy, "--json", *on_it)
    assert does(*called).json["result"] == {"tally": 3}

    manifest = folder / "casemate.toml"
    text = manifest.read_text()
    text = text.replace('version = "1.0.0"', 'version = "1.1.0"')
    manifest.write_text(text.replace("security_version = 1 ", "security_version = 2 "))
    assert does("service", "install", folder, "--json", *on_it).json["version"] == "1.1.0"
    changed = does("service", "start", "tallies", "--json", *on_it).json
    assert (changed["version"], changed["state"]) == ("1.1.0", "ready")
    policy.write_text(does("policy", folder, *on_it).out)
    assert does(*called).json["result"] == {"tally": 6}  # the state is the signer's
    listed = does("service", "list", *on_it).out
    assert "tallies" in listed
    assert "1.1.0" in listed
    assert does("service", "remove", "tallies", "--json", *on_it).json == {"removed": "tallies", "services": []}
    assert does("service", "list", *on_it).out.strip() == "no services are installed"
    assert "no services" in does("service", "graph", *on_it).out


def test_a_package_brings_a_service_and_is_never_imported(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    place = tmp_path / "site-packages"
    package, about = place / "tallying", place / "tallying-2.0.dist-info"
    about.mkdir(parents=True)
    assert casemate_here("service", "new", package / "services" / "tallies").code == 0
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tallying\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text(
        "[casemate.services]\ntallies = tallying:services.tallies\nabove = tallying:none\ninner = tallying.sub:x\n"
        "gone = not_there:x\n"
    )
    before = files_of(place)
    monkeypatch.syspath_prepend(str(place))
    found = casemate_here("service", "install", "tallies", "--json", "--state", site.machine.state)
    assert found.code == 0, found
    assert found.json["source"] == "package tallying 2.0: tallying:services.tallies"
    assert files_of(place) == before
    assert "tallying" not in sys.modules
    for name, words in (
        ("above", "is no folder with casemate.toml"),
        ("inner", "want one without a point"),
        ("gone", "there is no package not_there"),
        ("nothing", "packages bring: above, gone, inner, tallies"),
    ):
        refusal = casemate_here("service", "install", name, "--json", "--state", site.machine.state)
        assert refusal.error["kind"] == "ServiceSourceError"
        assert words in refusal.error["message"], refusal


def test_operations_are_methods_of_both_clients_and_paths_of_the_gateway(tmp_path: Path, workshop: Workshop) -> None:
    with served_machine(tmp_path / "served") as served, connect(served.url, token=served.token) as client:
        site = Site(served.machine, workshop, client)
        site.install("vault")
        site.install("shop", "vault")
        shown = client.installed("shop")
        assert shown == served.machine.service("shop")
        assert json.loads(shown.operations[0].input) == ANYTHING
        assert [each.name for each in client.services()] == ["shop", "vault"]
        policy = exact_policy(served.machine, site.images["shop", "1.0.0"])
        shop = client.service("shop", policy)
        with pytest.raises(HostRefusedError):  # nothing runs yet, and nothing was attested
            shop.ask()
        headers = {"Authorization": f"Bearer {served.token}"}
        with httpx.Client(base_url=served.url, headers=headers, timeout=60) as http:
            started = http.put("/v1/services/shop/start")
            assert (started.status_code, started.json()["state"]) == (200, "ready")
            assert json.loads(shop.ask()["below"])[0]["version"] == "1.0.0"
            assert shop.call("ask", None).receipt.receipt.entry == "ask"
            assert http.get("/v1/services/none").status_code == 404
            refused = http.put("/v1/services/vault/stop", json={"with_users": False})
            assert (refused.status_code, "used by shop" in refused.json()["detail"]) == (409, True)
            enclave = client.attest("shop", policy)
            sealed = enclave.attested.seal_call("ask", b"null", caller=None, secrets=CallSecrets.fresh())
            body, kind = encode_message(sealed.envelope), {"Content-Type": "application/octet-stream"}
            other = http.post("/v1/services/shop/other", content=body, headers=kind)
            assert (other.status_code, "entry" in other.json()["detail"]) == (400, True)
            answer = http.post("/v1/services/shop/ask", content=body, headers=kind)
            assert sealed.open(answer.content).value["version"] == "1.0.0"

            async def asynchronous() -> Any:
                async with await aio.connect(served.url, token=served.token) as other:
                    return await other.service("shop", policy).ask()

            assert asyncio.run(asynchronous())["version"] == "1.0.0"
            stopped = http.put("/v1/services/vault/stop", json={"with_users": True})
            assert stopped.json()["state"] == "stopped"
        with pytest.raises(AttributeError):
            shop._ask  # noqa: B018
        with pytest.raises(TypeError, match="not both"):
            shop.ask(1, name="x")
        with pytest.raises(HostRefusedError):
            shop.ask()
        served.machine.start_service("shop")
        with pytest.raises(AttestAgainError):
            shop.ask()
        assert shop.ask()["version"] == "1.0.0"

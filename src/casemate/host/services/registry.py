"""The services that are installed on a host: kept in its catalogue, started and stopped in the order of their uses.

A service is an image whose manifest has ``[service]``; what runs of it is a deployment under its name, as any other. So
all that holds for names holds for it: callers of an old version go on with it until their sessions are over, and
bindings outlive an upgrade. Nothing of a service is believed here: a wrong order, or a wrong word, costs its host
alone.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from casemate.host.catalogue import Catalogue, ImageBytes, InstalledService
from casemate.host.image_manifest import manifest_of
from casemate.host.image_store import ImageStore, check_lock, describe
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.messages.functions import DRAIN, FunctionIs, SwitchFunction
from casemate.wire.messages.host import EnclaveIs, ImageIs
from casemate.wire.messages.services import (
    MAX_SERVICES,
    GetService,
    InstallService,
    ListServices,
    OperationIs,
    RemoveService,
    ServiceIs,
    ServicesAre,
    ServiceState,
    StartService,
    StopService,
)
from casemate.wire.protocol.capabilities.service import ServiceRules
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.function_name import checked_name
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest import EntryPoint, Manifest
from casemate.wire.protocol.service_graph import GraphError, Uses, start_layers, users_of

_LISTED = 8
"""Most names that a refusal lists."""


class Deployments(Protocol):
    """The enclaves of the host. Every refusal is a :class:`FaultError`."""

    def named(self, name: str | None = None) -> tuple[EnclaveIs, ...]:
        """The lasting ones, or those of a name."""

    def function(self, name: str) -> FunctionIs: ...

    def bound(self, number: int, alias: str) -> EnclaveIs: ...

    async def deploy_files(self, name: str, about: ImageIs, files: ImageBytes, *, candidate: bool) -> EnclaveIs: ...

    async def start(self, number: int) -> EnclaveIs: ...

    async def stop(self, number: int) -> EnclaveIs: ...

    async def destroy(self, number: int) -> EnclaveIs: ...

    async def switch(self, asked: SwitchFunction) -> FunctionIs: ...


@dataclass(frozen=True, slots=True)
class _Installed:
    """A service, and what its image says."""

    about: ImageIs
    source: str
    rules: ServiceRules
    operations: tuple[OperationIs, ...]
    uses: tuple[str, ...]


class Services:
    """Installed services. For one event loop; :meth:`restore` comes first.

    Args:
        images: gives the catalogue's thread.
        catalogue: keeps them.
        deployments: what runs here.
    """

    def __init__(self, images: ImageStore, catalogue: Catalogue, deployments: Deployments) -> None:
        self._images = images
        self._catalogue = catalogue
        self._deployments = deployments
        self._installed: dict[str, _Installed] = {}
        self._changing = asyncio.Lock()
        """Held by whoever installs, starts, stops or removes: one order at a time."""
        self._starting: set[str] = set()

    async def restore(self) -> None:
        """Reads the catalogue's."""
        for each in await self._images.run(self._catalogue.services):
            found = await self._images.run(self._read, each)
            if found is not None:
                self._installed[each.name] = found

    async def list(self, _asked: ListServices) -> ServicesAre:
        """All of them."""
        return ServicesAre(tuple(_brief(self._shown(name)) for name in sorted(self._installed)))

    async def get(self, asked: GetService) -> ServiceIs:
        """One of them."""
        self._known(asked.name)
        return self._shown(asked.name)

    async def install(self, asked: InstallService) -> ServiceIs:
        """Keeps an image as a service.

        Raises:
            WireError: its SIGSTRUCT is malformed.
            FaultError: ``launch-refused``; it is no image, or no service. ``wrong-state``; a higher version is
                installed, or it would close a circle. ``busy``; there are too many.
        """
        async with self._changing:
            return await self._install(asked)

    async def start(self, asked: StartService) -> ServiceIs:
        """Has a service run, and before it what it uses; independent ones at the same time.

        Raises:
            FaultError: ``wrong-state``; something is missing, with the path to it. Or why one of them does not start,
                with its name; those before it stay started.
        """
        async with self._changing:
            self._known(asked.name)
            for layer in self._layers(asked.name):
                self._starting.update(layer)
                try:
                    done = await asyncio.gather(*map(self._bring_up, layer), return_exceptions=True)
                finally:
                    self._starting.difference_update(layer)
                for name, outcome in zip(layer, done, strict=True):
                    _raise_failure(name, asked.name, outcome)
        return self._shown(asked.name)

    async def stop(self, asked: StopService) -> ServiceIs:
        """Stops a service, and before it, where that is wanted, those that use it.

        Raises:
            FaultError: ``wrong-state``; others that run use it; or it does not run.
        """
        async with self._changing:
            self._known(asked.name)
            users = [name for name in users_of(self._uses(), asked.name) if self._runs(name)]
            if users and not asked.with_users:
                raise refuse(
                    Code.WRONG_STATE,
                    f"{asked.name} is used by {_listed(users)}, which run: stop them before, or with it",
                )
            for name in users:
                await self._deployments.stop(self._deployments.function(name).current.enclave)
            await self._deployments.stop(self._deployments.function(asked.name).current.enclave)
        return self._shown(asked.name)

    async def remove(self, asked: RemoveService) -> ServicesAre:
        """Forgets a service, and destroys the enclaves of its name.

        Raises:
            FaultError: ``wrong-state``; another installed service uses it. ``unknown-enclave``; there is none.
        """
        async with self._changing:
            self._known(asked.name)
            users = sorted(name for name, names in self._uses().items() if asked.name in names)
            if users:
                words = f"{asked.name} is used by {_listed(users)}: remove them before"
                raise refuse(Code.WRONG_STATE, words)
            for each in self._deployments.named(asked.name):
                await self._deployments.destroy(each.enclave)
            await self._images.run(self._catalogue.uninstall, asked.name)
            del self._installed[asked.name]
        return await self.list(ListServices())

    async def _install(self, asked: InstallService) -> ServiceIs:
        files = ImageBytes(asked.sgxs, asked.sigstruct)
        manifest = await self._images.run(_manifest, files)
        rules = _rules(manifest)
        name = checked_name(manifest.name)
        about = await self._images.run(describe, name, files)
        before = self._installed.get(name)
        if before is None and len(self._installed) >= MAX_SERVICES:
            raise refuse(Code.BUSY, f"{MAX_SERVICES} services are installed, which is as many as are kept: remove one")
        if before is not None and before.rules.version > rules.version and not asked.allow_older:
            raise refuse(
                Code.WRONG_STATE,
                f"{name} {before.rules.version} is installed, which is newer than {rules.version}: "
                "an older version has to be allowed",
            )
        used = tuple(use.name for use in manifest.uses)
        installed = _Installed(about, asked.source, rules, tuple(map(_operation, manifest.entries)), used)
        self._check_circle({**self._uses(), name: used}, name)
        await self._images.run(self._catalogue.install, InstalledService(name, about.image, asked.source), about, files)
        self._installed[name] = installed
        return self._shown(name)

    def _read(self, service: InstalledService) -> _Installed | None:
        """What the catalogue's image says; runs in its thread. None for one that is a service no more."""
        files, about = self._catalogue.files(service.image), self._catalogue.image(service.image)
        manifest = None if files is None else manifest_of(files.sgxs)
        if about is None or manifest is None or manifest.service is None:
            return None
        used = tuple(use.name for use in manifest.uses)
        return _Installed(about, service.source, manifest.service, tuple(map(_operation, manifest.entries)), used)

    async def _bring_up(self, name: str) -> None:
        """Has the installed version of a service run, or whatever else bears its name."""
        installed = self._installed.get(name)
        current = self._current(name)
        if current is not None and (installed is None or current.image == installed.about.image):
            if current.state is not State.RUNNING:
                try:
                    await self._deployments.start(current.enclave)
                except FaultError:
                    if not self._runs(name):  # the host may have launched it again by itself meanwhile
                        raise
            return
        if installed is None:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"nothing bears the name {name}")
        files = await self._images.files(installed.about.image)
        made = await self._deployments.deploy_files(name, installed.about, files, candidate=current is not None)
        if current is not None:
            try:
                await self._deployments.switch(SwitchFunction(name, made.enclave, current.enclave, DRAIN))
            except BaseException:
                await self._deployments.destroy(made.enclave)
                raise

    def _layers(self, name: str) -> tuple[tuple[str, ...], ...]:
        """In which order a service and what it uses start."""
        uses = self._uses()
        others = {each.name for each in self._deployments.named()} - uses.keys()
        try:
            return start_layers(uses, [name], others)
        except GraphError as error:
            raise refuse(Code.WRONG_STATE, str(error)) from None

    def _check_circle(self, uses: Uses, name: str) -> None:
        """Refuses services that use each other in a circle; what is not installed yet is not missed."""
        missing = {used for names in uses.values() for used in names}
        try:
            start_layers(uses, [name], missing)
        except GraphError as error:
            raise refuse(Code.WRONG_STATE, str(error)) from None

    def _uses(self) -> dict[str, tuple[str, ...]]:
        """Which service uses which: by its bindings where it is deployed, else by its manifest's names."""
        return {name: tuple(self._target(name, used) for used in each.uses) for name, each in self._installed.items()}

    def _target(self, name: str, used: str) -> str:
        current = self._current(name)
        if current is None:
            return used
        try:
            return self._deployments.bound(current.enclave, used).name
        except FaultError:  # bound to nothing that is there
            return used

    def _known(self, name: str) -> _Installed:
        found = self._installed.get(name)
        if found is None:
            known = _listed(sorted(self._installed)) or "none"
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no service {name[:80]!r} is installed, there are: {known}")
        return found

    def _current(self, name: str) -> EnclaveIs | None:
        """The deployment that answers to a name, if one does."""
        try:
            return self._deployments.function(name).current
        except FaultError:
            return None

    def _runs(self, name: str) -> bool:
        current = self._current(name)
        return current is not None and current.state is State.RUNNING

    def _shown(self, name: str) -> ServiceIs:
        installed, current = self._installed[name], self._current(name)
        state, reason = self._state(name, current)
        rules, about = installed.rules, installed.about
        return ServiceIs(
            name=name,
            version=str(rules.version),
            family=rules.family,
            description=rules.description,
            image=about.image,
            mr_enclave=about.mr_enclave,
            mr_signer=about.mr_signer,
            operations=installed.operations,
            uses=installed.uses,
            source=installed.source,
            enclave=0 if current is None else current.enclave,
            state=state,
            reason=reason,
        )

    def _state(self, name: str, current: EnclaveIs | None) -> tuple[ServiceState, str]:
        if name in self._starting:
            return ServiceState.STARTING, ""
        if current is None or current.state is State.STOPPED:
            return ServiceState.STOPPED, ""
        if current.state is not State.RUNNING:
            return ServiceState.BROKEN, current.reason or f"enclave {current.enclave} is {current.state}"
        down = self._first_down(name, frozenset())
        if down:
            return ServiceState.DEGRADED, f"uses {down}, which does not run"
        if current.image != self._installed[name].about.image:
            return (
                ServiceState.READY,
                f"version {self._installed[name].rules.version} is installed: start it to change over",
            )
        return ServiceState.READY, ""

    def _first_down(self, name: str, seen: frozenset[str]) -> str:
        """The first service that this one needs, whatever is between, and that does not run; empty if all do."""
        for used in self._uses().get(name, ()):
            if used in seen:
                continue
            if not self._runs(used):
                return used
            below = self._first_down(used, seen | {name})
            if below:
                return below
        return ""


def _manifest(files: ImageBytes) -> Manifest:
    check_lock(files.sgxs)
    manifest = manifest_of(files.sgxs)
    if manifest is None:
        raise refuse(Code.LAUNCH_REFUSED, "the image has no manifest that this host can read: build it anew")
    return manifest


def _rules(manifest: Manifest) -> ServiceRules:
    if manifest.service is None:
        raise refuse(
            Code.LAUNCH_REFUSED,
            f"the image {manifest.name} is no service: add [service] with version, family and description to "
            "casemate.toml",
        )
    return manifest.service


def _brief(service: ServiceIs) -> ServiceIs:
    """A service as lists have it: the schemas of all would be too much for one message."""
    operations = tuple(replace(each, input=b"", output=b"") for each in service.operations)
    return replace(service, operations=operations)


def _operation(entry: EntryPoint) -> OperationIs:
    rules = entry.operation
    if rules is None:
        raise AssertionError("a service's entry points are operations")
    schemas = encode_json(entry.input.document), encode_json(entry.output.document)
    return OperationIs(entry.name, rules.kind, rules.idempotent, entry.plain, entry.stream, *schemas)


def _raise_failure(name: str, wanted: str, outcome: BaseException | None) -> None:
    """Tells what kept one service from starting, and for whose sake it was started."""
    if outcome is None:
        return
    if isinstance(outcome, FaultError):
        sake = "" if name == wanted else f" (used by {wanted})"
        raise refuse(outcome.fault.code, f"{name}{sake} does not start: {outcome.fault.reason}") from None
    raise outcome


def _listed(names: Iterable[str]) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - _LISTED} more" if len(all_names) > _LISTED else ""
    return ", ".join(all_names[:_LISTED]) + more

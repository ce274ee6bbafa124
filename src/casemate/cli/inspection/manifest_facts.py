"""What the manifest in an image lets its code do, in a few lines for whoever decides whether to trust it."""

from casemate.wire.errors import WireError
from casemate.wire.protocol.caller_key import caller_key_text
from casemate.wire.protocol.capabilities.appraise import AppraiseRules
from casemate.wire.protocol.capabilities.service import Hook, Kind, ServiceRules
from casemate.wire.protocol.capabilities.uses import (
    MeasurementDemand,
    PeerDemands,
    Same,
    ServiceDemand,
    SignerDemand,
    SimulatedRoot,
    Use,
)
from casemate.wire.protocol.image_index import MANIFEST_PATH, file_of, parse_index
from casemate.wire.protocol.manifest import DeclaredError, EntryPoint, Manifest
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest

_NONE = "none"


def manifest_in(pages: bytes) -> Manifest | None:
    """The manifest in an image's pages; None where they are no image of Casemate, or it breaks a rule."""
    try:
        files = {entry.path: file_of(pages, entry) for entry in parse_index(pages).entries}
        return parse_manifest(files.get(MANIFEST_PATH, b""), files.get)
    except (WireError, ManifestError):
        return None


_OF_CALLERS = "code of callers"


def manifest_facts(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Names and values: what runs the code, and all that the manifest grants it."""
    state, run = manifest.state, manifest.run
    of_callers = (
        () if run is None else ((_OF_CALLERS, f"{', '.join(run.engines)}, {run.time_ms} ms, {run.memory_mib} MiB"),)
    )
    return (
        *(() if manifest.service is None else _service(manifest.service)),
        ("engine", f"{manifest.engine}, isolation {manifest.isolation}"),
        ("permissions", ", ".join(sorted(manifest.permissions)) or _NONE),
        ("state", _NONE if state is None else f"{state.max_kib} KiB, {state.binding}, recovery {state.recovery}"),
        *of_callers,
        *((f"key {key.name}", f"{key.purpose}, {key.algorithm}") for key in manifest.keys),
        *(() if manifest.appraise is None else (("appraises", _appraises(manifest.appraise)),)),
        ("OCALLs", ", ".join(ocall.name for ocall in manifest.ocalls) or _NONE),
        ("entry points", ", ".join(map(_entry, manifest.entries))),
        *((f"calls {use.name}", _use(use)) for use in manifest.uses),
        *((f"called by {each.name}", _demands(each.demands)) for each in manifest.enclave_callers),
        ("own errors", ", ".join(map(_error, manifest.errors)) or _NONE),
        ("receipts", _receipts(manifest)),
        (
            "monitor",
            ", ".join(f"{rule.subject} above {rule.most}: {rule.then}" for rule in manifest.monitor) or _NONE,
        ),
    )


def _appraises(rules: AppraiseRules) -> str:
    names = ", ".join(policy.name for policy in rules.policies)
    words = "policies may say ANY_ and UNSAFE_" if rules.unsafe else "no policy may say ANY_ or UNSAFE_"
    return f"{names or 'by policies of its own making'}; {words}; built {rules.built.date()}"


def _service(rules: ServiceRules) -> tuple[tuple[str, str], ...]:
    hooks = ", ".join(hook for hook in Hook if hook in rules.hooks) or _NONE
    configured = "by its deployment's owner" if rules.configuration is not None else "nothing can be"
    return (
        ("service", f"version {rules.version}, {rules.family}: {rules.description}"),
        ("hooks", hooks),
        ("configured", configured),
    )


def _entry(entry: EntryPoint) -> str:
    if entry.operation is None:
        return entry.name
    again = ", idempotent" if entry.operation.kind is Kind.COMMAND and entry.operation.idempotent else ""
    return f"{entry.name} ({entry.operation.kind}{again})"


def _use(use: Use) -> str:
    return f"{', '.join(use.operations)}; of {_demands(use.demands)}"


def _demands(demands: PeerDemands) -> str:
    """All that is demanded of an enclave, in words; a debug enclave is always refused."""
    parts = [_identity(demands.identity)]
    for place, layers in (("its process", demands.layers.enclave), ("its guest's", demands.layers.guest)):
        parts += [f"{', '.join(sorted(layers))} around {place}"] if layers else []
    if demands.deployment is not None:
        owner = caller_key_text(demands.deployment.owner)
        parts.append(f"deployment {demands.deployment.name} of {owner}")
    found = demands.evidence
    if found is None:
        parts.append("on the same chip")
    else:
        root = f"simulated {found.root.sha256.hex()}" if isinstance(found.root, SimulatedRoot) else found.root
        parts.append(
            f"on the same chip or below root {root} with status {' or '.join(found.tcb_statuses)}, evaluation number "
            f"{found.min_evaluation_number} or above, collateral of at most {found.max_age_days} days"
        )
    return ", ".join(parts)


def _identity(identity: SignerDemand | MeasurementDemand | ServiceDemand) -> str:
    match identity:
        case MeasurementDemand(mrenclave):
            return f"MRENCLAVE {mrenclave.hex()}"
        case ServiceDemand(service):
            return f"the service casemate:{service} as casemate.lock has it"
        case SignerDemand(mrsigner, product_id, version):
            signer = "of the same signer" if isinstance(mrsigner, Same) else f"of MRSIGNER {mrsigner.hex()}"
            return f"product {product_id} {signer}, version {version} or later"


def _error(error: DeclaredError) -> str:
    return error.name if error.details is None else f"{error.name} (with details)"


def _receipts(manifest: Manifest) -> str:
    metrics = "with what each call used" if manifest.receipt_metrics else "without metrics"
    return f"{metrics}, with those of the calls that it makes" if manifest.receipt_inner else metrics

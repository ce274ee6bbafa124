from casemate.verifier.crypto import certificate_issued_by, parse_certificate
from casemate.verifier.roots import INTEL_SGX_ROOT, INTEL_SGX_ROOT_CA, SimulatedRoot


def test_intels_root_has_its_published_fingerprint_and_signs_itself() -> None:
    assert INTEL_SGX_ROOT.sha256.hex() == "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
    root = parse_certificate(INTEL_SGX_ROOT_CA)
    assert root.common_name == "Intel SGX Root CA"
    assert f"{root.serial:X}" == "22650CD65A9D3489F383B49552BF501B392706AC"
    assert root.point is not None
    assert certificate_issued_by(root.point, root.signature, root.signed)


def test_simulated_root_is_named_by_its_digest() -> None:
    assert (
        SimulatedRoot.of(b"a certificate").name == f"simulated root {SimulatedRoot.of(b'a certificate').sha256.hex()}"
    )

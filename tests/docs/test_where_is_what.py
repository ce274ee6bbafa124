"""The files that docs/where-is-what.md names are there, and each has what the page says that it has."""

from tests.rigs.docs.markdown import ROOT, table

FOUND_BY = {
    "wire/snp/report.py": "platform_info",
    "wire/protocol/call.py": "def encapsulation_info",
    "verifier/chains.py": "CHAIN_SIMULATED",
    "tests/docs/test_documents.py": "has_its_reader_type",
    "chip/anchors.py": "MAX_ANCHORS",
    "wire/snp/tcb.py": "def reaches",
    "chip/snp/launch.py": "BAD_MEASUREMENT",
    "process/durable_files.py": "def sync_directory",
    "spawner/confined_fork.py": "def fork",
    "chip/sgx/egetkey.py": "class KeyDerivation",
    "host/enclave_states.py": "MOST_DEATHS",
    "enclave/tls/credentials.py": "VALIDITY",
    "spawner/watchdog.py": "TIME_LIMIT",
    "engines/javascript/bootstrap/lockdown.js": "structuredClone",
    "host/entry_queue.py": "class EntryQueue",
    "gateway/http/idempotency.py": "class Idempotency",
    "client/http_exchange.py": "sealed call",
    "cli/errors.py": "ExitReport",
    "wire/protocol/manifest_text.py": "MAX_MEMORY_MIB",
    "makers/intel/levels.py": "def recover_platform",
}
"""Words of the files by which the answers can be told."""


def test_every_answer_is_a_file_that_has_it() -> None:
    answers = [row[1].strip("`") for row in table((ROOT / "docs" / "where-is-what.md").read_text(), "question")]
    assert sorted(answers) == sorted(FOUND_BY)
    for answer in answers:
        file = ROOT / answer if answer.startswith("tests/") else ROOT / "src" / "casemate" / answer
        assert FOUND_BY[answer] in file.read_text(), answer

"""What FakeEnclave gives a function does what an enclave's own context does, call by call."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deno import find_deno_bin
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, PolicyFor, Workshop

from casemate.client import Client, EnclaveRefusedError, FunctionRefusedError
from casemate.images.functions.javascript import author_files
from casemate.wire.protocol.manifest import Permission

pytestmark = pytest.mark.machine

IMPORT_MAP = author_files.IMPORT_MAP
TESTING = IMPORT_MAP.with_name("testing.js")

GUEST = """
let kept = null; // the context of an earlier call

export function main({ steps, fail, refuse }, context) {
  const { state, seal, unseal } = context;
  const others = {
    ocall: context.ocall,
    sealed: (value, policy) => unseal(seal(value, policy)),
    unseal,
    refusal: (code, details) => [String(context.refuse(code, details)), Object.isFrozen(context.refuse(code, details))],
    late: (name) => kept.state.get(name),
    frozen: () => [Object.isFrozen(context), Object.isFrozen(state), Object.keys(context).sort()],
  };
  const said = steps.map(([name, ...args]) => {
    try {
      const answer = (others[name] ?? state[name])(...args.map((arg) => (arg === "undefined" ? undefined : arg)));
      return answer === undefined ? "undefined" : answer;
    } catch ({ name, message }) {
      return { thrown: name, words: name === "TypeError" || name === "Error" ? message : null };
    }
  });
  kept = context;
  if (refuse) throw context.refuse(...refuse);
  if (fail) throw new Error("nothing of this is kept");
  return said;
}
"""
DRIVER = f"""
import {{ FakeEnclave }} from "{TESTING.as_uri()}";
import {{ main }} from "./main.js";
const enclave = new FakeEnclave({{
  errors: ["budget-spent"],
  ocalls: {{ echo: (argument) => argument }},
  permissions: JSON.parse(Deno.args[0]),
}});
const said = [];
for (const input of JSON.parse(await new Response(Deno.stdin.readable).text())) {{
  const refused = ({{ code, details }}) => code === undefined ? "failed" : {{ code, details: details ?? null }};
  said.push(await enclave.call(main, input).catch(refused));
}}
console.log(JSON.stringify({{ said, epoch: enclave.epoch }}));
"""
KEYS = ["a", "a/1", "a/10", "a/2", "b", "\uffff", "🔑", "é", "__proto__", "x" * 256]
CALLS: list[dict[str, Any]] = [
    {"steps": [["get", "a"], ["delete", "a"], ["list"], ["compareAndSet", "a", "undefined", "undefined"]]},
    {"steps": [["put", key, {"b": index, "a": [None, key]}] for index, key in enumerate(KEYS)]},
    {"steps": [["list"], ["list", "a/"], ["list", "a", {"limit": 2}], ["list", "a/", {"after": "a/1"}]]},
    {"steps": [["list", "", {"after": "\uffff"}], ["list", "", {"after": "b", "limit": 1}], ["list", "nothing"]]},
    {"steps": [["put", "a", 1], ["delete", "b"], ["list", "", {"limit": 3}]], "fail": True},
    {"steps": [["get", "a"], ["get", "b"], ["get", "__proto__"], ["get", "toString"]]},
    {"steps": [["compareAndSet", "a", {"a": [None, "a"], "b": 0}, 7], ["compareAndSet", "a", 8, 9], ["get", "a"]]},
    {"steps": [["compareAndSet", "a", 7, "undefined"], ["compareAndSet", "new", "undefined", 1], ["delete", "a/1"]]},
    {"steps": [["put", "", 1], ["put", "x" * 257, 1], ["put", "é" * 129, 1], ["put", "k", "undefined"]]},
    {"steps": [["put", "big", "x" * (1024 * 1024)], ["put", "big", "x" * (1024 * 1024 - 2)], ["delete", "big"]]},
    {"steps": [["list", "", {"limit": 0}], ["list", "", {"limit": 10_001}], ["list"]]},
    {"steps": [["delete", "not there"]]},
    {"steps": [["ocall", "echo", {"b": [1, None]}], ["ocall", "echo"], ["ocall", "absent", 1], ["ocall", 5]]},
    {"steps": [["sealed", {"a": [1]}, "mrenclave"], ["sealed", None, "mrsigner"], ["sealed", 1, "neither"]]},
    {"steps": [["sealed", "undefined", "mrenclave"], ["unseal", "AAAA"], ["unseal", "ä"], ["unseal", 5]]},
    {"steps": [["refusal", "budget-spent", 1], ["refusal", "other"], ["refusal", 5], ["late", "a"], ["frozen"]]},
    {"steps": [["put", "lost", 1]], "refuse": ["budget-spent", {"until": 2027}]},
    {"steps": [["put", "lost", 1]], "refuse": ["budget-spent"]},
    {"steps": [["put", "lost", 1]], "refuse": ["other"]},
    {"steps": [["get", "lost"]]},
]


@pytest.mark.parametrize("permissions", [(), (Permission.SEAL,)])
def test_the_fake_context_is_as_the_real_one(
    workshop: Workshop, client: Client, policy_for: PolicyFor, tmp_path: Path, permissions: tuple[Permission, ...]
) -> None:
    (tmp_path / "main.js").write_text(GUEST)
    (tmp_path / "driver.js").write_text(DRIVER)
    command = [find_deno_bin(), "run", "--no-prompt", "--no-config", "--no-lock", str(tmp_path / "driver.js")]
    done = subprocess.run(
        [*command, json.dumps(permissions)], input=json.dumps(CALLS).encode(), capture_output=True, check=True
    )
    fake = json.loads(done.stdout)
    image = workshop.image(
        GUEST,
        entries={"main": {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}},
        state={"policy": "mrenclave", "recovery": "never", "max_kib": 4096},
        ocalls={"echo": {"input": ANYTHING_OUT, "output": ANYTHING}},
        errors={"budget-spent": {"reason": "The budget is used up.", "details": ANYTHING_OUT}},
        output_kib=4096,
        permissions=permissions,
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    said: list[Any] = []
    epoch = 0
    for call in CALLS:
        try:
            result = enclave.call("main", call)
        except FunctionRefusedError as refused:
            said.append({"code": refused.code, "details": refused.details})
            continue
        except EnclaveRefusedError:
            said.append("failed")
            continue
        said.append(result.value)
        mark = result.receipt.receipt.state
        epoch = epoch if mark is None else mark.epoch
    for index, (real, faked) in enumerate(zip(said, fake["said"], strict=True)):
        assert faked == real, CALLS[index]
    assert fake["epoch"] == epoch
    client.destroy(enclave.number)


STREAM = """
import { assert } from "./assert.js";
import { FakeEnclave } from "casemate/testing";

async function* count(input, { state, ocall }, chunks) {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    yield `${size} `;
  }
  state.put("size", size);
  yield new Uint8Array([33]);
  return { size, input, time: ocall("time", null) };
}

Deno.test("a stream takes pieces and gives pieces", async () => {
  const enclave = new FakeEnclave();
  const { result, output } = await enclave.stream(count, { a: 1 }, ["ä", new Uint8Array(3)], "alice");
  assert(new TextDecoder().decode(output) === "2 5 !");
  assert(JSON.stringify(result) === JSON.stringify({ size: 5, input: { a: 1 }, time: { unix_ms: enclave.now } }));
  assert(enclave.committed.get("size") === "5" && enclave.epoch === 1);
});

Deno.test("the configuration is told anew each time", async () => {
  const enclave = new FakeEnclave({ configuration: { greeting: "hi" } });
  const changes = (_, context) => {
    context.config.greeting = "changed";
    return [context.config, context.permissions];
  };
  assert(JSON.stringify(await enclave.call(changes, null)) === '[{"greeting":"hi"},[]]');
  enclave.configuration = null;
  assert(await enclave.call((_, { config }) => config, null) === null);
});
"""


def test_the_packaged_import_map_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "assert.js").write_text("export function assert(is) { if (!is) throw new Error('not so'); }")
    (tmp_path / "stream.test.js").write_text(STREAM)
    command = [find_deno_bin(), "test", "--no-prompt", "--no-config", "--no-lock", f"--import-map={IMPORT_MAP}"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout

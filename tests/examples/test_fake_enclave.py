"""The state that the examples' tests are given does what an enclave's does, call by call."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deno import find_deno_bin
from tests.rigs.examples import EXAMPLES
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, PolicyFor, Workshop

from casemate.client import Client, EnclaveRefusedError

pytestmark = pytest.mark.machine

GUEST = """
export function main({ steps, fail }, { state }) {
  const said = steps.map(([name, ...args]) => {
    try {
      const answer = state[name](...args.map((arg) => (arg === "undefined" ? undefined : arg)));
      return answer === undefined ? "undefined" : answer;
    } catch ({ name }) {
      return { thrown: name };
    }
  });
  if (fail) throw new Error("nothing of this is kept");
  return said;
}
"""
DRIVER = f"""
import {{ FakeEnclave }} from "{(EXAMPLES / "testing" / "context.js").as_uri()}";
import {{ main }} from "./main.js";
const enclave = new FakeEnclave();
const said = [];
for (const input of JSON.parse(await new Response(Deno.stdin.readable).text())) {{
  said.push(await enclave.call(main, input).catch(() => "failed"));
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
]


def test_the_fake_state_is_as_the_real_one(
    workshop: Workshop, client: Client, policy_for: PolicyFor, tmp_path: Path
) -> None:
    (tmp_path / "main.js").write_text(GUEST)
    (tmp_path / "driver.js").write_text(DRIVER)
    done = subprocess.run(
        [find_deno_bin(), "run", "--no-prompt", "--no-config", "--no-lock", str(tmp_path / "driver.js")],
        input=json.dumps(CALLS).encode(),
        capture_output=True,
        check=True,
    )
    fake = json.loads(done.stdout)
    image = workshop.image(
        GUEST,
        entries={"main": {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}},
        state={"policy": "mrenclave", "recovery": "never", "max_kib": 4096},
        output_kib=4096,
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    said: list[Any] = []
    epoch = 0
    for call in CALLS:
        try:
            result = enclave.call("main", call)
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

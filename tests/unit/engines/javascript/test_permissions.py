"""What a program finds of chance, time, console and seals with its manifest's permission, and without."""

import json
from typing import Any

import pytest
from tests.rigs.engine import EVERYTHING, Module, engine, linked, main

from casemate.engines.frames import Failed, Returned, Said, Wanted
from casemate.engines.questions.seals import Unseal
from casemate.wire.protocol.manifest import Permission

NONE: frozenset[Permission] = frozenset()
EPOCH = "1970-01-01T00:00:00"


def said_by(body: str, permissions: frozenset[Permission], *, debug: bool = False) -> Said:
    with engine() as talk:
        source = main(f"export async function main(input, context) {{ {body} }}")
        loaded = talk.load(source, permissions=permissions, debug=debug)
        return loaded if isinstance(loaded, Failed) else talk.call()


def value_of(body: str, permissions: frozenset[Permission]) -> Any:
    said = said_by(body, permissions)
    assert isinstance(said, Returned), said
    return json.loads(said.text)


def words(what: str, permission: str) -> str:
    return (
        f'{what} needs the permission "{permission}": add permissions = ["{permission}", ...] to [enclave] '
        "in casemate.toml"
    )


# --- chance -----------------------------------------------------------------------------------------------------------

KEYS = """
const subtle = crypto.subtle, text = new Uint8Array(4);
const rsa = (name, uses) => subtle.importKey("jwk", JWK, { name, hash: "SHA-256" }, false, uses);
const aes = (name, uses) => subtle.importKey("raw", new Uint8Array(16), name, true, uses);
const ec = subtle.importKey("jwk", { kty: "EC", crv: "P-256", d: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
  x: "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", y: "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU" },
  { name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
"""
"""The private key 1 on P-256: its public key is the curve's generator."""

CHANCE = {
    "Math.random": "return Math.random();",
    "crypto.getRandomValues": "return crypto.getRandomValues(new Uint8Array(4));",
    "crypto.randomUUID": "return crypto.randomUUID();",
    "URL.createObjectURL": "return URL.createObjectURL(new Blob([]));",
    "crypto.subtle.generateKey": "return await subtle.generateKey('Ed25519', true, ['sign']);",
    "crypto.subtle.encapsulateBits": "return await subtle.encapsulateBits('ML-KEM-768', null);",
    "crypto.subtle.encapsulateKey": "return await subtle.encapsulateKey('ML-KEM-768', null, 'HKDF', true, []);",
    "crypto.subtle.sign with ECDSA": "return await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, await ec, text);",
    "crypto.subtle.sign with ecdsa": "return await subtle.sign({ name: 'ecdsa', hash: 'SHA-256' }, await ec, text);",
    "crypto.subtle.sign with RSA-PSS": "return await subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, null, text);",
    "crypto.subtle.sign with ML-DSA-65": "return await subtle.sign('ML-DSA-65', null, text);",
    "crypto.subtle.sign with SLH-DSA-SHA2-128s": "return await subtle.sign('SLH-DSA-SHA2-128s', null, text);",
    "crypto.subtle.sign with __proto__": "return await subtle.sign('__proto__', null, text);",
    "crypto.subtle.encrypt with RSA-OAEP": "return await subtle.encrypt({ name: 'RSA-OAEP' }, null, text);",
    "crypto.subtle.wrapKey with RSA-OAEP": "return await subtle.wrapKey('raw', await ec, null, { name: 'RSA-OAEP' });",
}


@pytest.mark.parametrize("what", CHANCE)
@pytest.mark.parametrize("permissions", [NONE, EVERYTHING - {Permission.RANDOM}])
def test_without_its_permission_chance_is_refused_with_the_line_to_add(
    what: str, permissions: frozenset[Permission]
) -> None:
    said = said_by(KEYS + CHANCE[what], permissions)
    assert isinstance(said, Failed)
    assert (said.name, said.message) == ("TypeError", words(what, "random"))


def test_with_the_permission_chance_is_there() -> None:
    body = KEYS + (
        "const signed = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, await ec, text);"
        "return [Math.random() < 1, crypto.randomUUID().length, signed.byteLength,"
        " (await subtle.generateKey('Ed25519', true, ['sign'])).privateKey.type,"
        " crypto.getRandomValues(new Uint8Array(4)).length];"
    )
    assert value_of(body, frozenset({Permission.RANDOM})) == [True, 36, 64, "private", 4]


SURE = (
    KEYS
    + """
const hex = (bytes) => new Uint8Array(bytes).toHex();
const seed = new Uint8Array(48); seed.set(Uint8Array.fromHex("302e020100300506032b657004220420"));
const hmac = await subtle.importKey("raw", text, { name: "HMAC", hash: "SHA-256" }, true, ["sign"]);
const edwards = await subtle.importKey("pkcs8", seed, "Ed25519", false, ["sign"]);
const cbc = await aes("AES-CBC", ["encrypt", "wrapKey"]), gcm = await aes("AES-GCM", ["encrypt"]);
const ctr = await aes("AES-CTR", ["encrypt"]), kw = await aes("AES-KW", ["wrapKey"]);
const iv = new Uint8Array(16);
return [
  await subtle.sign("HMAC", hmac, text), await subtle.sign({ name: "Ed25519" }, edwards, text),
  await subtle.encrypt({ name: "AES-CBC", iv }, cbc, text),
  await subtle.encrypt({ name: "AES-GCM", iv, additionalData: text, tagLength: 96 }, gcm, text),
  await subtle.encrypt({ name: "aes-ctr", counter: iv, length: 64 }, ctr, text),
  await subtle.wrapKey("raw", ctr, kw, "AES-KW"), await subtle.wrapKey("raw", ctr, cbc, { name: "AES-CBC", iv }),
  await subtle.digest("SHA-256", text),
].map(hex);
"""
)


def test_what_draws_nothing_works_without_the_permission_as_with_it() -> None:
    without = value_of(SURE, NONE)
    assert without == value_of(SURE, NONE) == value_of(SURE, EVERYTHING)
    assert [len(text) // 2 for text in without] == [32, 64, 16, 16, 4, 24, 32, 32]


def test_an_algorithm_that_changes_its_name_is_taken_at_its_first_word() -> None:
    body = KEYS + (
        "let asked = 0; const sly = { get name() { return asked++ ? 'ECDSA' : 'HMAC'; }, hash: 'SHA-256' };"
        "try { return await subtle.sign(sly, await ec, text); } catch (error) { return [error.name, asked]; }"
    )
    assert value_of(body, NONE) == ["InvalidAccessError", 1]


def test_the_engine_s_own_functions_cannot_be_found_behind_those_that_refuse() -> None:
    body = """
      const found = [];
      for (const [owner, name] of [[Math, "random"], [Crypto.prototype, "getRandomValues"],
        [Crypto.prototype, "randomUUID"], [URL, "createObjectURL"], [SubtleCrypto.prototype, "generateKey"]]) {
        delete owner[name];
        found.push(typeof owner[name]);
      }
      return found;
    """
    assert value_of(body, NONE) == ["undefined"] * 5


# --- the clock --------------------------------------------------------------------------------------------------------

TIMES = {
    "Date()": "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)",
    "new Date()": f"{EPOCH}.000Z",
    "new (class extends Date {})()": f"{EPOCH}.000Z",
    "Reflect.construct(Date, [])": f"{EPOCH}.000Z",
    "new (new Date(5).constructor)()": f"{EPOCH}.000Z",
    "new (Object.getPrototypeOf(new Date(5)).constructor)()": f"{EPOCH}.000Z",
    "new (structuredClone(new Date(5)).constructor)()": f"{EPOCH}.000Z",
    "Date.now()": 0,
    "performance.now()": 0,
    "performance.timeOrigin": 0,
    "performance.toJSON()": {"timeOrigin": 0},
    "Object.getPrototypeOf(performance).now.call(performance)": 0,
    "performance.getEntries()": [],
    "Temporal.Now.instant()": f"{EPOCH}Z",
    "Temporal.Now.plainDateTimeISO()": EPOCH,
    "Temporal.Now.plainDateISO()": "1970-01-01",
    "Temporal.Now.plainTimeISO('Europe/Berlin')": "01:00:00",
    "Temporal.Now.zonedDateTimeISO()": f"{EPOCH}+00:00[UTC]",
    "Temporal.Now.timeZoneId()": "UTC",
    "new Intl.DateTimeFormat('en').format()": "1/1/1970",
    "new Intl.DateTimeFormat('en').format(undefined)": "1/1/1970",
    "[undefined].map(new Intl.DateTimeFormat('en').format)": ["1/1/1970"],
    "new Intl.DateTimeFormat('en', { year: 'numeric' }).formatToParts()": [{"type": "year", "value": "1970"}],
    "new Event('x').timeStamp": 0,
    "new CustomEvent('x').timeStamp": 0,
    "await new Promise((done) => { const c = new AbortController(); c.signal.onabort = (e) => done(e.timeStamp);"
    " c.abort(); })": 0,
}


@pytest.mark.parametrize("asked", TIMES)
def test_without_its_permission_the_clock_stands_at_the_epoch(asked: str) -> None:
    assert value_of(f"return {asked};", EVERYTHING - {Permission.NOW}) == TIMES[asked]


def test_times_that_are_given_are_what_they_were() -> None:
    asked = """[new Date(5), new Date("2026-11-30"), new Date(2026, 1).getMonth(), Date.parse("1970"), Date.UTC(2000),
      new Intl.DateTimeFormat("en").format(864e5), new Intl.DateTimeFormat("en").formatToParts(864e5)[2].value,
      Date.length, Date.name, new Date() instanceof Date, Date.prototype.constructor === Date]"""
    with_it = value_of(f"return {asked};", EVERYTHING)
    assert value_of(f"return {asked};", NONE) == with_it
    assert with_it[0] == f"{EPOCH}.005Z"


@pytest.mark.parametrize("name", ["mark", "measure"])
def test_marks_of_time_are_refused_with_the_line_to_add(name: str) -> None:
    said = said_by(f"performance.{name}('a');", NONE)
    assert isinstance(said, Failed)
    assert said.message == words(f"performance.{name}", "now")


def test_with_the_permission_the_clock_goes() -> None:
    body = "return [Date.now(), Temporal.Now.instant().epochMilliseconds, performance.timeOrigin];"
    assert all(time > 1_700_000_000_000 for time in value_of(body, frozenset({Permission.NOW})))


def test_temporal_is_there_where_a_source_names_it() -> None:
    other = Module("guest/other.js", b"export const zero = () => Temporal.Now.instant();")
    source = main('import { zero } from "./other.js"; export const main = () => zero();')
    source = linked(source, **{"other.js": "other.js"})
    with engine() as talk:
        talk.load(other, source, permissions=NONE)
        assert talk.value() == f"{EPOCH}Z"
    assert value_of("return typeof globalThis['Tempo' + 'ral'];", NONE) == "undefined"


# --- timers without a clock -------------------------------------------------------------------------------------------


def test_no_timer_waits_and_all_fire_in_their_order() -> None:
    body = """
      const fired = [], note = (name) => fired.push(name);
      setTimeout(note, 3e8, "late"); setTimeout(note, 1, "b"); setTimeout(note, 0, "a"); setTimeout(note, 1, "c");
      const every = setInterval(note, 1e8, "every");
      const dropped = setTimeout(note, 5, "dropped"); clearTimeout(dropped);
      const byNumber = setTimeout(note, 5, "dropped"); clearInterval(+byNumber);
      AbortSignal.timeout(2).onabort = () => note("signal");
      Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3).value.then(note);
      await new Promise((done) => setTimeout(done, 1e9 / 4));
      clearInterval(every);
      await new Promise((done) => setTimeout(done, 1e9));
      return fired;
    """
    assert value_of(body, NONE) == ["b", "a", "c", "signal", "timed-out", "every", "every", "late"]


def test_work_of_the_engine_s_is_done_before_any_timer_fires() -> None:
    body = """
      const order = [];
      const timer = new Promise((done) => setTimeout(() => done(order.push("timer")), 1));
      await Promise.all([timer, crypto.subtle.digest("SHA-256", new Uint8Array(3e7)).then(() => order.push("digest"))]);
      return order;
    """
    assert value_of(body, NONE) == ["digest", "timer"]


def test_a_timer_that_throws_is_the_program_s_loss_and_others_fire() -> None:
    with engine() as talk:
        body = "setTimeout(() => { throw new Error('lost'); }, 1); await new Promise((done) => setTimeout(done, 2));"
        talk.load(main(f"export async function main() {{ {body} return 1; }}"), permissions=NONE, debug=True)
        assert talk.value() == 1
        assert len(talk.printed) == 1
        assert "an exception outside of a call: Error: lost at guest/main.js:1:" in talk.printed[0]


def test_a_timer_works_in_ways_that_programs_use() -> None:
    body = """
      const wrong = [["1"], [null], []].map((given) => {
        try { return setTimeout(...given); } catch (error) { return error.name; }
      });
      const order = [], timer = setTimeout(() => order.push("moved"), 5);
      setTimeout(() => timer.refresh(), 0);
      timer.unref().ref();
      setTimeout(() => order.push("first"), 5);
      await new Promise((done) => setTimeout(done, 9));
      timer.close();
      return [wrong, order, typeof +timer, timer.hasRef()];
    """
    assert value_of(body, NONE) == [["TypeError"] * 3, ["first", "moved"], "number", True]


def test_a_promise_that_nothing_settles_is_still_found_out() -> None:
    said = said_by("setTimeout(() => 0, 5); await new Promise(() => 0);", NONE)
    assert isinstance(said, Failed)
    assert said.message == "the promise can never be settled: nothing is left to run"


# --- console and seals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["log", "debug", "error", "info", "warn", "dir", "dirxml", "trace"])
def test_a_console_without_its_permission_is_refused_with_the_line_to_add(name: str) -> None:
    said = said_by(f"console.{name}('x');", EVERYTHING - {Permission.LOG})
    assert isinstance(said, Failed)
    assert (said.name, said.message) == ("TypeError", words(f"console.{name}", "log"))


@pytest.mark.parametrize(("permissions", "debug"), [(NONE, True), (frozenset({Permission.LOG}), False)])
def test_a_console_prints_with_its_permission_and_in_a_debug_enclave(
    permissions: frozenset[Permission], debug: bool
) -> None:
    with engine() as talk:
        talk.load(main("export function main() { console.log('x'); }"), permissions=permissions, debug=debug)
        talk.call()
        assert talk.printed == ["x"]


@pytest.mark.parametrize("asked", ["seal(1, 'mrenclave')", "unseal('')"])
def test_seals_without_their_permission_are_refused_with_the_line_to_add(asked: str) -> None:
    said = said_by(f"context.{asked};", EVERYTHING - {Permission.SEAL})
    assert isinstance(said, Failed)
    assert said.message == words(f"context.{asked.partition('(')[0]}", "seal")


def test_seals_with_their_permission_are_asked_of_the_enclave() -> None:
    assert said_by("context.unseal('AA==');", frozenset({Permission.SEAL})) == Wanted(Unseal("AA=="))


def test_permissions_hold_while_modules_are_loaded_too() -> None:
    with engine() as talk:
        said = talk.load(main("const n = Math.random(); export const main = () => n;"), permissions=NONE)
        assert isinstance(said, Failed)
        assert said.message == words("Math.random", "random")

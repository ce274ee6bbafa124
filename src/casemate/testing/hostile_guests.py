"""Hostile guests as data: their source, and the outcomes that a call of their ``main`` may have.

The caller gets one of these codes at most half a second after the time limit, and the next guest works. ``ok`` means
that the guest may also succeed, if what it tried had no effect.
"""

from dataclasses import dataclass
from typing import Any

from casemate.wire.protocol.faults import Code

OK = "ok"

_TIME = (Code.TIME_LIMIT,)
_MEMORY = (Code.MEMORY_LIMIT, Code.GUEST_ERROR, Code.TIME_LIMIT)
"""The guest is killed, or does not catch a RangeError; on a slow machine, garbage collection lasts until the time
limit."""
_THREW = (Code.GUEST_ERROR,)
_CRASHED = (Code.GUEST_CRASHED,)


@dataclass(frozen=True, slots=True)
class HostileGuest:
    """A module that exports ``main``, and its permitted outcomes."""

    name: str
    source: str
    outcomes: tuple[str, ...]
    arguments: Any = None
    fails_to_load: bool = False
    """True if loading the module has the outcome, before any call."""
    then: tuple[str, ...] = ()
    """Permitted outcomes of a second call of ``main``, with ``"again"``, in the same guest; empty: the guest is gone by
    then."""
    result: Any = None
    """The result that it must return if it succeeds; None: any."""


def _main(body: str) -> str:
    return f"export function main(input, context) {{ {body} }}"


def _async_main(body: str) -> str:
    return f"export async function main(input, context) {{ {body} }}"


_COLLIDING = """
// V8 hashes integers without a secret (ComputeUnseededHash), in steps that can all be undone.
const inverse = (a) => { let x = a; for (let i = 0; i < 5; i++) x = Math.imul(x, 2 - Math.imul(a, x)); return x; };
function unhash(hash) {
    let x = Math.imul(hash ^ (hash >>> 16), inverse(2057));
    for (const bits of [4, 8, 16]) x ^= x >>> bits;
    x = Math.imul(x, inverse(5));
    for (const bits of [12, 24]) x ^= x >>> bits;
    return Math.imul(x + 1, inverse(32767)) | 0;
}
export function main() {
    const map = new Map();
    for (let n = 0; n < 60_000; n++) map.set(unhash(n << 16), n);
    return map.size;
}
"""

USES_UP = (
    HostileGuest("endless loop", _main("while (true);"), _TIME),
    HostileGuest("doubling string", _main("let s = 'x'; while (true) s += s;"), _THREW, then=(*_THREW,)),
    HostileGuest(
        "array of doubles", _main("const a = []; for (;;) a.push(Math.random() + 0.5);"), (*_MEMORY, *_CRASHED)
    ),
    HostileGuest("ArrayBuffer bomb", _main("const a = []; for (;;) a.push(new Uint8Array(1e7).fill(1));"), _MEMORY),
    HostileGuest(
        "SharedArrayBuffer bomb",
        _main("const a = []; for (;;) a.push(new Uint8Array(new SharedArrayBuffer(1e7)).fill(1));"),
        _MEMORY,
    ),
    HostileGuest(
        "resizable buffer bomb",
        _main(
            "const b = new ArrayBuffer(8, {maxByteLength: 2 ** 31});"
            " for (let n = 1e6;; n *= 2) { b.resize(n); new Uint8Array(b).fill(1); }"
        ),
        _MEMORY,
    ),
    HostileGuest(
        "WebAssembly memory bomb",
        _main(
            "const a = []; for (;;) { const m = new WebAssembly.Memory({initial: 160});"
            " new Uint8Array(m.buffer).fill(1); a.push(m); }"
        ),
        _MEMORY,
    ),
    HostileGuest(
        "WebAssembly memory that grows",
        _main(
            "const m = new WebAssembly.Memory({initial: 1});"
            " for (;;) { m.grow(160); new Uint8Array(m.buffer).fill(1); }"
        ),
        _MEMORY,
    ),
    HostileGuest("deep recursion", _main("const f = () => f() + 1; return f();"), _THREW, then=_THREW),
    HostileGuest("catastrophic regular expression", _main("return /^(a+)+$/.test('a'.repeat(40) + 'b');"), _TIME),
    HostileGuest("numbers whose hashes collide", _COLLIDING, _TIME),
    HostileGuest(
        "Atomics.wait for ever", _main("Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);"), _TIME
    ),
    HostileGuest(
        "JSON.parse of five million brackets", _main("JSON.parse('['.repeat(5e6));"), (*_THREW, *_MEMORY, *_CRASHED)
    ),
    HostileGuest("BigInt squaring", _main("let n = 3n; for (;;) n *= n;"), (*_TIME, *_MEMORY)),
    HostileGuest(
        "endless microtasks",
        _async_main("const again = () => Promise.resolve().then(again); await again();"),
        (*_TIME, *_MEMORY),
    ),
    HostileGuest(
        "endless microtasks behind a result",
        _main("const again = () => Promise.resolve().then(again); again(); return 1;"),
        (OK, *_TIME),
        then=(OK, *_TIME),
    ),
    HostileGuest("padEnd and split", _main("return 'x'.padEnd(2 ** 28).split('').length;"), (*_MEMORY, *_CRASHED)),
    HostileGuest(
        "bomb of small arrays",
        _main("const a = []; for (;;) a.push(new Array(1000).fill(1.5));"),
        (*_MEMORY, *_CRASHED),
    ),
    HostileGuest(
        "bomb of closures", _main("let f = null; for (;;) { const g = f; f = () => g; }"), (*_MEMORY, *_CRASHED, *_TIME)
    ),
    HostileGuest(
        "bomb of map entries", _main("const m = new Map(); for (let i = 0;; i++) m.set(i, i);"), (*_MEMORY, *_CRASHED)
    ),
    HostileGuest("endless getter", _main("return {get x() { for (;;); }};"), _TIME),
    HostileGuest("endless toJSON", _main("return {toJSON() { for (;;); }};"), _TIME),
    HostileGuest("endless then", _main("return {then() { for (;;); }};"), _TIME),
    HostileGuest("promise that never settles", _async_main("await new Promise(() => {});"), _THREW, then=_THREW),
    HostileGuest("endless timers", _async_main("for (;;) await new Promise((done) => setTimeout(done, 1));"), _TIME),
    HostileGuest("endless loop while it is loaded", "for (;;); export function main() {}", _TIME, fails_to_load=True),
    HostileGuest(
        "await for ever while it is loaded",
        "await new Promise(() => {}); export function main() {}",
        (*_THREW, *_CRASHED),
        fails_to_load=True,
    ),
    HostileGuest("no such function", "export const main = 5;", _THREW, fails_to_load=True),
    HostileGuest("no JavaScript", "this is none", _THREW, fails_to_load=True),
    HostileGuest(
        "thousands of compiled functions",
        _main(
            "for (;;) { const b = [0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,10,4,1,2,0,11];"
            " new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(b))); }"
        ),
        (*_TIME, *_MEMORY, *_CRASHED),
    ),
)
"""Guests that use up time or memory."""

SAYS_TOO_MUCH = (
    HostileGuest(
        "result beyond the limit",
        _main("return 'x'.repeat(300 * 1024);"),
        (Code.OUTPUT_LIMIT,),
        then=(Code.OUTPUT_LIMIT,),
    ),
    HostileGuest("result far beyond the limit", _main("return 'x'.repeat(1e7);"), (Code.OUTPUT_LIMIT,)),
    HostileGuest(
        "result that is deep",
        _main("let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a;"),
        (OK, Code.RESULT_REFUSED),
        then=(OK, Code.RESULT_REFUSED),
    ),
    HostileGuest(
        "cycle", _main("const a = {}; a.a = a; return a;"), (Code.RESULT_REFUSED,), then=(Code.RESULT_REFUSED,)
    ),
    HostileGuest("BigInt", _main("return 1n;"), (Code.RESULT_REFUSED,)),
    HostileGuest("symbol", _main("return Symbol('x');"), (Code.RESULT_REFUSED,)),
    HostileGuest("function", _main("return main;"), (Code.RESULT_REFUSED,)),
    HostileGuest("undefined", _main("return undefined;"), (OK,)),
    HostileGuest("lone surrogate", _main("return '\\ud800';"), (OK,)),
    HostileGuest("proxy as a result", _main("return new Proxy({}, {ownKeys() { throw 1; }});"), (Code.RESULT_REFUSED,)),
    HostileGuest(
        "ten thousand lines", _main("for (let i = 0; i < 1e4; i++) console.log('x'.repeat(5000)); return 1;"), (OK,)
    ),
    HostileGuest(
        "lines after the call",
        _main("Promise.resolve().then(() => console.log('late')).then(() => console.log('later')); return 1;"),
        (OK,),
        then=(OK,),
    ),
    HostileGuest("OCALL with a cycle", _main("const a = []; a.push(a); context.ocall('time', a);"), _THREW),
    HostileGuest("OCALL with a large argument", _main("context.ocall('time', 'x'.repeat(3e6));"), _THREW),
    HostileGuest("OCALL with no name", _main("context.ocall({toString() { return 'time'; }});"), _THREW),
    HostileGuest(
        "OCALL of an earlier call",
        "let old = null;" + _main("if (old) return old.ocall('time'); old = context; return 1;"),
        (OK,),
        then=_THREW,
    ),
    HostileGuest(
        "OCALL within an OCALL's argument",
        _main("return context.ocall('time', {toJSON() { return context.ocall('time', 1); }});"),
        (OK,),
        then=(OK,),
    ),
)
"""Guests whose results, console lines or OCALLs exceed the limits."""

THROWS = (
    HostileGuest("error", _main("throw new TypeError('no');"), _THREW, then=_THREW),
    HostileGuest("string", _main("throw 'no';"), _THREW),
    HostileGuest("undefined thrown", _main("throw undefined;"), _THREW),
    HostileGuest("null", _main("throw null;"), _THREW),
    HostileGuest("symbol thrown", _main("throw Symbol('no');"), _THREW),
    HostileGuest("proxy", _main("throw new Proxy({}, {get() { throw 1; }, getPrototypeOf() { throw 2; }});"), _THREW),
    HostileGuest("getters that throw", _main("throw {get name() { throw 1; }, get message() { throw 2; }};"), _THREW),
    HostileGuest("getter that never ends", _main("throw {get message() { for (;;); }};"), _TIME),
    HostileGuest("endless message", _main("throw new Error('x'.repeat(1e8));"), (*_THREW, *_MEMORY)),
    HostileGuest("message with a lone surrogate", _main("throw new Error('\\ud800');"), _THREW),
    HostileGuest(
        "stack overflow in the message", _main("throw {get message() { const f = () => f(); f(); }};"), _THREW
    ),
    HostileGuest("rejection", _async_main("throw new Error('no');"), _THREW),
    HostileGuest(
        "promise at the top level that is never settled",
        "await new Promise(() => {}); export function main() {}",
        _THREW,
        fails_to_load=True,
    ),
    HostileGuest(
        "rejection that nobody waits for", _main("Promise.reject(new Error('no')); return 1;"), (OK,), then=(OK,)
    ),
    HostileGuest(
        "timer that throws",
        _async_main("setTimeout(() => { throw 1; }); await new Promise((d) => setTimeout(d, 9)); return 1;"),
        (OK,),
        then=(OK,),
    ),
    HostileGuest("timers left over", _main("setInterval(() => { throw 1; }, 1); return 1;"), (OK,), then=(OK,)),
    HostileGuest("error event", _main("reportError(new Error('no')); return 1;"), (OK,), then=(OK,)),
)
"""Guests that throw exceptions of all kinds."""

POLLUTES = (
    HostileGuest(
        "prototypes of what the bootstrap uses",
        """
        for (const kind of
          [Uint8Array, String, Array, Promise, TextEncoder, TextDecoder, Object, Function, Map, Set, Error]) {
          for (const name of Object.getOwnPropertyNames(kind.prototype)) {
            if (name === 'constructor') continue;
            try { Object.defineProperty(kind.prototype, name, {value() { throw new Error('caught'); }}); } catch {}
          }
        }
        for (const name of Object.getOwnPropertyNames(Reflect)) Reflect[name] = () => { throw new Error('caught'); };
        for (const name of Object.getOwnPropertyNames(JSON)) JSON[name] = () => 'caught';
        globalThis.Promise = globalThis.Uint8Array = globalThis.String = null;
        try { globalThis.Error = null; } catch { /* the bootstrap has made it constant */ }
        export function main() { return 1; }
        """,
        (OK, Code.GUEST_ERROR, *_CRASHED, *_TIME),
        result=1,
    ),
    HostileGuest(
        "toJSON for every object",
        "Object.prototype.toJSON = String.prototype.toJSON = () => 'caught';" + _main("throw new Error('no');"),
        _THREW,
        then=_THREW,
    ),
    HostileGuest(
        "setters for every array",
        "Object.defineProperty(Array.prototype, 0, {set() { throw 1; }, get() { return 'caught'; }});"
        " Object.defineProperty(Object.prototype, 'code', {set() {}, get() { return 'ok'; }});"
        " export function main() { throw new Error('no'); }",
        _THREW,
        then=_THREW,
    ),
    HostileGuest(
        "then for every object",
        "Object.prototype.then = function (done) { delete Object.prototype.then; done('caught'); };"
        " export function main() { return {a: 1}; }",
        (OK, Code.GUEST_ERROR, *_CRASHED),
    ),
    HostileGuest(
        "module with a then",
        "export function then(done) { done({}); } export function main() { return 1; }",
        _THREW,
        fails_to_load=True,
    ),
    HostileGuest(
        "prepareStackTrace",
        "Error.prepareStackTrace = (_, sites) => { globalThis.sites = sites; return ''; };"
        + _main(
            "new Error().stack; const sites = globalThis.sites ?? [];"
            " const seen = sites.map((s) => typeof s.getThis() + typeof s.getFunction());"
            " return seen.filter((s) => s !== 'undefinedundefined');"
        ),
        (OK,),
        result=[],
    ),
    HostileGuest(
        "frozen intrinsics",
        "[Object, Array, Promise, Uint8Array].map((k) => Object.freeze(k.prototype));" + _main("return 1;"),
        (OK,),
        result=1,
    ),
)
"""Guests that change objects which the bootstrap uses."""

_REFUSALS = """
const attempts = %s;
export async function main() {
  const got = [];
  for (const [name, attempt] of Object.entries(attempts)) {
    try { await attempt(); got.push(name); } catch { /* refused */ }
  }
  return got;
}
"""


def _refused(name: str, **attempts: str) -> HostileGuest:
    body = ", ".join(f"{attempt}: async () => {{ {code} }}" for attempt, code in attempts.items())
    return HostileGuest(name, _REFUSALS % f"{{{body}}}", (OK,), result=[])


ESCAPES = (
    _refused(
        "Deno's namespace",
        read="Deno.readTextFileSync('/etc/passwd');",
        write="Deno.writeTextFileSync('/tmp/casemate-was-here', 'x');",
        env="Deno.env.toObject();",
        run="new Deno.Command('/bin/true').outputSync();",
        ffi="Deno.dlopen('libc.so.6', {});",
        net="await Deno.connect({hostname: '127.0.0.1', port: 9});",
        system="Deno.hostname();",
        leave="Deno.exit(0);",
        signal="Deno.kill(Deno.ppid, 'SIGKILL');",
        own_signal="Deno.kill(Deno.pid, 'SIGKILL');",
        stdin="Deno.stdin.readSync(new Uint8Array(1));",
        stdout="Deno.stdout.writeSync(new Uint8Array(1));",
        constructor="(() => {}).constructor('return Deno')().exit(0);",
    ),
    _refused(
        "the web's namespace",
        fetch="await fetch('http://127.0.0.1:9/');",
        file="await fetch('file:///etc/passwd');",
        socket="new WebSocket('ws://127.0.0.1:9/');",
        worker="new Worker('data:text/javascript,', {type: 'module'});",
        storage="localStorage.setItem('a', 'b');",
        caches="await caches.open('a');",
        channel="new BroadcastChannel('a');",
        events="new EventSource('http://127.0.0.1:9/');",
        process="process.exit(0);",
        buffer="Buffer.from('a');",
        prompt="prompt('a');",
        gpu="navigator.gpu.requestAdapter();",
        close="close();",
    ),
    _refused(
        "imports",
        node="await import('node:fs');",
        bare="await import('fs');",
        v8="await import('node:v8');",
        process="await import('node:' + 'process');",
        workers="await import('node:worker_threads');",
        module="await import('node:module');",
        npm="await import('npm:left-pad');",
        jsr="await import('jsr:@std/path');",
        https="await import('https:' + '//127.0.0.1/x.js');",
        http="await import('http:' + '//127.0.0.1:9/x.js');",
        file="await import('file:///etc/passwd');",
        text="await import('file:///etc/passwd', {with: {type: 'text'}});",
        path="await import('/etc/passwd');",
        internal="await import('ext:core/mod.js');",
        data="await import('data:text/javascript,1');",
        json="await import('data:application/json,1', {with: {type: 'json'}});",
        defer="await import.defer('data:text/javascript,1');",
        made="await import(URL.createObjectURL(new Blob(['1'], {type: 'text/javascript'})));",
    ),
    *(
        HostileGuest(
            f"import of {name} in a module's text",
            f"import * as all from '{name}'; {_main('return Object.keys(all);')}",
            _THREW,
            fails_to_load=True,
        )
        for name in ("node:vm", "node:fs", "node:process", "ext:deno_canvas/01_canvas.js", "data:text/javascript,1")
    ),
    _refused(
        "code from strings",
        eval="eval('1');",
        indirect="(0, eval)('1');",
        function="new Function('return 1')();",
        made="[]['con' + 'structor']['con' + 'structor']('return 1')();",
        later="await (async () => {}).constructor('return 1')();",
        generated="(function* () {}).constructor('yield 1')().next();",
    ),
)
"""Guests that try to reach files, network, programs or other code."""

TRAPS = """
    const caught = [], Bytes = Uint8Array, typed = Object.getPrototypeOf(Bytes.prototype);
    const seen = (what) => { if (what?.byteLength === 65536) caught.push(what); };
    const set = (target, name, trap) => {
        try { Object.defineProperty(target, name, {configurable: true, ...trap}); } catch {}
    };
    for (const name of ["length", "buffer", "byteLength", "byteOffset"]) {
        const get = Object.getOwnPropertyDescriptor(typed, name).get, buffer = typed.__lookupGetter__("buffer");
        for (const owner of [Bytes.prototype, typed]) {
            set(owner, name, {get() { seen(buffer.call(this)); return get.call(this); }});
        }
    }
    for (const name of ["copyWithin", "set", "subarray", "slice", "fill"]) {
        const method = typed[name], buffer = Object.getOwnPropertyDescriptor(typed, "buffer").get;
        const value = function (...all) { seen(buffer.call(this)); return Reflect.apply(method, this, all); };
        for (const owner of [Bytes.prototype, typed]) set(owner, name, {value});
    }
    const forged = (view) => { // a frame of the bootstrap's, with another result in it
        if (view[4] !== 19 || view.byteLength < 14) return view;
        const frame = new Bytes(14);
        for (let at = 0; at < 13; at++) frame[at] = view[at];
        frame[0] = 10, frame[1] = frame[2] = frame[3] = 0, frame[13] = 0x37;
        return frame;
    };
    const species = function (buffer, ...all) { seen(buffer); return forged(new Bytes(buffer, ...all)); };
    for (const owner of [Bytes.prototype, typed]) set(owner, "constructor", {value: {[Symbol.species]: species}});
    for (const owner of [Bytes, Object.getPrototypeOf(Bytes)]) set(owner, Symbol.species, {get: () => species});
    const then = Promise.prototype.then;
    const settle = function (done, ...all) {
        return Reflect.apply(then, this, [typeof done === "function" ? () => done(7) : done, ...all]);
    };
    set(Promise.prototype, "then", {value: settle});
    set(Promise.prototype, "constructor", {value: class extends Promise { then(done) { done(7); } }});
    set(Promise, Symbol.species, {get: () => class { constructor(run) { run(() => {}, () => {}); } }});
    set(Object.prototype, "stream", {get: () => { seen(this); return true; }});
"""
"""Code with traps on every property that the bootstrap, or the engine under it, could look up on its bytes."""

FORGES = (
    HostileGuest(
        "traps for the bootstrap's bytes",
        TRAPS + "export function main() { return caught.length; }",
        (OK,),
        then=(OK,),
        result=0,
    ),
    HostileGuest(
        "frames by way of the console",
        _main("console.log('\\u0013\\0\\0\\0\\0\\0\\0\\0\\0\\u00ff'); return 1;"),
        (OK,),
        result=1,
    ),
    HostileGuest(
        "events of the engine",
        _main(
            "for (const n of ['beforeunload', 'unload', 'load', 'error', 'unhandledrejection'])"
            " dispatchEvent(new Event(n, {cancelable: true})); return 1;"
        ),
        (OK, Code.GUEST_ERROR, *_CRASHED),
    ),
)
"""Guests that try to send what only the bootstrap may send."""

HOSTILE_GUESTS = (*USES_UP, *SAYS_TOO_MUCH, *THROWS, *POLLUTES, *ESCAPES, *FORGES)


def _stream(body: str) -> str:
    return (
        f"export async function* main(input, context, chunks) {{ {body} }} export function other(input) {{ return 1; }}"
    )


HOSTILE_STREAMS = (
    HostileGuest("never yields", _stream("for (;;);"), _TIME),
    HostileGuest("never yields, politely", _stream("for (;;) await 0;"), _TIME),
    HostileGuest("yields nothing, for ever", _stream("for (;;) yield '';"), (OK,)),
    HostileGuest("yields garbage", _stream("yield {length: 5};"), (Code.RESULT_REFUSED,)),
    HostileGuest("yields garbage after bytes", _stream("yield 'x'; yield Symbol('x');"), (Code.RESULT_REFUSED,)),
    HostileGuest(
        "yields a gibibyte at once", _stream("yield new Uint8Array(2 ** 30);"), (Code.OUTPUT_LIMIT, *_MEMORY, *_CRASHED)
    ),
    HostileGuest(
        "yields a gibibyte in pieces",
        _stream("const p = new Uint8Array(1 << 20); for (let i = 0; i < 1024; i++) yield p;"),
        (OK,),
    ),
    HostileGuest("yields for ever", _stream("const p = new Uint8Array(1 << 16); for (;;) yield p;"), (OK,)),
    HostileGuest(
        "yields views of a buffer that shrinks",
        _stream(
            "const b = new ArrayBuffer(1 << 20, {maxByteLength: 1 << 21}), v = new Uint8Array(b);"
            " for (;;) { yield v; b.resize(b.byteLength === 0 ? 1 << 21 : 0); }"
        ),
        (OK, *_THREW),
    ),
    HostileGuest(
        "yields a detached buffer", _stream("const v = new Uint8Array(9); v.buffer.transfer(); yield v;"), (OK, *_THREW)
    ),
    HostileGuest(
        "keeps all that it is sent",
        _stream("const kept = []; for await (const c of chunks) { kept.push(c.slice(0)); yield c; }"),
        (OK, *_MEMORY, *_CRASHED),
    ),
    HostileGuest(
        "asks for a million pieces at once",
        _stream("for (let i = 0; i < 1e6; i++) chunks.next(); yield 'x'; await chunks.next();"),
        (OK, *_MEMORY, *_THREW, *_TIME),
    ),
    HostileGuest(
        "asks for pieces without end", _stream("for (;;) chunks.next();"), (*_TIME, *_MEMORY, *_CRASHED, *_THREW)
    ),
    HostileGuest(
        "works on behind its pauses",
        _stream("setInterval(() => { const t = Date.now(); while (Date.now() < t + 50); }, 1); yield* chunks;"),
        (OK, *_TIME),
    ),
    HostileGuest(
        "a promise that is settled in the turn of another",
        _stream("const w = Promise.withResolvers(); globalThis.w ??= w; yield 'x'; await globalThis.w.promise;"),
        _THREW,
    ),
    HostileGuest("throws its own input", _stream("for await (const c of chunks) throw c;"), _THREW),
    HostileGuest("throws a proxy", _stream("throw new Proxy({}, {get() { for (;;); }});"), (*_THREW, *_TIME)),
    HostileGuest(
        "returns without an end",
        _stream("return {toJSON() { for (;;); }};"),
        _TIME,
    ),
    HostileGuest(
        "other methods of generators",
        "const g = Object.getPrototypeOf(async function* () {}).prototype;"
        " g.next = g.return = g.throw = function () { return {then(done) { done({value: 5n, done: false}); }}; };"
        + _stream("for await (const c of chunks) yield c; return 1;"),
        (OK,),
    ),
    HostileGuest(
        "then for every object",
        "Object.defineProperty(Object.prototype, 'then', {get() {"
        " return (done) => done(Object.create(null, {value: {get() { for (;;); }}, done: {value: false}})); }});"
        + _stream("yield 'x';"),
        (OK, *_THREW, *_TIME, Code.RESULT_REFUSED),
    ),
    HostileGuest(
        "setters for the bootstrap's records",
        "for (const name of ['rest', 'outcome', 'waiting', 'wake', 'next', 'value', 'done', 'isOver', 'call'])"
        " Object.defineProperty(Object.prototype, name,"
        " {__proto__: null, set() { for (;;); }, get() { return 1; }});"
        + _stream("let n = 0; for (;;) { const c = await chunks.next(); if (c.done) return n; n++; yield c.value; }"),
        (OK,),
    ),
    HostileGuest(
        "another stream's context",
        _stream(
            "globalThis.first ??= context; for await (const c of chunks) {"
            " try { globalThis.first.ocall('time', null); } catch {} yield c; }"
        ),
        (OK,),
    ),
)
"""Hostile streams, stepped through with pieces of 64 KiB as input. ``ok`` means that the stream ended, or continued
until the test stopped."""

HOSTILE_STATES = (
    HostileGuest("reads without end", _main("for (;;) context.state.get('k');"), _TIME),
    HostileGuest("lists without end", _main("for (;;) context.state.list('', {limit: 10000});"), _TIME),
    HostileGuest(
        "writes without end",
        _main("const s = context.state; for (let i = 0;; i++) s.put('k' + i, 'x'.repeat(1000));"),
        (Code.STATE_LIMIT,),
    ),
    HostileGuest("writes one key without end", _main("for (let i = 0;; i++) context.state.put('k', i);"), _TIME),
    HostileGuest("seals without end", _main("for (;;) context.seal('x'.repeat(1e6), 'mrenclave');"), _TIME),
    HostileGuest(
        "a value that asks while it is looked at",
        _main("context.state.put('k', {toJSON() { return context.state.get('k') ?? 1; }}); return 1;"),
        (OK,),
        result=1,
    ),
    HostileGuest(
        "a value that never ends", _main("context.state.put('k', {toJSON() { for (;;); }}); return 1;"), _TIME
    ),
    HostileGuest(
        "a value too deep for anybody",
        _main("let v = 1; for (let i = 0; i < 1000; i++) v = [v]; context.state.put('k', v);"),
        _THREW,
    ),
    HostileGuest("a lone surrogate in a value", _main("context.state.put('k', ['\\ud800']);"), _THREW),
    HostileGuest("a lone surrogate in a seal", _main("context.seal({ '\\udfff': 1 }, 'mrenclave');"), _THREW),
    HostileGuest("a lone surrogate to compare", _main("context.state.compareAndSet('k', '\\ud800', 1);"), _THREW),
    HostileGuest(
        "what is not JSON, caught",
        _main(
            "let deep = 1; for (let i = 0; i < 65; i++) deep = [deep]; const { state, seal } = context;"
            " return ['\\ud800', deep, 5n].flatMap((value) => [() => state.put('k', value),"
            "   () => seal(value, 'mrenclave'), () => state.compareAndSet('k', value, 1),"
            "   () => state.compareAndSet('k', undefined, value)].map((use) => {"
            "   try { use(); } catch (e) { return e instanceof TypeError && /is not JSON: /.test(e.message); }"
            " })).every(Boolean);"
        ),
        (OK,),
        result=True,
    ),
    HostileGuest("a value of too many members", _main("context.state.put('k', new Array(600000).fill(1));"), _THREW),
    HostileGuest(
        "a prototype's name as a key",
        _main(
            "const s = context.state; s.put('__proto__', {a: 1}); s.put('constructor', 2);"
            " return [s.get('__proto__'), s.get('constructor'), s.get('toString') ?? 0, s.list('_')];"
        ),
        (OK,),
        result=[{"a": 1}, 2, 0, ["__proto__"]],
    ),
    HostileGuest(
        "another call's state",
        "let kept; "
        + _main(
            "if (!kept) { kept = context.state; return 0; }"
            " try { kept.put('k', 1); } catch (e) { return e.message; } return 'kept';"
        ),
        (OK,),
        result=0,
        then=(OK,),
    ),
)
"""Functions with a state of 16 KiB."""

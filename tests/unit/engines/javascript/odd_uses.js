// Every name that a program finds, used in the ways that make an engine warn, refuse or load more of itself.
// Each has what it must give; `main` gives what does not.

const ODD = {
  "AbortController": [
    async () => {
      const a = new AbortController();
      a.abort();
      return String(a.signal.reason.name);
    },
    "AbortError",
  ],
  "AbortSignal": [
    async () => {
      const all = AbortSignal.any([AbortSignal.timeout(2 ** 40), AbortSignal.timeout(3)]);
      return await new Promise((done) => {
        all.onabort = () => done(all.reason.name);
      });
    },
    "TimeoutError",
  ],
  "Blob": [
    async () => {
      return [await new Blob(["ab", new Uint8Array([67])]).slice(1).text(), (await new Blob().bytes()).length];
    },
    ["bC", 0],
  ],
  "CompressionStream": [
    async () => {
      const all = [];
      for (const format of ["gzip", "deflate", "deflate-raw", "brotli"]) {
        const there = new Blob(["hello"]).stream().pipeThrough(new CompressionStream(format));
        all.push(
          await Array.fromAsync(
            there.pipeThrough(new DecompressionStream(format)).pipeThrough(new TextDecoderStream()),
          ),
        );
      }
      return all.map((text) => text.join(""));
    },
    ["hello", "hello", "hello", "hello"],
  ],
  "DecompressionStream": [
    async () => {
      const there = new Blob(["junk"]).stream().pipeThrough(new DecompressionStream("gzip"));
      return await Array.fromAsync(there).catch((error) => error.name);
    },
    "TypeError",
  ],
  "CustomEvent": [
    async () => {
      const t = new EventTarget();
      let got;
      t.addEventListener("a", (e) => got = e.detail);
      t.dispatchEvent(new CustomEvent("a", { detail: 7 }));
      return got;
    },
    7,
  ],
  "Event": [
    async () => {
      const t = new EventTarget();
      t.addEventListener("a", () => {
        throw new Error("lost");
      });
      return t.dispatchEvent(new Event("a", { cancelable: true }));
    },
    true,
  ],
  "DOMException": [
    async () => {
      return [new DOMException("m", "DataError").name, new QuotaExceededError("m").name];
    },
    ["DataError", "QuotaExceededError"],
  ],
  "ReadableStream": [
    async () => {
      const [a, b] = ReadableStream.from([1, 2]).tee();
      const bytes = new ReadableStream({
        type: "bytes",
        pull(c) {
          c.enqueue(new Uint8Array(4));
          c.close();
        },
      });
      const { value } = await bytes.getReader({ mode: "byob" }).read(new Uint8Array(8));
      return [await Array.fromAsync(a), await Array.fromAsync(b), value.length];
    },
    [[1, 2], [1, 2], 4],
  ],
  "TransformStream": [
    async () => {
      const up = new TransformStream({
        transform(x, c) {
          c.enqueue(x * 2);
        },
      });
      return await Array.fromAsync(ReadableStream.from([1, 2]).pipeThrough(up));
    },
    [2, 4],
  ],
  "WritableStream": [
    async () => {
      const w = new WritableStream({
        write() {
          throw new Error("no");
        },
      }).getWriter();
      w.closed.catch(() => 0);
      return await w.write(1).catch((error) => error.message);
    },
    "no",
  ],
  "TextDecoder": [
    async () => {
      return ["latin1", "gbk", "utf-16be", "iso-2022-jp", "x-user-defined", "nope", "replacement"].map((label) => {
        try {
          return new TextDecoder(label, { fatal: true }).decode(new Uint8Array([65, 66])).length;
        } catch (error) {
          return error.name;
        }
      });
    },
    [2, 2, 1, 2, 2, "RangeError", "RangeError"],
  ],
  "TextEncoderStream": [
    async () => {
      return (await Array.fromAsync(
        ReadableStream.from(["ä"]).pipeThrough(new TextEncoderStream()),
        (chunk) => chunk.length,
      ));
    },
    [2],
  ],
  "URL": [
    async () => {
      return [URL.canParse("x"), new URL("/b?c#d", "http://ä").href, String(new URLSearchParams("a=%ff"))];
    },
    [false, "http://xn--4ca/b?c#d", "a=%EF%BF%BD"],
  ],
  "URLPattern": [
    async () => {
      let bad;
      try {
        new URLPattern("(");
      } catch (error) {
        bad = error.name;
      }
      return [bad, new URLPattern("http://*/:a(\\d+)").exec("http://x/12").pathname.groups.a];
    },
    ["TypeError", "12"],
  ],
  "atob": [
    async () => {
      let bad;
      try {
        atob("*");
      } catch (error) {
        bad = error.name;
      }
      return [bad, atob(btoa("x"))];
    },
    ["InvalidCharacterError", "x"],
  ],
  "console": [
    async () => {
      for (const name of Object.keys(console)) console[name]("%s %o", { a: new Proxy({}, {}) }, name);
      console.log(setTimeout(() => 0), crypto, performance, new Error("e", { cause: 1 }), globalThis);
      return Object.keys(console).length;
    },
    22,
  ],
  "crypto.getRandomValues": [
    async () => {
      return [new Float32Array(1), new Uint8Array(70000), {}].map((target) => {
        try {
          crypto.getRandomValues(target);
        } catch (error) {
          return error.name;
        }
      });
    },
    ["TypeMismatchError", "QuotaExceededError", "TypeMismatchError"],
  ],
  "crypto.subtle": [
    async () => {
      const made = await Promise.all(
        [
          [{ name: "RSA-OAEP", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-1" }, [
            "encrypt",
            "decrypt",
          ]],
          [{
            name: "RSASSA-PKCS1-v1_5",
            modulusLength: 1024,
            publicExponent: new Uint8Array([1, 0, 1]),
            hash: "SHA-512",
          }, ["sign", "verify"]],
          [{ name: "RSA-PSS", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }, [
            "sign",
            "verify",
          ]],
          ...["P-256", "P-384", "P-521"].map((namedCurve) => [{ name: "ECDSA", namedCurve }, ["sign", "verify"]]),
          [{ name: "ECDH", namedCurve: "P-256" }, ["deriveBits"]],
          [{ name: "Ed25519" }, ["sign", "verify"]],
          [{ name: "X25519" }, ["deriveBits"]],
          ...["AES-GCM", "AES-CBC", "AES-CTR"].map((name) => [{ name, length: 256 }, ["encrypt", "decrypt"]]),
          [{ name: "AES-KW", length: 128 }, ["wrapKey", "unwrapKey"]],
          [{ name: "HMAC", hash: "SHA-384" }, ["sign"]],
        ].map(async ([algorithm, uses]) => {
          const key = await crypto.subtle.generateKey(algorithm, true, uses);
          return (await crypto.subtle.exportKey("jwk", key.privateKey ?? key)).kty;
        }),
      );
      const raw = new Uint8Array(16);
      for (
        const algorithm of [{ name: "PBKDF2", hash: "SHA-256", salt: raw, iterations: 9 }, {
          name: "HKDF",
          hash: "SHA-256",
          salt: raw,
          info: raw,
        }]
      ) {
        const key = await crypto.subtle.importKey("raw", raw, algorithm.name, false, ["deriveBits"]);
        made.push((await crypto.subtle.deriveBits(algorithm, key, 128)).byteLength);
      }
      made.push(await crypto.subtle.digest("MD5", raw).catch((error) => error.name));
      return made;
    },
    [
      "RSA",
      "RSA",
      "RSA",
      "EC",
      "EC",
      "EC",
      "EC",
      "OKP",
      "OKP",
      "oct",
      "oct",
      "oct",
      "oct",
      "oct",
      16,
      16,
      "NotSupportedError",
    ],
  ],
  "performance": [
    async () => {
      performance.mark("a");
      performance.measure("b", "a");
      try {
        performance.measure("c", "none");
      } catch (error) {
        return error.name;
      }
    },
    "SyntaxError",
  ],
  "queueMicrotask": [
    async () => {
      queueMicrotask(() => {
        throw new Error("lost");
      });
      return await new Promise((done) => queueMicrotask(() => done(1)));
    },
    1,
  ],
  "reportError": [
    async () => {
      reportError(new Error("told"));
      reportError(undefined);
      return 1;
    },
    1,
  ],
  "structuredClone": [
    async () => {
      const stream = new ReadableStream();
      const wrong = [[() => 0], [stream], [stream, { transfer: [stream] }], [1, { transfer: [1] }], []].map((given) => {
        try {
          structuredClone(...given);
        } catch (error) {
          return error.name;
        }
      });
      const buffer = new ArrayBuffer(8);
      structuredClone(buffer, { transfer: [buffer] });
      return [...wrong, buffer.byteLength, structuredClone(new Map([[1, new Date(0)]])).get(1).getTime()];
    },
    ["DataCloneError", "DataCloneError", "DataCloneError", "TypeError", "TypeError", 0, 0],
  ],
  "WebAssembly": [
    async () => {
      const bytes = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
      return [
        Object.keys(await WebAssembly.instantiate(bytes)),
        await WebAssembly.compile(new Uint8Array(8)).catch((error) => error.name),
        await WebAssembly.compileStreaming({}).catch((error) => error.name),
      ];
    },
    [["module", "instance"], "CompileError", "TypeError"],
  ],
  "Intl": [
    async () => {
      return [
        new Intl.NumberFormat("hi").format(1234567.8),
        new Date(0).toLocaleString("de", { timeZone: "Europe/Berlin" }),
        Temporal.Now.timeZoneId(),
      ];
    },
    ["12,34,567.8", "1.1.1970, 01:00:00", "UTC"],
  ],
  "unhandled rejections": [
    async () => {
      Promise.reject(1);
      Promise.reject(
        new Proxy({}, {
          get() {
            throw 1;
          },
        }),
      );
      setTimeout(() => {
        throw () => 0;
      });
      setTimeout(() => {
        throw null;
      });
      return await new Promise((done) => setTimeout(done, 3, 1));
    },
    1,
  ],
  "clearTimeout": [
    async () => {
      clearTimeout();
      clearTimeout("x");
      clearTimeout({});
      clearInterval(null);
      clearTimeout(-1);
      clearTimeout(setTimeout(() => 0, 30 * 86400e3));
      return 1;
    },
    1,
  ],
  "setTimeout of a symbol": [
    async () => {
      try {
        setTimeout(() => 0, Symbol());
      } catch (error) {
        return error.name;
      }
    },
    "TypeError",
  ],
  "setTimeout of a BigInt": [
    async () => {
      try {
        setTimeout(() => 0, 5n);
      } catch (error) {
        return error.name;
      }
    },
    "TypeError",
  ],
  "setTimeout of text": [
    async () => {
      try {
        setTimeout("1", 1);
      } catch (error) {
        return error.name;
      }
    },
    "TypeError",
  ],
  "setInterval of nothing": [
    async () => {
      try {
        setInterval();
      } catch (error) {
        return error.name;
      }
    },
    "TypeError",
  ],
  "a timer's methods": [
    async () => {
      const t = setTimeout(() => 0, -1);
      t.unref();
      t.ref();
      t.refresh();
      t.close();
      return [setTimeout.name, typeof +t];
    },
    ["setTimeout", "number"],
  ],
};

for (const delay of [-1, NaN, 0, 0.5, Infinity, -Infinity, 2 ** 31, undefined, null, "x", "-5", {}]) {
  ODD[`setTimeout of ${delay}`] = [() => new Promise((done) => setTimeout(done, delay, 7)), 7];
  ODD[`setInterval of ${delay}`] = [
    () =>
      new Promise((done) => {
        const timer = setInterval((value) => done(value) ?? clearInterval(timer), delay, 7);
      }),
    7,
  ];
}

export async function main() {
  const wrong = {};
  for (const [name, [use, want]] of Object.entries(ODD)) {
    let got;
    try {
      got = await use();
    } catch (error) {
      got = String(error);
    }
    if (JSON.stringify(got) !== JSON.stringify(want)) wrong[name] = got;
  }
  return [Object.keys(ODD).length, wrong];
}
